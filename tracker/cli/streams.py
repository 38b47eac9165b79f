"""The standard streams of a command: none is missing, and a reader that goes away is no crash."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


def open_standard_streams() -> None:
    """Where stdin, stdout or stderr were closed (`2>&-`), nothing takes their place but the null device.

    Else the next file that is opened gets the number 2, and every library that prints a warning writes into it.
    """
    while True:
        handle = os.open(os.devnull, os.O_RDWR)
        if handle > 2:
            os.close(handle)
            break
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def drop_stdout() -> None:
    """Nobody reads stdout any more: what is printed from now on is dropped."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(OSError, ValueError):
        sys.stdout.flush()


class Survivor:
    """A stream for messages: if nobody can read them any more, the work goes on without."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, or drops, the text."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Flushes what can be."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def note(args: argparse.Namespace, text: str) -> None:
    """Tell the user something, unless --quiet.

    That nobody reads it any more (`| head -1`) is no reason to leave files unwritten.
    """
    if args.quiet:
        return
    try:
        print(text, flush=True)
    except OSError:
        drop_stdout()
