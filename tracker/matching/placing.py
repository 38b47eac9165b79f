"""Localisation of a template from one image in another, possibly of another modality: the matcher's maps, and the
tracker's energy.

A template's map is correlated with the map of the search image as in tracking; the two sides may have different
encoders (visible, thermal).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.crops import Crop
from tracker.errors import ConfigError, SourceError
from tracker.geometry import check_box
from tracker.matching.inputs import Rect, resize, stack
from tracker.matching.metrics import wilson
from tracker.matching.sources import Classes, read_source
from tracker.matching.twins import FIRST, SECOND, Twins
from tracker.model.energies import build_energy
from tracker.types import Image

if TYPE_CHECKING:
    from tracker.matching.config import MatchConfig
    from tracker.matching.protocols import TestConfig
    from tracker.tracking.observer import Observer

NEAR = 16.0
"""Distance in pixels to the true centre that counts as found."""
SCALES = (0.71, 1.0, 1.41)
"""Sizes of the object in the second image, relative to its size in the first, that are tried by default."""


@dataclass(frozen=True)
class Placed:
    """A position in the second image.

    Attributes:
        box: x, y, w, h of the object there, pixels.
        similarity: Similarity of the maps there.
        lead: Margin over the best position elsewhere: near 0 means a guess.
    """

    box: Rect
    similarity: float
    lead: float


def square(box: Sequence[float], image: Image, side: float = 0.0) -> tuple[float, float, float]:
    """Left, top and side of the square around a box, moved inside the image if possible.

    Args:
        box: x, y, w, h.
        image: The picture.
        side: Pixels; 0: the longer side of the box.
    """
    x, y, w, h = (float(v) for v in box)
    height, width = image.shape[:2]
    side = min(side or max(w, h), height, width)
    left, top = x + w / 2 - side / 2, y + h / 2 - side / 2
    return float(np.clip(left, 0, width - side)), float(np.clip(top, 0, height - side)), float(side)


@torch.inference_mode()
def response(twins: Twins, template: Image, search: Image) -> NDArray[np.float64]:
    """The energy of a template at each position of a search image, both at the encoder's own scale.

    Args:
        twins: Encoders with maps, pool flatten and no projection, so that an embedding is a map.
        template: H x W x 3 BGR uint8 of the encoder's input size; the first side.
        search: H' x W' x 3 BGR uint8, at least as large; the second side.

    Returns:
        (rows, columns): cell (i, j) is the template with its corner at pixel (stride j, stride i).

    Raises:
        ConfigError: The search is smaller than the template.
    """
    if search.shape[0] < template.shape[0] or search.shape[1] < template.shape[1]:
        raise ConfigError(
            f"The picture of {search.shape[1]} x {search.shape[0]} is smaller than the template of "
            f"{template.shape[1]} x {template.shape[0]}; draw a smaller box."
        )
    z = twins.forward_map(stack([template]), FIRST).float()
    x = twins.forward_map(stack([search]), SECOND).float()
    return np.asarray(build_energy(twins.config.energy).window(z, x)[0, 0].numpy(), np.float64)


def place(
    twins: Twins,
    first: Image,
    box: Sequence[float],
    second: Image,
    scales: Sequence[float] = SCALES,
    context: float = 0.0,
) -> Placed:
    """Localises the object marked in one image in another image.

    Args:
        twins: As of `response`.
        first: The image with the box: the first side.
        box: x, y, w, h, pixels of the first image.
        second: The search image: the second side.
        scales: Sizes to try.
        context: Side of the compared square, as a fraction of the longer side of the box, at the model's scale; 0: the
            model's own.

    Raises:
        BoxError, ConfigError: The box can't be used, or the second image is too small for it.
    """
    height, width = first.shape[:2]
    x, y, w, h = check_box(box, width, height)
    given, stride = twins.config.input, int(twins.side(FIRST).stride)  # type: ignore[arg-type]
    context = context or given.context
    # Surroundings only as far as the second image has room for them.
    room = max(min(second.shape[:2]) / min(scales), w, h)
    left, top, side = square((x, y, w, h), first, min(context * max(w, h), room))
    # A square clipped by the image border keeps its scale: it has fewer cells.
    wanted = given.width / given.context * side / max(w, h)
    n = max(round(wanted / stride), 1) * stride
    template = resize(first[round(top) : round(top + side), round(left) : round(left + side)], (n, n))
    best: tuple[float, float, float, float, float] | None = None  # similarity, lead, left, top, scale
    for scale in scales:
        factor = n / (side * scale)
        size = (round(second.shape[1] * factor), round(second.shape[0] * factor))
        if min(size) < n:
            continue
        values = response(twins, template, resize(second, size))
        row, column = divmod(int(values.argmax()), values.shape[1])
        rows, columns = np.indices(values.shape)
        clear = np.hypot(rows - row, columns - column) * stride > given.width / given.context / 2
        lead = float(values.max() - values[clear].max()) if clear.any() else 0.0
        found = (float(values.max()), lead, column * stride / factor, row * stride / factor, float(scale))
        best = max(best, found) if best else found
    if best is None:
        raise ConfigError(
            f"The thing of {w:.0f} x {h:.0f} pixels doesn't fit into a picture of {second.shape[1]} x "
            f"{second.shape[0]}; draw a smaller box."
        )
    similarity, lead, at_x, at_y, scale = best
    inside = ((x - left) * scale + at_x, (y - top) * scale + at_y)
    return Placed((inside[0], inside[1], w * scale, h * scale), similarity, lead)


def squares(image: Image, side: int, count: int, rng: np.random.Generator) -> list[Rect]:
    """Random squares of an image with some structure: those with more contrast than half of all.

    Args:
        image: BGR uint8.
        side: Pixels.
        count: Number of squares; fewer if the image has no room.
        rng: Random generator.
    """
    gray = image.mean(2)
    height, width = gray.shape
    boxes = [
        (float(x), float(y), float(side), float(side))
        for y in range(0, height - side + 1, 8)
        for x in range(0, width - side + 1, 8)
    ]
    contrast = np.array([gray[int(y) : int(y) + side, int(x) : int(x) + side].std() for x, y, _, _ in boxes])
    able = np.flatnonzero(contrast >= np.median(contrast)) if len(boxes) else np.zeros(0, np.intp)
    return [boxes[k] for k in rng.permutation(able)[:count]]


def aligned_squares(
    test: TestConfig, config: MatchConfig, rng: np.random.Generator
) -> Iterator[tuple[int, Image, Image, Rect]]:
    """Number of the scene, its images in both modalities, and a square in them; `limit` squares per scene.

    Raises:
        SourceError: No aligned images, or none with room for a square.
    """
    raw = {"kind": "aligned", "path": test.path, **test.source}
    pairs = read_source(raw, Path(config.data.root).expanduser(), config.model.input)
    if not isinstance(pairs, Classes) or pairs.partners is None:
        raise SourceError(
            f"The protocol {test.protocol} needs aligned pictures; set test.source.kind=aligned and its folders."
        )
    count = 0
    for scene, ((sample,), (partner,)) in enumerate(zip(pairs.samples, pairs.partners, strict=True)):
        first, second = sample.read(), partner.read()
        for box in squares(first, test.side, test.limit, rng):
            count += 1
            yield scene, first, second, box
    if not count:
        raise SourceError(f"No picture of {test.path} has room for a square of {test.side} pixels.")


def measure_placing(
    twins: Twins, test: TestConfig, config: MatchConfig, baseline: Observer | None = None
) -> dict[str, float]:
    """The fraction of templates from the first image that are localised within `NEAR` pixels in the second, for aligned
    pairs.

    Args:
        twins: As of `response`.
        test: Its source names the aligned images; `limit` squares per scene.
        config: Root of the data.
        baseline: A tracker whose own energy is measured on the same squares.

    Returns:
        found, low, high (95 % interval), squares; with a baseline also `tracker_found`.

    Raises:
        SourceError: No aligned pictures.
    """
    hits, own, count, scenes = 0, 0, 0, set()
    for scene, first, second, box in aligned_squares(test, config, np.random.default_rng(test.seed)):
        found = place(twins, first, box, second, (1.0,), test.context).box
        hits += _near(found, box)
        own += _near(tracker_place(baseline, first, box, second), box) if baseline is not None else 0
        count += 1
        scenes.add(scene)
    low, high = wilson(hits / count, count)
    out = {"found": hits / count, "low": low, "high": high, "squares": float(count), "scenes": float(len(scenes))}
    return out if baseline is None else {**out, "tracker_found": own / count}


def _near(found: Rect, true: Rect) -> int:
    return int(
        np.hypot(found[0] + found[2] / 2 - true[0] - true[2] / 2, found[1] + found[3] / 2 - true[1] - true[3] / 2)
        <= NEAR
    )


def tracker_place(observer: Observer, first: Image, box: Rect, second: Image) -> Rect:
    """The position found by a tracker's energy alone: the maximum of its template's response over the second image at
    the same scale.

    Args:
        observer: The tracker's observer.
        first, box: The image and the object in it.
        second: An image of the same scale.
    """
    view, _, _, fill = observer.first_view(first, box)
    template, stride = observer.sizes[0], observer.stride
    side = observer.side(np.array(box[2:], np.float64))
    height, width = second.shape[:2]
    window = max(width, height) * template / side
    cells = int(np.ceil(window / stride)) // 2 * 2
    size = cells * stride + 1
    crop = Crop.around(np.array([width / 2, height / 2]), size * side / template, size)
    known = observer.engine.embed_template([view.picture], view.target[None])
    scores = observer.engine.match(known, [crop.cut(second, fill)]).score[0]
    rows, columns = np.indices(scores.shape)
    x = crop.left + (size / 2 + (columns - (scores.shape[1] - 1) / 2) * stride) / crop.scale
    y = crop.top + (size / 2 + (rows - (scores.shape[0] - 1) / 2) * stride) / crop.scale
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    k = int(np.where(inside, scores, -np.inf).argmax())
    return (float(x.flat[k]) - box[2] / 2, float(y.flat[k]) - box[3] / 2, box[2], box[3])
