"""Known things found in pictures and in videos: in a video each is looked for, and followed from where it is found.

The network proposes places (`tracker.matching.proposals`: windows over the whole frame, at several sizes); the gallery
decides: what was found must be more like this thing than like any other, and alike enough for the chosen false-accept
rate, in the mean of some frames. A thing that is followed is looked at again every few frames, and given up when it is
no longer itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.errors import ConfigError
from tracker.geometry import iou
from tracker.matching.gallery import Gallery
from tracker.matching.gallery_file import GalleryError
from tracker.matching.hits import Hit
from tracker.matching.inputs import Region
from tracker.matching.proposals import SAME, Proposals
from tracker.matching.search_views import known_target
from tracker.tracking.multi import MultiTracker
from tracker.types import Frame, Image, Track

if TYPE_CHECKING:
    from tracker.tracking.tracker import SiamTracker


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


@dataclass
class _Following:
    """A thing that is followed, or a place that may be it.

    Attributes:
        number: Of the target in the tracker.
        strength: Of the place where it began (`VideoSearch.SURE`).
        looks: Similarity to itself and to the most alike other thing, of each look until it was sure.
        sure: Similarity and probability of the last good look; None: it is not reported yet.
        looked: Frame of the last look.
        failed: Looks in a row that failed since it was sure.
        hidden: Frames in a row in which the tracker did not see it.
    """

    number: int
    strength: float
    looks: list[tuple[float, float]]
    looked: int
    sure: tuple[float, float | None] | None = None
    failed: int = 0
    hidden: int = 0


class VideoSearch:
    """Looks for all things of a gallery in a video, and follows those that are there.

    A place comes from the tracker's network (`tracker.matching.proposals`), and the gallery judges it: at once, and as
    the tracker follows it from there. The mean of these looks makes it the thing; where that speaks less than clearly,
    only after the whole frame was searched at all sizes and nothing better was found.

    Args:
        gallery: With views (`siamtrack match enrol` stores them) and a matcher.
        tracker: What searches and follows.
        far: False-accept rate of the decision on one thing in one look.
        threshold: Least similarity instead of the one that the calibration gives for `far`.
        margin: How much more a place must be like its thing than like any other of the gallery.
        every: Frames between two looks at a thing that is followed.
        windows: Windows that are searched in a frame, as long as something is missing; 0: as many as cover it at all
            sizes.

    Raises:
        GalleryError: The gallery is empty or has no views.
        ConfigError: It has neither calibration nor threshold.
    """

    LOOKS = 3
    """Looks that make a place the thing, in as many frames; and looks in a row that a followed thing must not fail."""
    LEAST, SURE = 0.06, 0.12
    """Strength of a place, the response of the network times the lead in similarity over all other things: from where
    on it is followed, and from where on it needs no comparison with the rest of the frame."""
    LEAD = 0.5
    """Lead of a place at most: a place that could not be strong enough with that is not judged."""
    BEST = 3
    """Places of a thing in a frame that the gallery judges."""
    PATIENCE = 15
    """Frames for which the tracker alone looks for what it lost."""

    def __init__(
        self,
        gallery: Gallery,
        tracker: SiamTracker,
        far: float = 0.01,
        threshold: float | None = None,
        margin: float = 0.12,
        every: int = 10,
        windows: int = 8,
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
        known = {thing: known_target(gallery, thing, tracker) for thing in gallery.things}
        self.proposals = Proposals(tracker.observer, known, windows)
        self._followed: dict[str, _Following] = {}
        self._since = dict.fromkeys(gallery.things, 0)

    def update(self, frame: Frame) -> list[Found]:
        """The things that are in the next frame, in the order of the gallery."""
        tracks = {
            track.target_id: track
            for track in self.multi.update(frame.image, index=frame.index, timestamp=frame.timestamp)
        }
        found = []
        for thing in [name for name in self.gallery.things if name in self._followed]:
            one = self._followed[thing]
            track = tracks[one.number]
            if not self._goes_on(thing, one, track, frame):
                self._drop(thing)
                if one.sure is not None:
                    self._since[thing] = self.proposals.passes
            elif track.visible and one.sure is not None:
                number = self.gallery.things.index(thing)
                found.append(Found(thing, replace(track, target_id=number), *one.sure))
        followed = [one.number for one in self._followed.values() if one.sure is not None]
        self._propose(frame, [tracks[k].box for k in followed if tracks[k].visible])
        return found

    def _drop(self, thing: str) -> None:
        self.multi.drop(self._followed.pop(thing).number)

    def _goes_on(self, thing: str, one: _Following, track: Track, frame: Frame) -> bool:
        """Whether what is followed is, or may be, the thing."""
        if not track.visible:
            one.hidden += 1
            return one.sure is not None and one.hidden <= self.PATIENCE
        back, one.hidden = one.hidden > 0, 0
        pause = self.every if one.sure is not None else 1 if len(one.looks) < self.LOOKS else self.every // 2
        if not back and frame.index - one.looked < pause:
            return True
        ((own, other, probability),) = self._judge(thing, [track.box], frame.image)
        one.looked = frame.index
        if one.sure is None:
            one.looks.append((own, other))
            mean, rest = np.mean(one.looks, axis=0)
            if mean < self.threshold or mean < rest + self.margin:
                return False
            searched = self.proposals.passes > self._since[thing] or one.strength >= self.SURE
            if len(one.looks) >= self.LOOKS and searched:
                one.sure = (own, probability)
            return True
        # What is followed already may change its look; what is new must be clearly itself.
        if own >= self.threshold and own >= other:
            one.sure, one.failed = (own, probability), 0
            return True
        one.failed += 1
        return one.failed < self.LOOKS

    def _propose(self, frame: Frame, taken: list[NDArray[np.float64]]) -> None:
        """Begins to follow the best place of each thing that is not sure yet, if the gallery takes it for that."""
        sure = {thing for thing, one in self._followed.items() if one.sure is not None}
        places = self.proposals.next(frame.image, [t for t in self.gallery.things if t not in sure])
        for thing in dict.fromkeys(place.thing for place in places):
            old = self._followed.get(thing)
            best, looks = old.strength if old is not None else self.LEAST, (0.0, 0.0)
            free = [
                p
                for p in places
                if p.thing == thing
                and p.response * self.LEAD > best
                and (not taken or float(iou(np.array(taken), p.box[None]).max()) < SAME)
            ][: self.BEST]
            chosen = None
            for place, (own, other, _) in zip(
                free, self._judge(thing, [p.box for p in free], frame.image), strict=True
            ):
                strength = place.response * (own - other)
                if own >= self.threshold and own >= other + self.margin and strength > best:
                    chosen, best, looks = place, strength, (own, other)
            if chosen is not None:
                if old is not None:
                    self._drop(thing)
                self._followed[thing] = _Following(self.multi.add(frame.image, chosen.box), best, [looks], frame.index)
                taken.append(chosen.box)

    def _judge(
        self, thing: str, boxes: Sequence[NDArray[np.float64]], image: Image
    ) -> list[tuple[float, float, float | None]]:
        """For each place its similarity to the thing and to the most alike other one, and the probability."""
        if not boxes:
            return []
        regions = [Region(image, (float(x), float(y), float(w), float(h))) for x, y, w, h in boxes]
        out = []
        for hits in self.gallery.search(regions, len(self.gallery.things)):
            own = next(hit for hit in hits if hit.name == thing)
            other = max((hit.similarity for hit in hits if hit.name != thing), default=-1.0)
            out.append((own.similarity, other, own.probability))
        return out


def search_pictures(files: Sequence[Path], gallery: Gallery, count: int = 3) -> Iterator[tuple[Path, list[Hit]]]:
    """Every picture, which one thing fills, with the known things that it is most like."""
    for file in files:
        yield file, gallery.search([file], count)[0]
