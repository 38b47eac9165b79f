"""Output of a command: standard streams that may be closed or missing without causing a crash, and the progress bar
with the current frames per second."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tracker.types import Track


def open_standard_streams() -> None:
    """Opens the null device for each of stdin, stdout and stderr that was closed (`2>&-`).

    Otherwise the next opened file would get the number 2, and every library that prints a warning would write into
    it.
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
    """Nobody reads stdout any more: later output is dropped."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(OSError, ValueError):
        sys.stdout.flush()


class Survivor:
    """A stream for messages that ignores write errors, so that work continues if nobody reads them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, or drops, the text."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Flushes if possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def note(args: argparse.Namespace, text: str) -> None:
    """Prints a message, unless --quiet.

    If nobody reads it any more (`| head -1`), files are still written.
    """
    if args.quiet:
        return
    try:
        print(text, flush=True)
    except OSError:
        drop_stdout()


FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
ENDLESS = "{n_fmt} frames [{elapsed}{postfix}]"
LOG_SECONDS = 10.0
"""Interval of the plain lines that replace the bar if stderr is not a terminal (a log file)."""


class ProgressBar:
    """Number of frames, frames per second, score and state, on stderr.

    Args:
        total: Number of frames, or None if unknown.
        quiet: Print nothing.

    Attributes:
        fps: Frames per second over the last half second.
    """

    def __init__(self, total: int | None, quiet: bool) -> None:
        self._total, self._done, self._bar = total, 0, None
        self._since, self._frames, self.fps = time.perf_counter(), 0, 0.0
        self._logged = self._since
        self._quiet = quiet
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, bar_format=FORMAT if total else ENDLESS, dynamic_ncols=True)

    _bar: Any

    def update(self, tracks: Sequence[Track]) -> None:
        """Counts one more frame."""
        now = time.perf_counter()
        self._done += 1
        self._frames += 1
        if now - self._since > 0.5:
            self.fps, self._since, self._frames = self._frames / (now - self._since), now, 0
        if self._bar is not None:
            if self.fps:
                self._bar.set_postfix_str(self._text(tracks), refresh=False)
            self._bar.update()
        elif not self._quiet and now - self._logged > LOG_SECONDS:
            self._logged = now
            sys.stderr.write(f"{self._done}{f'/{self._total}' if self._total else ''} frames, {self._text(tracks)}\n")

    def _text(self, tracks: Sequence[Track]) -> str:
        score = sum(t.score for t in tracks) / max(len(tracks), 1)
        state = max((t.state.value for t in tracks), key=("tracking", "uncertain", "lost").index, default="")
        return f"{self.fps:.{0 if self.fps >= 10 else 1}f} fps, score {score:.2f}, {state}"

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()
