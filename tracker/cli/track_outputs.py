"""What `track` shows and writes where nothing, or too much, was asked for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.outputs import check_options
from tracker.cli.session import note
from tracker.errors import BoxError

if TYPE_CHECKING:
    pass


def choose_outputs(args: argparse.Namespace, draws: bool) -> None:
    """Settle what is shown and written, and say so where it isn't what was typed.

    Raises:
        BoxError: There is neither a box nor a display to draw one.
    """
    wants_files = bool(args.save or args.save_boxes or args.save_target)
    if wants_files and not args.show and not draws:
        return
    from tracker.media.window import display_available

    there, why = (False, "--no-show was given") if args.show is False else display_available()
    if draws and not there:
        raise BoxError(
            f"A window to draw the box can't be opened: {why}; pass the box with --box x,y,w,h or --init-file FILE."
        )
    if there:
        args.show = args.show or not wants_files
        return
    if args.show:
        sys.stderr.write(f"--show is left out: {why}; files are written all the same.\n")
        args.show = False
    if not wants_files:
        args.save = default_output(args.source)
        check_options(args)
        note(args, f"No window: {why}; no output was named, so the video goes to {args.save}.")


def default_output(source: str) -> Path:
    """Where the video goes if no output was named and there is no display: SOURCE_tracked.mp4 in the current folder."""
    from tracker.media.addresses import parse

    kind, text = parse(source)
    name = "camera" + text if kind == "camera" else Path(text.rstrip("/")).stem
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("_.")
    return Path(f"{plain or 'video'}_tracked.mp4")
