"""`match search GALLERY SOURCE`: finds known objects in images, folders and videos; in a video, tracks start
automatically."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli.common import DONE, FAILED_MIDWAY, Parser, RawEpilog, add_version, say_error, whole_number
from tracker.errors import OutputError, SiamTrackError

if TYPE_CHECKING:
    from tracker.matching.search import Found
    from tracker.types import Frame

EPILOG = """\
a picture, or a folder of pictures that one thing each fills: the known things that each is most like;
a video (or --video with a folder of frames): known things are found, and each is followed from there on

  siamtrack match search things.npz what.jpg
  siamtrack match search things.npz inbox/ --json
  siamtrack match search things.npz clip.mp4 --save-boxes found.csv --save out.mp4
"""


def search(argv: Sequence[str] | None = None) -> int:
    """Runs the search; returns the exit code."""
    parser = Parser(description="Find known things.", epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument("gallery", type=Path, metavar="GALLERY.npz")
    parser.add_argument("source", metavar="SOURCE", help="picture, folder, video, glob, camera index or URL")
    parser.add_argument("--video", action="store_true", help="the pictures of a folder are the frames of a video")
    parser.add_argument(
        "--count", type=whole_number(1), default=3, metavar="N", help="pictures: things to name for each"
    )
    parser.add_argument(
        "--far", type=float, default=0.01, metavar="RATE", help="false-accept rate of one verification of one thing"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="SIMILARITY", help="least similarity, instead of the one that --far gives"
    )
    parser.add_argument(
        "--tracker", default="siamtrack-s", metavar="NAME|FILE", help="video: what searches and follows"
    )
    parser.add_argument(
        "--windows",
        type=whole_number(0),
        default=8,
        metavar="N",
        help="video: windows that are searched in a frame while something is missing; 0: the whole frame at all sizes",
    )
    parser.add_argument("--max-frames", type=whole_number(1), metavar="N", help="video: stop after this many frames")
    parser.add_argument("--save", type=Path, metavar="OUT.mp4", help="video: write it with the things drawn")
    parser.add_argument(
        "--save-boxes", type=Path, metavar="OUT.csv", help="video: write frame, name, box, score and probability"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    parser.add_argument("--model", metavar="NAME|FILE", help="what made the gallery, where its name is not enough")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]")
    parser.add_argument("--json", action="store_true", help="print one json object a line")
    add_version(parser)
    args = parser.parse_args(argv)
    pictures = _pictures(args)
    for path in (args.save, args.save_boxes):
        if pictures is not None and path is not None:
            parser.error(
                f"{path} can't be written: the outputs are those of a video, and {args.source} holds pictures "
                "(--video: they are frames)"
            )
        if path is not None and path.exists() and not args.overwrite:
            raise OutputError(f"The output {path} exists; --overwrite replaces it.")
    from tracker.cli.match_gallery import open_gallery

    gallery = open_gallery(args.gallery, args.model, args.device)
    if pictures is None:
        return _video(args, gallery)
    from tracker.matching.search import search_pictures

    for file, hits in search_pictures(pictures, gallery, args.count):
        if args.json:
            rows = [
                {"name": h.name, "similarity": round(h.similarity, 4), "probability": _rounded(h.probability)}
                for h in hits
            ]
            print(json.dumps({"file": str(file), "hits": rows}))
        else:
            told = (
                f"{h.name} {h.similarity:.3f}"
                + ("" if h.probability is None else f" (probability {h.probability:.2f})")
                for h in hits
            )
            print(f"{file}: {', '.join(told)}")
    return DONE


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _pictures(args: argparse.Namespace) -> list[Path] | None:
    """The images to search, or None for a video."""
    from tracker.cli.match_gallery import pictures_of
    from tracker.media.images import IMAGE_SUFFIXES
    from tracker.media.sources.open import check_there

    path = Path(args.source)
    if not args.video and (path.is_dir() or (path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES)):
        return pictures_of(path)
    check_there(args.source)
    return None


def _video(args: argparse.Namespace, gallery: Any) -> int:
    """Processes the frames; what was written before an error stays valid."""
    from tracker.files import atomic
    from tracker.matching.search import VideoSearch
    from tracker.media.sources.open import open_source
    from tracker.tracking.tracker import SiamTracker

    tracker = SiamTracker.from_pretrained(args.tracker, args.device)
    finder = VideoSearch(gallery, tracker, args.far, args.threshold, windows=args.windows)
    seen: dict[str, list[int]] = {thing: [] for thing in gallery.things}
    count, reason = 0, ""
    with ExitStack() as stack:
        source = stack.enter_context(open_source(args.source))
        rows = stack.enter_context(atomic(args.save_boxes)) if args.save_boxes else None
        if rows is not None:
            rows.write(b"frame,name,x,y,w,h,score,state,similarity,probability\n")
        sink = _sink(args, stack, source.info)
        try:
            for frame in source:
                found = finder.update(frame)
                count += 1
                for one in found:
                    seen[one.name].append(frame.index)
                    if rows is not None:
                        rows.write(_row(frame, one).encode())
                if sink is not None:
                    sink(frame, found)
                if args.max_frames and count >= args.max_frames:
                    break
        except SiamTrackError as error:
            reason = str(error)
    for thing, frames in seen.items():
        share = len(frames) / max(count, 1)
        if args.json:
            print(
                json.dumps(
                    {
                        "name": thing,
                        "frames": len(frames),
                        "share": round(share, 4),
                        "first": frames[0] if frames else None,
                    }
                )
            )
        else:
            told = (
                f"found in frame {frames[0]}, seen in {len(frames)} of {count} frames"
                if frames
                else f"not seen in {count} frames"
            )
            print(f"{thing}: {told}")
    if reason:
        say_error(reason)
        return FAILED_MIDWAY
    return DONE


def _row(frame: Frame, one: Found) -> str:
    x, y, w, h = (f"{v:.2f}" for v in one.track.box)
    probability = "" if one.probability is None else f"{one.probability:.4f}"
    name = '"' + one.name.replace('"', '""') + '"' if any(c in one.name for c in ',"\n') else one.name
    track = one.track
    place = f"{frame.index},{name},{x},{y},{w},{h}"
    return f"{place},{track.score:.4f},{track.state.value},{one.similarity:.4f},{probability}\n"


def _sink(args: argparse.Namespace, stack: ExitStack, info: Any) -> Any:
    """The video sink, or None."""
    if args.save is None:
        return None
    from tracker.media.draw import colour_of, draw_tracks, put_label
    from tracker.media.sinks.video import VideoSink

    current: dict[str, Any] = {}

    def render(frame: Frame, tracks: Sequence[Any]) -> Any:
        image = draw_tracks(frame, tracks)
        for one in current["found"]:
            x, y = int(one.track.box[0]), int(one.track.box[1])
            put_label(image, one.name, (x, y), colour_of(one.track.target_id))
        return image

    video = stack.enter_context(VideoSink(args.save, info, render=render, overwrite=args.overwrite))

    def write(frame: Frame, found: list[Found]) -> None:
        current["found"] = found
        video.write(frame, [one.track for one in found])

    return write
