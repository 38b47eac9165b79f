"""Images of an object for a video search, and the known target that a tracker searches for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop, context_side, mean_colour
from tracker.errors import ConfigError
from tracker.files import suggest
from tracker.geometry import check_box
from tracker.matching.gallery import Gallery
from tracker.matching.gallery_file import GalleryError, View
from tracker.matching.inputs import Region, open_picture
from tracker.tracking.template_memory import KnownTarget, TemplateView
from tracker.tracking.tracker import fingerprint
from tracker.types import Image

if TYPE_CHECKING:
    from tracker.matching.matcher import Matcher
    from tracker.tracking.tracker import SiamTracker

TEMPLATE, CONTEXT = 129, 0.5
"""Size of the stored template crops and the margin around the object, as the shipped trackers use them."""
FILLED = 4
"""An object that fills its image is first searched at this fraction of a frame's height."""


def view_for_search(image: Image, box: Sequence[float] | None = None) -> View:
    """Prepares an image of an object for a video search.

    Args:
        image: BGR uint8.
        box: x, y, w, h of the object; None: it fills the image.

    Raises:
        BoxError: The box can't be used.
    """
    height, width = image.shape[:2]
    x, y, w, h = (
        (0.0, 0.0, float(width), float(height)) if box is None else (float(v) for v in check_box(box, width, height))
    )
    crop = Crop.around(np.array([x + w / 2, y + h / 2]), context_side(w, h, CONTEXT), TEMPLATE)
    frame = (FILLED * width, FILLED * height) if box is None else (width, height)
    return View(crop.cut(image, mean_colour(image)), (w * crop.scale, h * crop.scale), (w, h), frame)


def items_and_views(
    matcher: Matcher | None, files: Sequence[Path], box: Sequence[float] | None
) -> tuple[list[Any], list[View | None]]:
    """The arguments of `Gallery.add` for image files.

    Raises:
        ConfigError: The matcher is for texts.
        SourceError, BoxError: An image or the box can't be used.
    """
    if matcher is not None and matcher.modality != "image":
        raise ConfigError(f"The model {matcher.name} reads texts; give them by --text.")
    images = [open_picture(file) for file in files]
    views: list[View | None] = [view_for_search(image, box) for image in images]
    return [image if box is None else Region(image, (box[0], box[1], box[2], box[3])) for image in images], views


def known_target(gallery: Gallery, thing: str, tracker: SiamTracker) -> KnownTarget:
    """An object as a known target of a tracker: at most four of its views, including the first.

    Args:
        gallery: It needs no matcher.
        thing: Its name there.
        tracker: The tracker that will search for it.

    Raises:
        GalleryError: There is no such object, or the gallery has no images of it.
    """
    if thing not in gallery.things:
        raise GalleryError(
            f"There is no {thing!r} in the gallery "
            f"({', '.join(gallery.things) or 'it is empty'}).{suggest(thing, gallery.things)}"
        )
    shown = [v for v, name in zip(gallery.views, gallery.names, strict=True) if name == thing and v is not None]
    if not shown:
        raise GalleryError(f"The gallery has no pictures of {thing} to look for in a video; enrol from picture files.")
    observer = tracker.observer
    chosen = [shown[int(k)] for k in np.unique(np.linspace(0, len(shown) - 1, 4).round())]
    n = observer.sizes[0]
    views = [
        TemplateView(_sized(v.picture, n), np.array(v.target, np.float32) * n / v.picture.shape[0]) for v in chosen
    ]
    size = np.array(chosen[0].size, np.float64)
    return KnownTarget(views, observer.bank(views).host, size, chosen[0].frame, fingerprint(tracker.model))


def _sized(picture: NDArray[np.uint8], n: int) -> NDArray[np.uint8]:
    import cv2

    return picture if picture.shape[0] == n else np.asarray(cv2.resize(picture, (n, n)), np.uint8)
