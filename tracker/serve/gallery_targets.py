"""Targets from a gallery: what the tracker searches for, and the verification of what it tracks.

The tracker proposes positions, the gallery decides, as in the search of videos (`tracker.matching.search`): a candidate
must be similar enough for the chosen false-accept rate, and more similar to this object than to any other of the
gallery.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.errors import ConfigError
from tracker.files import suggest
from tracker.matching.gallery_file import GalleryError
from tracker.serve.config import TargetConfig
from tracker.serve.targets import StreamTargets
from tracker.tracking.template_memory import KnownTarget
from tracker.tracking.tracker import SiamTracker
from tracker.types import Box, Frame, Image, Track, TrackState

if TYPE_CHECKING:
    from tracker.matching.gallery import Gallery

EVERY = 25
"""Frames between two verifications of a tracked object."""
LOOKS = 2
"""Number of consecutive verifications that may fail, since a tracked object may change its appearance."""
MARGIN = 0.05
"""Least margin of a new candidate's similarity to the object over that to any other."""


@dataclass(frozen=True)
class Thing:
    """An object of a gallery.

    Attributes:
        name: Its name there.
        known: The target that the tracker searches for.
        gallery: The gallery with its matcher.
        threshold: Least similarity.
    """

    name: str
    known: KnownTarget
    gallery: Gallery
    threshold: float

    def is_at(self, image: Image, box: Box, margin: float) -> bool:
        """Whether this box (x, y, w, h in pixels) contains the object."""
        from tracker.matching.inputs import Region

        x, y, w, h = (float(v) for v in box)
        (hits,) = self.gallery.search([Region(image, (x, y, w, h))], len(self.gallery.things))
        own = next(hit.similarity for hit in hits if hit.name == self.name)
        other = max((hit.similarity for hit in hits if hit.name != self.name), default=-float("inf"))
        return own >= self.threshold and own >= other + margin


def check_thing(name: str, config: TargetConfig) -> tuple[Gallery, str, float]:
    """The gallery of a target, without a matcher, the object's name in it, and the least similarity.

    Args:
        name: Name of the target.
        config: With `gallery`.

    Raises:
        SourceError, GalleryError: There is no such gallery or object, or it has no pictures.
        ConfigError: Neither `threshold` nor a calibration is given, or the calibration has too few pairs for `far`.
    """
    from tracker.matching.gallery import Gallery

    assert config.gallery is not None
    gallery, thing = Gallery.load(config.gallery), config.thing or name
    if thing not in gallery.things:
        raise GalleryError(
            f"There is no {thing!r} in the gallery {config.gallery} ({', '.join(gallery.things) or 'it is empty'}); "
            f"name one by `thing`.{suggest(thing, gallery.things)}"
        )
    if all(view is None for view, one in zip(gallery.views, gallery.names, strict=True) if one == thing):
        raise GalleryError(
            f"The gallery {config.gallery} has no pictures of {thing} to look for in a video; enrol from picture files."
        )
    if config.threshold is not None:
        return gallery, thing, config.threshold
    if gallery.calibration is None:
        raise ConfigError(
            f"The gallery {config.gallery} has no calibration; give the least similarity by `threshold`, "
            f"or run `siamtrack match calibrate {config.gallery}`."
        )
    return gallery, thing, gallery.calibration.threshold(config.far)


class Galleries:
    """The gallery objects that the streams of a worker search for; each is loaded once.

    Args:
        tracker: The tracker that searches for them.
    """

    def __init__(self, tracker: SiamTracker) -> None:
        self._tracker = tracker
        self._things: dict[tuple[str, str, float], Thing] = {}
        self._lock = threading.Lock()

    def thing(self, name: str, config: TargetConfig) -> Thing:
        """The gallery object of a target.

        Raises:
            SiamTrackError: As `check_thing`, or the model behind the gallery can't be loaded.
        """
        from tracker.matching.matcher import Matcher
        from tracker.matching.search_views import known_target

        gallery, thing, threshold = check_thing(name, config)
        key = (str(Path(str(config.gallery)).resolve()), thing, threshold)
        with self._lock:
            if key not in self._things:
                tracker = self._tracker
                own, device = Matcher.of_tracker(tracker), tracker.engine.device
                same = gallery.fingerprint == own.fingerprint
                gallery.bind(own if same else Matcher.from_pretrained(gallery.model, device), str(config.gallery))
                self._things[key] = Thing(thing, known_target(gallery, thing, tracker), gallery, threshold)
            return self._things[key]


class Identities:
    """Verifies that the gallery targets of one stream are still the right objects.

    Args:
        galleries: Those of the worker.
        targets: name -> configuration; those without a gallery are not verified.
    """

    def __init__(self, galleries: Galleries, targets: Mapping[str, TargetConfig]) -> None:
        self._galleries = galleries
        self._configs = {name: one for name, one in targets.items() if one.gallery is not None}
        self._things: dict[str, Thing] = {}
        self._sure: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    def put(self, name: str, config: TargetConfig) -> None:
        """Adds or replaces a target."""
        self.forget(name)
        if config.gallery is not None:
            self._configs[name] = config

    def forget(self, name: str) -> None:
        """Removes a target."""
        for kept in (self._configs, self._things, self._sure, self._failed):
            kept.pop(name, None)

    def known(self, name: str) -> KnownTarget:
        """The target that the tracker has to search for.

        Raises:
            SiamTrackError: As `Galleries.thing`.
        """
        return self._thing(name).known

    def checked(self, frame: Frame, tracks: Sequence[Track], targets: StreamTargets) -> list[Track]:
        """The tracks of a frame; one that tracks a different object becomes LOST, and the search for its object starts
        again."""
        if not self._configs:
            return list(tracks)
        return [self._checked(frame, track, targets) for track in tracks]

    def _checked(self, frame: Frame, track: Track, targets: StreamTargets) -> Track:
        name = targets.names[track.target_id]
        if name not in self._configs:
            return track
        if not track.visible:
            self._sure.pop(name, None)
            return track
        looked = self._sure.get(name)
        if looked is not None and frame.index - looked < EVERY:
            return track
        thing = self._thing(name)
        if thing.is_at(frame.image, track.box, MARGIN if looked is None else 0.0):
            self._sure[name], self._failed[name] = frame.index, 0
            return track
        self._failed[name] = self._failed.get(name, 0) + 1
        if looked is not None and self._failed[name] < LOOKS:
            self._sure[name] = frame.index
            return track
        self._sure.pop(name, None)
        self._failed[name] = 0
        targets.remove(name)
        number = targets.look_for(name, frame.image, thing.known)
        return replace(track, state=TrackState.LOST, score=0.0, target_id=number)

    def _thing(self, name: str) -> Thing:
        if name not in self._things:
            self._things[name] = self._galleries.thing(name, self._configs[name])
        return self._things[name]
