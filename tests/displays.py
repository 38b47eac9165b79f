"""A display of the tests' own (Xvfb), on which xdotool is the user."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import cv2
import pytest


@contextlib.contextmanager
def xvfb(size: str) -> Iterator[str]:
    """The name of a new display of WIDTHxHEIGHT; skips the test where there can be none."""
    if shutil.which("Xvfb") is None or shutil.which("xdotool") is None:
        pytest.skip("needs Xvfb and xdotool")
    row = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "NONE")
    if "NONE" in row:
        pytest.skip("this OpenCV is built without windows")
    read, write = os.pipe()
    # Without -noreset the server starts anew whenever its last client leaves, as xdotool does, and a window that comes
    # at that moment finds no display.
    command = ["Xvfb", "-noreset", "-displayfd", str(write), "-screen", "0", f"{size}x24"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    try:
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()
