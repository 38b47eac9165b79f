"""The targets of `track`: the given boxes, and the check that they lie in the first frame."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracker.cli.outputs import check_known
from tracker.cli.streams import note

if TYPE_CHECKING:
    from tracker.types import Box, Frame


def given_boxes(args: argparse.Namespace) -> list[Box]:
    """The boxes of --box, --init-file or --detections; none if they are to be drawn."""
    if args.init_file:
        from tracker.media.box_files import init_boxes

        found, left = init_boxes(
            args.init_file,
            args.start_frame,
            format=args.init_format,
            first=args.first_row_frame,
            ids=tuple(args.init_id),
        )
        if len(found) > 1:
            note(
                args,
                f"Following {len(found)} targets of {args.init_file}: ids {', '.join(map(str, found))} there, 0 to "
                f"{len(found) - 1} here.",
            )
        if left:
            sys.stderr.write(f"{left}\n")
        return list(found.values())
    if args.detections:
        from tracker.interop.detections import read_detections

        return read_detections(args.detections, args.start_frame)
    if not args.box:
        check_known(args)
        return []
    from tracker.loop import as_boxes

    return as_boxes(args.box)


def placed_boxes(args: argparse.Namespace, boxes: Sequence[Box], first: Frame) -> list[Box]:
    """Localises the objects marked in the image of --template-from in the first frame; prints how certain that is.

    Raises:
        SourceError, BoxError, WeightsError: The image, a box or the matcher can't be used.
    """
    from tracker.loop import as_boxes
    from tracker.matching.inputs import ImageSample
    from tracker.matching.placing import place
    from tracker.matching.store import load_matcher

    picture, twins = ImageSample(args.template_from).read(), load_matcher(args.template_model).twins
    out: list[Box] = []
    for box in boxes:
        found = place(twins, picture, box.tolist(), first.image)
        x, y, w, h = (round(v, 1) for v in found.box)
        note(
            args,
            f"Found in the first frame at {x:g},{y:g},{w:g},{h:g} (similarity {found.similarity:.2f}, lead "
            f"{found.lead:.2f}).",
        )
        out += as_boxes(found.box)
    return out


def check_in_frame(boxes: Sequence[Box], frame: Frame) -> None:
    """Checks, before the model is loaded, that the boxes lie in the first frame; warns if one is mostly outside."""
    from tracker.geometry import check_box, clip_box

    height, width = frame.image.shape[:2]
    for box in boxes:
        x, y, w, h = check_box(box, width, height)
        inside = clip_box(box, width, height).reshape(-1)
        share = inside[2] * inside[3] / (w * h)
        if share < 0.5:
            sys.stderr.write(
                f"Only {100 * share:.0f} % of the box {x:g},{y:g},{w:g},{h:g} is in the frame "
                f"({width} x {height} pixels); is it x,y,w,h, with x,y the top-left corner?\n"
            )
