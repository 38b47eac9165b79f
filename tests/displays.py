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
def xvfb(size: str, polled: bool = False) -> Iterator[str]:
    """The name of a new display of WIDTHxHEIGHT; skips the test where there can be none.

    Args:
        size: WIDTHxHEIGHT.
        polled: Whether xdotool looks for a window before there is one: the server then doesn't start anew whenever its
            last client leaves, or the window may come at that moment and find no display. Only for one program a
            display: the windows of a second get no keys.
    """
    if shutil.which("Xvfb") is None or shutil.which("xdotool") is None:
        pytest.skip("needs Xvfb and xdotool")
    row = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "NONE")
    if "NONE" in row:
        pytest.skip("this OpenCV is built without windows")
    read, write = os.pipe()
    command = ["Xvfb", *(["-noreset"] if polled else []), "-displayfd", str(write), "-screen", "0", f"{size}x24"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    try:
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()
