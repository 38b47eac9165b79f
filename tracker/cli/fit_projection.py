"""Fits the projection of a tracker's embedding, see `tracker.matching.fit_projection`:
`python -m tracker.cli.fit_projection --clips FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracker.cli.common import DONE, Parser, run
from tracker.matching.fit_projection import discriminants, mean_cells, store
from tracker.model.checkpoint import fingerprint
from tracker.tracking.projection import FILE
from tracker.tracking.tracker import SiamTracker


def main(argv: Sequence[str] | None = None) -> int:
    """Fits it and writes it."""
    parser = Parser(description="Fits the projection of a tracker's embedding to annotated clips.")
    parser.add_argument("--model", default="siamtrack-s", metavar="NAME|FILE", help="the tracker")
    parser.add_argument("--clips", type=Path, required=True, metavar="FOLDER", help="in the layout of GOT-10k")
    parser.add_argument("--exclude", default="drone*", metavar="A,B", help="patterns of names that are left out")
    parser.add_argument("--frames", type=int, default=40, metavar="N", help="of each clip at most")
    parser.add_argument("--dimensions", type=int, default=64, metavar="K", help="that are kept")
    parser.add_argument("--shrink", type=float, default=0.5, metavar="SHARE", help="of the identity in the scatter")
    parser.add_argument("--output", type=Path, default=FILE, metavar="FILE", help="projections; others in it stay")
    args = parser.parse_args(argv)
    tracker = SiamTracker.from_pretrained(args.model, "cpu")
    vectors, names = mean_cells(tracker, args.clips, args.exclude.split(","), args.frames)
    projection = discriminants(vectors, names, args.dimensions, args.shrink)
    store(args.output, fingerprint(tracker.model), projection)
    print(f"{args.output}: {len(vectors)} crops of {len(set(names))} clips, {projection.matrix.shape[1]} dimensions")
    return DONE


if __name__ == "__main__":
    raise SystemExit(run(main))
