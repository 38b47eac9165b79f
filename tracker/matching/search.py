"""Known objects found in images and in videos: in a video each is searched for, and tracked from where it is found.

The network proposes candidates (`tracker.matching.proposals`: windows over the whole frame, at several sizes); the
gallery decides: a candidate must be more similar to this object than to any other, and similar enough for the chosen
false-accept rate, on average over some frames. A tracked object is verified again every few frames, and dropped if that
fails.
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
    """A known object in a frame.

    Attributes:
        name: Name of the object.
        track: Its track; `target_id` is the number of the object in the gallery.
        similarity: To its references, at the last verification.
        probability: That it is this object, or None without a calibration.
    """

    name: str
    track: Track
    similarity: float
    probability: float | None


@dataclass
class _Following:
    """A tracked object, or a tracked candidate.

    Attributes:
        number: Number of the target in the tracker.
        strength: Strength of the candidate it started from (`VideoSearch.SURE`).
        looks: Similarity to the object and to the most similar other one, for each verification until acceptance.
        sure: Similarity and probability of the last successful verification; None: not reported yet.
        looked: Frame of the last verification.
        failed: Number of consecutive failed verifications since acceptance.
        hidden: Number of consecutive frames in which the tracker did not see it.
    """

    number: int
    strength: float
    looks: list[tuple[float, float]]
    looked: int
    sure: tuple[float, float | None] | None = None
    failed: int = 0
    hidden: int = 0


class VideoSearch:
    """Searches for all objects of a gallery in a video, and tracks those that are found.

    A candidate comes from the tracker's network (`tracker.matching.proposals`), and the gallery verifies it: at once,
    and while the tracker tracks it. The mean of these verifications decides; if it is not clear, only after the whole
    frame was searched at all sizes and nothing better was found.

    Args:
        gallery: With views (`siamtrack match enrol` stores them) and a matcher.
        tracker: Searches and tracks.
        far: False-accept rate of the decision on one object in one verification.
        threshold: Least similarity, instead of the one that the calibration gives for `far`.
        margin: Least margin of a candidate's similarity to its object over that to any other of the gallery.
        every: Frames between two verifications of a tracked object.
        windows: Number of windows searched per frame, as long as an object is missing; 0: as many as cover the frame at
            all sizes.

    Raises:
        GalleryError: The gallery is empty or has no views.
        ConfigError: It has neither calibration nor threshold.
    """

    LOOKS = 3
    """Number of verifications, in as many frames, that accept a candidate; and number of consecutive failures that drop
    a tracked object."""
    LEAST, SURE = 0.06, 0.12
    """Strength of a candidate, the response of the network times the margin in similarity over all other objects: above
    the first it is tracked, above the second it is accepted without comparison with the rest of the frame."""
    LEAD = 0.5
    """Greatest margin of a candidate: one that could not be strong enough even with it is not verified."""
    BEST = 3
    """Number of candidates of an object per frame that the gallery verifies."""
    PATIENCE = 15
    """Number of frames in which only the tracker searches for an object that it lost."""

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
        """The objects in the next frame, in the order of the gallery."""
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
        """Whether the tracked thing is, or may be, the object."""
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
        # A tracked object may change its appearance; a new candidate must match clearly.
        if own >= self.threshold and own >= other:
            one.sure, one.failed = (own, probability), 0
            return True
        one.failed += 1
        return one.failed < self.LOOKS

    def _propose(self, frame: Frame, taken: list[NDArray[np.float64]]) -> None:
        """Starts to track the best candidate of each object that isn't accepted yet, if the gallery verifies it."""
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
        """For each candidate its similarity to the object and to the most similar other one, and the probability."""
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
    """For each image, which one object fills, the most similar known objects."""
    for file in files:
        yield file, gallery.search([file], count)[0]
