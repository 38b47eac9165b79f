"""The output options of `track` and `live`, the checks before any work, and the defaults if no output, or too much, was
requested."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tracker.cli.common import Parser, StoreOnce, whole_number
from tracker.cli.model_options import check_model_options
from tracker.cli.streams import note
from tracker.errors import BoxError, OutputError

VIEWS = ("boxes", "response")
TEXT_FORMATS = ("got10k", "mot", "otb", "vot")


def add_output_options(parser: Parser) -> None:
    """--save, --save-boxes, --format, --view, --overwrite."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--save",
        action=StoreOnce,
        type=Path,
        metavar="OUT.mp4",
        help="write a video with the target drawn (.mp4, .m4v, .mov, .mkv: H.264; .webm: VP9; .gif: up to 640 pixels)",
    )
    group.add_argument(
        "--save-boxes",
        type=Path,
        action="append",
        default=[],
        metavar="OUT.csv|.jsonl|.txt",
        help="write the box, score and state of every frame; may be repeated",
    )
    group.add_argument(
        "--save-target",
        action=StoreOnce,
        type=Path,
        metavar="OUT.npz",
        help="write what was learnt of the target, for --find in another video",
    )
    group.add_argument(
        "--format", choices=TEXT_FORMATS, help="what a .txt holds: got10k unless there are several targets, then mot"
    )
    group.add_argument(
        "--view",
        choices=VIEWS,
        default=VIEWS[0],
        help="what window and video show: the frame with boxes, or beside it the template, the search window and "
        "the response",
    )
    group.add_argument(
        "--smooth",
        nargs="?",
        type=whole_number(0),
        const=8,
        metavar="LAG",
        help="smooth the boxes in box files, using LAG later frames (8); the video shows them as tracked",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace existing outputs, once the new ones are complete; without it they are an error",
    )


def check_output_options(args: argparse.Namespace) -> None:
    """Checks before any work whether every requested file can be written.

    Raises:
        OutputError: For the first that can't.
    """
    from tracker.media.sinks.base import check_writable
    from tracker.media.sinks.open import box_format, check_video_name

    if args.resume and not args.save_boxes:
        raise OutputError(
            "--resume goes on with the boxes of a run that was broken off: name its file with --save-boxes."
        )
    if args.resume and getattr(args, "smooth", None) is not None:
        raise OutputError("--resume compares the rows that are there, and --smooth changes them; give one of the two.")
    if args.resume and args.overwrite:
        raise OutputError("--resume keeps the rows that are there and --overwrite drops them; give one of the two.")
    if args.format and not any(path.suffix.lower() == ".txt" for path in args.save_boxes):
        raise OutputError(f"--format {args.format} says what a .txt holds, but no --save-boxes FILE.txt was given.")
    wanted = [*([args.save] if args.save else []), *args.save_boxes, *([args.save_target] if args.save_target else [])]
    for k, path in enumerate(wanted):
        if path.resolve() in [other.resolve() for other in wanted[:k]]:
            raise OutputError(f"The output {path} is asked for twice; give each output its own name.")
        check_writable(path, args.overwrite or args.resume, source=args.source)
    if args.save_target and args.save_target.suffix != ".npz":
        raise OutputError(f"The target can't be written to {args.save_target}: its name must end in .npz.")
    if args.save:
        check_video_name(args.save)
    for path in args.save_boxes:
        box_format(path, text_format(path, args.format))


def text_format(path: Path, wanted: str | None, targets: int = 1) -> str | None:
    """The `format` of `open_boxes_sink`: --format for .txt files only, and MOT for several targets."""
    if path.suffix.lower() != ".txt":
        return None
    return wanted or ("mot" if targets > 1 else None)


def several_possible(args: argparse.Namespace) -> bool:
    """Whether the requested outputs can store several targets."""
    return args.format in (None, "mot") and not args.save_target


def check_targets(args: argparse.Namespace, count: int) -> None:
    """Checks that the box format can store several targets if there are several.

    Raises:
        OutputError: A single-target format was requested for several targets.
    """
    if count > 1 and args.save_target:
        raise OutputError(f"--save-target writes one target, not {count}; give one box.")
    if count > 1 and args.format not in (None, "mot"):
        raise OutputError(
            f"The format {args.format} holds one target, not {count}; use --format mot, a .csv or a .jsonl."
        )


def check_known(args: argparse.Namespace) -> None:
    """Checks the file of --find before any work, and that no other target is given.

    Raises:
        SourceError, BoxError: With the reason.
    """
    if args.find is None:
        return
    if args.box:
        raise BoxError("--box and --find both say what to follow; give one of them.")
    from tracker.tracking.template_memory import load_target

    load_target(args.find)


def check_options(args: argparse.Namespace) -> None:
    """All checks of options that need neither the source nor the model."""
    check_output_options(args)
    check_model_options(args)


def choose_outputs(args: argparse.Namespace, draws: bool) -> None:
    """Decides what is shown and written, and reports deviations from the options.

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
    """The default video file if no output was named and there is no display: SOURCE_tracked.mp4 in the current
    folder."""
    from tracker.media.addresses import parse

    kind, text = parse(source)
    name = "camera" + text if kind == "camera" else Path(text.rstrip("/")).stem
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("_.")
    return Path(f"{plain or 'video'}_tracked.mp4")
