"""The targets of one stream by name, with observations made by the batcher for all streams; and their saving and
restoring."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tracker.errors import SiamTrackError
from tracker.geometry import check_box
from tracker.tracking.lifecycle import Lifecycle
from tracker.tracking.motion import CameraMotion, MotionModel
from tracker.tracking.multi import MultiTracker
from tracker.tracking.observation import FrameObservations
from tracker.tracking.online_filter import OnlineFilter
from tracker.tracking.parallel import ParallelTargets
from tracker.tracking.state_machine import Belief
from tracker.tracking.target import Target
from tracker.tracking.template_memory import KnownTarget, TemplateView
from tracker.tracking.tracker import SiamTracker
from tracker.types import Image, Track, TrackState

VECTORS = ("centre", "size", "first_size", "sure_centre", "sure_size", "velocity")
NUMBERS = ("recent_motion", "reference_logit", "reference_frames", "online_peak", "online_sights", "age", "found_at")
MOTION = ("apparent", "own", "errors")
LEARNT = "learnt-"
"""Prefix of the names of the online filter's arrays."""


class TakenObservations(ParallelTargets):
    """Replaces `ParallelTargets`: the observations were already made, together with those of other streams."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        super().__init__(lifecycle, 1)
        self.observed: FrameObservations | None = None

    def observe(self, targets: Sequence[Target], frame: Image) -> FrameObservations:
        if self.observed is None:
            raise SiamTrackError("The batcher has not looked for these targets yet.")
        observed, self.observed = self.observed, None
        return observed


class StreamTargets(MultiTracker):
    """Named targets of one stream.

    Args:
        single: The tracker whose model, engine and configuration are used.
        fingerprint: Fingerprint of the weights (`tracker.model.checkpoint.fingerprint`).

    Attributes:
        names: id -> name.
        may_search: Whether a LOST target may be searched for beyond its last position in this frame.
        may_skip: False: the batcher runs the network for all targets in every frame.
    """

    may_skip = False

    def __init__(self, single: SiamTracker, fingerprint: str) -> None:
        super().__init__(single, 1)
        self.taken = TakenObservations(self.lifecycle)
        self.parallel = self.taken
        self.names: dict[int, str] = {}
        self.may_search = True
        self._fingerprint = fingerprint

    def id_of(self, name: str) -> int | None:
        """The id of a name, or None."""
        return next((number for number, known in self.names.items() if known == name), None)

    @property
    def any_lost(self) -> bool:
        return any(target.lost for target in self.targets.values())

    def start(self, name: str, frame: Image, box: Sequence[float]) -> int:
        """Starts to track a box from this frame on; returns its id.

        Raises:
            BoxError: It can't be tracked in this frame.
        """
        height, width = frame.shape[:2]
        number = self.add(frame, check_box(box, width, height))
        self.names[number] = name
        return number

    def look_for(self, name: str, frame: Image, known: KnownTarget) -> int:
        """Searches for a known target, also one from a gallery, from this frame on; returns its id."""
        return self._put(name, self.lifecycle.expect(frame, known, self._fingerprint))

    def remove(self, name: str) -> None:
        """Stops tracking a target.

        Raises:
            SiamTrackError: There is none of that name.
        """
        number = self.id_of(name)
        if number is None:
            raise SiamTrackError(
                f"There is no target {name!r} here; there are {', '.join(sorted(self.names.values())) or 'none'}."
            )
        self.drop(number)
        del self.names[number]

    def predict(self, frame: Image) -> list[Target]:
        """The targets with their predicted positions in this frame, before the batcher observes them."""
        targets = list(self.targets.values())
        self.lifecycle.predict(targets, frame, self.camera)
        return targets

    def _predict(self, targets: Sequence[Target], frame: Image) -> None:
        """Already done before the batcher's observation (`predict`)."""

    def follow(self, frame: Image, observed: FrameObservations, index: int, timestamp: float | None) -> list[Track]:
        """The tracks of a frame that the batcher has observed."""
        self.taken.observed = observed
        return self.update(frame, index=index, timestamp=timestamp)

    def save(self, name: str) -> tuple[dict[str, Any], bytes]:
        """A target as plain numbers, and an .npz in memory: its views, and its online filter."""
        number = self.id_of(name)
        assert number is not None
        target = self.targets[number]
        values: dict[str, Any] = {key: [float(v) for v in getattr(target, key)] for key in VECTORS}
        values |= {key: getattr(target, key) for key in NUMBERS}
        values["belief"] = asdict(target.belief) | {"state": target.belief.state.value}
        values["fill"] = [float(v) for v in target.fill]
        values["motion"] = {key: [float(v) for v in getattr(target.motion, key)] for key in MOTION}
        return values | {"model": self._fingerprint}, _arrays(target)

    def restore(self, name: str, values: Mapping[str, Any], views: bytes) -> int:
        """Restores a saved target; returns its id.

        Raises:
            SiamTrackError: It isn't a value of `save`.
        """
        try:
            with np.load(io.BytesIO(views), allow_pickle=False) as data:
                pictures, sizes, host = (
                    data["pictures"],
                    data["targets"].astype(np.float32),
                    data["embeddings"].astype(np.float32),
                )
                learnt = {k.removeprefix(LEARNT): data[k] for k in data.files if k.startswith(LEARNT)}
            at = {key: np.asarray(values[key], dtype=np.float64).reshape(2) for key in VECTORS}
            belief = Belief(**{**values["belief"], "state": TrackState(values["belief"]["state"])})
            seen = [TemplateView(p, t, 0) for p, t in zip(pictures, sizes, strict=True)]
            known = KnownTarget(seen, host, at["size"], (1, 1), str(values["model"]))
            bank = known.bank(self.engine, self._fingerprint, self.observer.sizes[0], self.observer.uncompared_channels)
            fill = tuple(float(v) for v in values["fill"])
            target = Target(at["centre"], at["size"], at["first_size"], fill, bank, belief)  # type: ignore[arg-type]
            for key in ("sure_centre", "sure_size", "velocity"):
                setattr(target, key, at[key])
            for key in NUMBERS:
                setattr(target, key, values[key])
            target.motion = MotionModel(**{k: np.asarray(values["motion"][k], dtype=np.float64) for k in MOTION})
            if learnt and values["model"] == self._fingerprint:  # the filter depends on the weights
                target.filter = OnlineFilter.from_arrays(learnt, self.config.online.rate, self.config.online.gap)
            target.recent_motion = 1.0  # it may have moved meanwhile: use the full window
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise SiamTrackError(
                f"The saved target {name!r} can't be read ({str(error)[:100]}); it starts as streams.yaml says."
            ) from None
        return self._put(name, target)

    def _put(self, name: str, target: Target) -> int:
        if not self.targets:
            self.camera = CameraMotion()
        number, self._next = self._next, self._next + 1
        self.targets[number], self.names[number] = target, name
        return number

    def _searching(self, targets: Sequence[Target]) -> Target | None:
        """No target while another stream has its turn: a search costs as much as several frames."""
        return super()._searching(targets) if self.may_search else None


def _arrays(target: Target) -> bytes:
    out = io.BytesIO()
    views = target.bank.views
    learnt = {} if target.filter is None else target.filter.to_arrays()
    np.savez(
        out,
        pictures=np.stack([v.picture for v in views]),
        targets=np.stack([v.target for v in views]),
        embeddings=target.bank.host,
        **{LEARNT + key: value for key, value in learnt.items()},  # type: ignore[arg-type]
    )
    return out.getvalue()
