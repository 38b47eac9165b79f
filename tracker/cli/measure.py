"""`siamtrack report TRACKS.csv`: paths, speeds, sizes and time in zones of tracks, as a page and as csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import DONE, Parser, RawEpilog, add_version, whole_number
from tracker.errors import OutputError, SiamTrackError

if TYPE_CHECKING:
    from tracker.measure.report import Scale

EXAMPLES = """\
  siamtrack track clip.mp4 --box 10,20,64,48 --save-boxes tracks.csv
  siamtrack report tracks.csv --video clip.mp4 --length 120,400,620,400=2.5m \\
      --zone 'door=0,0,200,0,200,300,0,300' --smooth
"""


def build_parser() -> Parser:
    """The options of `siamtrack report TRACKS.csv`."""
    parser = Parser(description=__doc__.split(": ", 1)[1].capitalize(), epilog=EXAMPLES, formatter_class=RawEpilog)
    parser.add_argument("tracks", type=Path, metavar="TRACKS.csv", help="what `track --save-boxes` wrote")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the report goes (default: TRACKS-report)")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    parser.add_argument("--title", default="", metavar="TEXT", help="heading of the page")
    parser.add_argument("--video", metavar="CLIP", help="draw the paths on the first frame of this clip")
    parser.add_argument(
        "--rate",
        type=float,
        metavar="FPS",
        help="frames per second, for tracks without time stamps (default: the clip's, or 25)",
    )
    parser.add_argument(
        "--length",
        metavar="X1,Y1,X2,Y2=N[UNIT]",
        help="how long a line in the picture is, for speeds in units, for example 120,400,620,400=2.5m",
    )
    parser.add_argument(
        "--zone", action="append", default=[], metavar="NAME=X,Y,X,Y,...", help="a polygon in pixels; may be repeated"
    )
    parser.add_argument("--zones", type=Path, metavar="FILE.json", help='polygons in a file: {"name": [[x, y], ...]}')
    parser.add_argument(
        "--smooth",
        nargs="?",
        type=whole_number(0),
        const=8,
        metavar="LAG",
        help="smooth the boxes first, using LAG later frames (8)",
    )
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report; returns the exit code."""
    args = build_parser().parse_args(argv)
    from tracker.interop.table import read_tracks
    from tracker.measure.report import measure, write_report
    from tracker.measure.zones import parse_zone, read_zones

    folder = args.output or args.tracks.with_name(f"{args.tracks.stem}-report")
    if (folder / "report.html").exists() and not args.overwrite:
        raise OutputError(
            f"Can't write {folder}: a report is there already; give another --output, or --overwrite to replace it."
        )
    zones = [parse_zone(text) for text in args.zone] + (read_zones(args.zones) if args.zones else [])
    scale = parse_length(args.length)
    tracks = read_tracks(args.tracks)
    frame, rate = None, args.rate
    if args.video:
        from tracker.media.sources.open import open_source

        with open_source(args.video, live=False) as source:
            frame = next(iter(source)).image
            rate = rate or (float(source.info.frame_rate) if source.info.frame_rate else None)
    if rate is not None and rate <= 0:
        raise SiamTrackError(f"The rate {rate:g} is not above 0; give frames per second, for example 25.")
    measured = measure(tracks, rate or 25.0, scale, zones, args.smooth)
    page = write_report(measured, folder, args.title or args.tracks.stem, scale, zones, frame)
    for one in measured:
        calm = (
            f", jitter {one.jitter_before:.2f} % -> {one.jitter_after:.2f} % of the size"
            if args.smooth is not None
            else ""
        )
        print(f"target {one.id}: {len(one.frames)} frames, path {one.length(scale):.4g} {scale.unit}{calm}")
    print(f"{page} (with csv beside it)")
    return DONE


def parse_length(text: str | None) -> Scale:
    """`x1,y1,x2,y2=2.5m` -> Scale.

    Raises:
        SiamTrackError: It doesn't have this form.
    """
    import re

    from tracker.measure.report import Scale

    if text is None:
        return Scale()
    found = re.fullmatch(r"\s*([-\d.]+),([-\d.]+),([-\d.]+),([-\d.]+)\s*=\s*([\d.]+)\s*([^\s\d]*)\s*", text)
    try:
        x1, y1, x2, y2, length = (float(v) for v in found.groups()[:5])  # type: ignore[union-attr]
        pixels = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        return Scale(length / pixels, found.group(6) or "units")  # type: ignore[union-attr]
    except (AttributeError, ValueError, ZeroDivisionError):
        raise SiamTrackError(
            f"{text!r} is not a length; write X1,Y1,X2,Y2=N[UNIT], for example 120,400,620,400=2.5m."
        ) from None
