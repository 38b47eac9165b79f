"""Known things found in pictures and in videos: in a video each is looked for, and followed from where it is found.

The tracker proposes places (`MultiTracker.expect`: it searches the whole frame for what it knows, at several sizes);
the gallery
decides: what was found must be more like this thing than like any other, and alike enough for the chosen false-accept
rate. A thing that is followed is looked at again every few frames, and given up when it is no longer itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from tracker.matching.hits import Hit
from tracker.matching.inputs import Region, open_picture
from tracker.tracking.multi import MultiTracker
from tracker.tracking.template_memory import KnownTarget, TemplateView
from tracker.tracking.tracker import fingerprint
from tracker.types import Frame, Image, Track

if TYPE_CHECKING:
    from tracker.matching.matcher import Matcher
    from tracker.tracking.template_memory import KnownTarget
    from tracker.tracking.tracker import SiamTracker

TEMPLATE, CONTEXT = 129, 0.5
"""Size of the stored template crops and the margin around the thing, as the shipped trackers use them."""
FILLED = 4
"""A thing that fills its picture is first looked for at this part of a frame's height."""


def view_for_search(image: Image, box: Sequence[float] | None = None) -> View:
    """A picture of a thing as a video search needs it.

    Args:
        image: BGR uint8.
        box: x, y, w, h of the thing; None: it fills the picture.

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
    """What `Gallery.add` takes of picture files.

    Raises:
        ConfigError: The matcher reads texts.
        SourceError, BoxError: A picture or the box can't be used.
    """
    if matcher is not None and matcher.modality != "image":
        raise ConfigError(f"The model {matcher.name} reads texts; give them by --text.")
    images = [open_picture(file) for file in files]
    views: list[View | None] = [view_for_search(image, box) for image in images]
    return [image if box is None else Region(image, (box[0], box[1], box[2], box[3])) for image in images], views


@dataclass(frozen=True)
class Found:
    """A known thing in a frame.

    Attributes:
        name: Of the thing.
        track: Where it is; `target_id` is the number of the thing in the gallery.
        similarity: To its references, when it was looked at last.
        probability: That it is this thing, or None without a calibration.
    """

    name: str
    track: Track
    similarity: float
    probability: float | None


class VideoSearch:
    """Looks for all things of a gallery in a video, and follows those that are there.

    Args:
        gallery: With views (`siamtrack match enrol` stores them) and a matcher.
        tracker: What searches and follows.
        far: False-accept rate of the decision on one thing in one look.
        threshold: Least similarity instead of the one that the calibration gives for `far`.
        margin: How much more a place must be like its thing than like any other of the gallery.
        every: Frames between two looks at a thing that is followed.

    Raises:
        GalleryError: The gallery is empty or has no views.
        ConfigError: It has neither calibration nor threshold.
    """

    LOOKS = 2
    """Looks in a row that a followed thing may fail."""

    def __init__(
        self,
        gallery: Gallery,
        tracker: SiamTracker,
        far: float = 0.01,
        threshold: float | None = None,
        margin: float = 0.05,
        every: int = 10,
    ) -> None:
        if not len(gallery):
            raise GalleryError("The gallery is empty; enrol a thing first.")
        bare = [
            thing
            for thing in gallery.things
            if all(v is None for v, n in zip(gallery.views, gallery.names, strict=True) if n == thing)
        ]
        if bare:
            raise GalleryError(
                f"The gallery has no pictures of {', '.join(bare)} to look for in a video; enrol from picture files."
            )
        if threshold is None:
            if gallery.calibration is None:
                raise ConfigError(
                    "The gallery has no calibration; give the least similarity by --threshold, or `siamtrack match "
                    "calibrate` it."
                )
            threshold = gallery.calibration.threshold(far)
        self.gallery, self.tracker, self.threshold, self.margin, self.every = gallery, tracker, threshold, margin, every
        self.multi = MultiTracker(tracker)
        self._known = {thing: known_target(gallery, thing, tracker) for thing in gallery.things}
        self._ids: dict[int, str] = {}
        self._sure: dict[str, tuple[float, float | None]] = {}
        self._failed: dict[str, int] = {}
        self._looked: dict[str, int] = {}

    def update(self, frame: Frame) -> list[Found]:
        """The things that are in the next frame, in the order of the gallery."""
        if not self._ids:
            for thing in self.gallery.things:
                self._expect(thing, frame.image)
        found = []
        for track in self.multi.update(frame.image, index=frame.index, timestamp=frame.timestamp):
            thing = self._ids[track.target_id]
            if not track.visible:
                self._sure.pop(thing, None)
                continue
            if (thing not in self._sure or frame.index - self._looked[thing] >= self.every) and not self._look(
                thing, track, frame
            ):
                self._expect(thing, frame.image, track.target_id)
                continue
            similarity, probability = self._sure[thing]
            number = self.gallery.things.index(thing)
            found.append(Found(thing, replace(track, target_id=number), similarity, probability))
        return found

    def _look(self, thing: str, track: Track, frame: Frame) -> bool:
        """Whether what is followed is (still) the thing."""
        box = tuple(float(v) for v in track.box)
        (hits,) = self.gallery.search([Region(frame.image, (box[0], box[1], box[2], box[3]))], len(self.gallery.things))
        own = next(hit for hit in hits if hit.name == thing)
        other = max((hit.similarity for hit in hits if hit.name != thing), default=-np.inf)
        self._looked[thing] = frame.index
        known = thing in self._sure
        # What is followed already may change its look; what is new must be clearly itself.
        good = own.similarity >= self.threshold and own.similarity >= other + (0 if known else self.margin)
        if good:
            self._sure[thing], self._failed[thing] = (own.similarity, own.probability), 0
            return True
        self._failed[thing] = self._failed.get(thing, 0) + 1
        if known and self._failed[thing] < self.LOOKS:
            return True
        self._sure.pop(thing, None)
        return False

    def _expect(self, thing: str, image: Image, old: int | None = None) -> None:
        """Looks for a thing (again)."""
        if old is not None:
            self.multi.drop(old)
            del self._ids[old]
        self._ids[self.multi.expect(image, self._known[thing])] = thing
        self._failed[thing] = 0


def known_target(gallery: Gallery, thing: str, tracker: SiamTracker) -> KnownTarget:
    """A thing as a known target of a tracker: at most four of its views, the first included.

    Args:
        gallery: It needs no matcher.
        thing: Its name there.
        tracker: What will look for it.

    Raises:
        GalleryError: There is no such thing, or the gallery has no pictures of it.
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


def search_video(frames: Iterable[Frame], search: VideoSearch) -> Iterator[tuple[Frame, list[Found]]]:
    """Every frame with the known things in it."""
    for frame in frames:
        yield frame, search.update(frame)


def search_pictures(files: Sequence[Path], gallery: Gallery, count: int = 3) -> Iterator[tuple[Path, list[Hit]]]:
    """Every picture, which one thing fills, with the known things that it is most like."""
    for file in files:
        yield file, gallery.search([file], count)[0]
