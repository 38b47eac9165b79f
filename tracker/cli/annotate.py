"""`siamtrack annotate CLIP...`: draw a few boxes, have the frames between tracked in both directions, export."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.annotate.formats import FORMATS, check_target, format_of
from tracker.cli.common import DONE, Parser, RawEpilog, add_version
from tracker.cli.model_options import add_model_options, check_model_options, load_tracker
from tracker.cli.streams import note
from tracker.errors import SiamTrackError, SourceError

if TYPE_CHECKING:
    from tracker.annotate.project import Project
    from tracker.annotate.worker import RetrackProgress

EPILOG = f"""\
formats for --export and --import, with what is written: {"; ".join(f"{f.name}: {f.text}" for f in FORMATS.values())}

the csv of --headless has a header; a row is a box that you give, and a row with empty x,y,w,h says that the
target leaves there:
  frame,id,class,x,y,w,h        (optional: name, and clip if there are several)

  siamtrack annotate clip.mp4                                                  opens the page in a browser
  siamtrack annotate clip.mp4 --headless keys.csv --export yolo=labels         from files, no browser
  siamtrack annotate --project clip.annotations.jsonl --export cvat=annotations.xml
"""


def pair(text: str) -> tuple[str, Path]:
    """`FORMAT=PATH`, for `type=`."""
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not FORMAT=PATH, for example yolo=labels; formats are {', '.join(FORMATS)}"
        )
    try:
        format_of(name)
    except SiamTrackError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name, Path(path)


def build_parser() -> Parser:
    """The options of `siamtrack annotate`."""
    parser = Parser(description=__doc__.split(": ", 1)[1].capitalize(), epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="CLIP",
        help="video file, folder of images, or folder of videos; with --project those known",
    )
    work = parser.add_argument_group("project")
    work.add_argument(
        "--project", type=Path, metavar="FILE.jsonl", help="where all is kept (default: CLIP.annotations.jsonl here)"
    )
    work.add_argument(
        "--headless", type=Path, metavar="KEYS.csv", help="take key boxes from a file, track, and end; no page"
    )
    work.add_argument(
        "--import",
        dest="imports",
        action="append",
        type=pair,
        default=[],
        metavar="FORMAT=PATH",
        help="bring annotations in first",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--export",
        action="append",
        type=pair,
        default=[],
        metavar="FORMAT=PATH",
        help="write annotations, open no page; may be repeated",
    )
    output.add_argument(
        "--pictures", action="store_true", help="write the frames too, for formats with a picture per frame (yolo, voc)"
    )
    output.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="PX",
        help="cvat and label-studio: fewer keyframes, boxes off by at most so much (default: 0)",
    )
    output.add_argument("--overwrite", action="store_true", help="replace exports that exist")
    page = parser.add_argument_group("page")
    page.add_argument(
        "--web",
        default="",
        metavar="HOST:PORT",
        help="where the page listens (default: 127.0.0.1:8765, this machine only)",
    )
    page.add_argument("--no-open", action="store_true", help="don't open a browser; the address is printed in any case")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    add_model_options(parser)
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the annotation; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not args.sources and not args.project:
        parser.error("which clip? Give a video, a folder of images, or --project FILE")
    check_model_options(args)
    if args.tolerance < 0:
        parser.error(f"--tolerance {args.tolerance:g} is below 0; give pixels, for example 0.5")
    for name, path in args.export:
        check_target(name, path, args.overwrite)
    sources = [clip for source in args.sources for clip in clips_in(source)]
    from tracker.annotate.boxes_csv import read_keys
    from tracker.annotate.project import Project

    keys = read_keys(args.headless) if args.headless else []
    path = args.project or default_project(args.sources[0])
    with Project(path) as project:
        add_sources(project, sources)
        if not project.clips:
            raise SourceError(
                f"The project {path} holds no clip yet; name one: siamtrack annotate CLIP --project {path}."
            )
        import_all(project, args)
        if args.headless:
            from tracker.annotate.api import add_keys

            add_keys(project, keys)
            track_all(project, args)
        elif not args.export:
            from tracker.cli.annotate_page import serve

            return serve(project, args)
        export(project, args)
    return DONE


def clips_in(source: str) -> list[str]:
    """A source, or the videos in a folder that contains no images.

    Raises:
        SourceError: The folder contains neither.
    """
    from tracker.media.containers import VIDEO_SUFFIXES
    from tracker.media.sources.images import list_folder, natural_key

    folder = Path(source).expanduser()
    if not folder.is_dir():
        return [source]
    videos = sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()),
        key=lambda p: natural_key(p.name),
    )
    if videos:
        return [str(video) for video in videos]
    list_folder(folder)
    return [source]


def default_project(source: str) -> Path:
    """CLIP.annotations.jsonl in the current folder."""
    return Path(f"{Path(source.rstrip('/')).stem or 'clips'}.annotations.jsonl")


def add_sources(project: Project, sources: Sequence[str]) -> None:
    """Opens each clip once, to read its size and number of frames."""
    from tracker.annotate.api import add_source
    from tracker.annotate.frames import open_frames

    for source in sources:
        frames = open_frames(source)
        add_source(project, source, frames)
        frames.close()


def import_all(project: Project, args: argparse.Namespace) -> None:
    """--import: clips are matched by name; if there is one clip on each side, these two.

    Raises:
        AnnotationError: A clip isn't in the project.
    """
    from tracker.annotate.api import add_clip_of
    from tracker.annotate.clip import AnnotationError
    from tracker.annotate.formats import read
    from tracker.annotate.project import clip_names

    for name, path in args.imports:
        found = read(name, path)
        for source in found:
            match = [clip for clip in project.clips if source.name in (clip.name, Path(clip.path).stem)]
            if not match and len(project.clips) == 1 and (len(found) == 1 or all(not c.width for c in found)):
                match = project.clips
            if not match:
                raise AnnotationError(
                    f"{path} holds annotations of {source.name!r}, and the project has {clip_names(project.clips)}; "
                    "name that clip too."
                )
            made = add_clip_of(project, match[0], source)
            note(args, f"{match[0].name}: {len(made)} target{'s' * (len(made) != 1)} from {path}.")


def track_all(project: Project, args: argparse.Namespace) -> None:
    """Tracks all frames between the key boxes, printing progress from time to time."""
    from tracker.annotate.worker import RetrackWorker

    spoken = time.monotonic()
    chosen: list[str] = []

    def make() -> object:
        tracker = load_tracker(args)
        chosen.append(f"{tracker.name} on {tracker.device} ({tracker.engine.name})")
        note(args, chosen[0])
        return tracker

    def on_step(progress: RetrackProgress) -> None:
        nonlocal spoken
        if time.monotonic() - spoken > 5 and not args.quiet:
            spoken = time.monotonic()
            target = project.target(progress.target)
            sys.stderr.write(
                f"{project.clips[progress.clip].name}, {target.name}: {progress.done}/{progress.total} frames\n"
            )

    worker = RetrackWorker(project, make)  # type: ignore[arg-type]
    try:
        worker.run(on_step)
    finally:
        worker.stop()
    from tracker.annotate.project import summary

    for clip in project.clips:
        for target in clip.targets:
            counts = summary(target)
            note(
                args,
                f"{clip.name}, {target.name}: {counts['keys']} key box{'es' * (counts['keys'] != 1)}, boxes in "
                f"{counts['boxes']} of {clip.frame_count} frames, {counts['doubtful']} doubtful.",
            )
    note(args, f"Kept in {project.path}.")


def export(project: Project, args: argparse.Namespace) -> None:
    """--export: writes the files and reports what a format can't represent."""
    from tracker.annotate.formats import write

    for name, path in args.export:
        lost = write(name, project.clips, path, pictures=args.pictures, tolerance=args.tolerance)
        note(args, f"Wrote {path} ({FORMATS[name].text}).{''.join(' ' + sentence for sentence in lost)}")
