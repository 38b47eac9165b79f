"""The tracker of one target: init with a box, update with each frame."""

from __future__ import annotations

import numbers
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.config import TrackingConfig
from tracker.crops import SearchRegion
from tracker.errors import SiamTrackError, misfit, reading, shown
from tracker.media.images import to_bgr8
from tracker.model.checkpoint import fingerprint, load_model, shipped_models
from tracker.runtime.base import Engine
from tracker.runtime.select import build_engine
from tracker.tracking.embedding import embed_views, view_of
from tracker.tracking.individual import describe
from tracker.tracking.lifecycle import Lifecycle
from tracker.tracking.looks import Looks, evenly
from tracker.tracking.motion import CameraMotion
from tracker.tracking.observation import Observation
from tracker.tracking.observer import Observer
from tracker.tracking.target import Target
from tracker.tracking.template_memory import KnownTarget, TargetHeader, load_target, save_target
from tracker.types import Image, Timing, Track

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel


@dataclass(frozen=True)
class NetworkViews:
    """Inputs and output of the network: template and search crop (BGR uint8) and the response (H, W) float32 in [0,
    1]."""

    template: Image
    search: Image
    response: NDArray[np.float32]


class SiamTracker:
    """Tracks one target: `init(image, box)`, then `update(image)` for each frame.

    Attributes:
        name: The model's name.
        engine: The engine that runs the network (`tracker.runtime`).
        config: The tracking settings.
        views: The network's last inputs and output, or None before `init`.
        observation: The last observation (features of the score), or None.
        target: The state of the target, or None before `init`.
        camera: The camera's motion.
    """

    def __init__(self, model: LoadedModel, engine: Engine, config: TrackingConfig | None = None) -> None:
        self.name = model.name
        self.model = model
        self.engine = engine
        self.config = config or model.config.tracking
        # Reading one target's maps costs less on the host than the many small calls on a device.
        self.observer = Observer(model, engine, self.config, together=False)
        self.lifecycle = Lifecycle(self.observer)
        self.views: NetworkViews | None = None
        self.observation: Observation | None = None
        self.target: Target | None = None
        self.camera = CameraMotion()
        self._index = 0

    @classmethod
    def from_pretrained(
        cls,
        name_or_file: str | Path = "siamtrack-s",
        device: str = "auto",
        *,
        engine: str = "auto",
        config: str | Path | None = None,
        overrides: Sequence[str] = (),
    ) -> SiamTracker:
        """A tracker from shipped weights or from a file.

        Args:
            name_or_file: A shipped model's name, or the path of a .safetensors checkpoint.
            device: auto (CUDA if available; the choice is logged), cpu, cuda or cuda:N.
            engine: auto (the fastest installed one; the choice is logged), torch, onnxruntime, ...
            config: A yaml file that changes tracking settings.
            overrides: Such as ["tracking.window_influence=0.2"].

        Raises:
            WeightsError, ConfigError, DeviceError: With the value, the reason and the next step.
        """
        model = load_model(name_or_file, config=config, overrides=overrides)
        tracker = cls(model, build_engine(model, device=device, engine=engine))
        if config is not None or overrides or str(name_or_file) not in shipped_models():
            tracker.try_out()
        return tracker

    def for_many(self) -> Lifecycle:
        """The lifecycle for many targets: the tracker's own, or one that leaves all maps on the engine's device."""
        return Lifecycle(Observer(self.model, self.engine, self.config)) if self.engine.keeps_maps else self.lifecycle

    def try_out(self) -> None:
        """Runs the network once on black images, to check that arrays, sizes and settings match.

        Raises:
            WeightsError: They don't.
        """
        template, search = self.observer.sizes
        with reading(lambda why: misfit(self.model.path, why)):
            targets = np.full((1, 2), template / 2, np.float32)
            embedded = self.engine.embed_template([np.zeros((template, template, 3), np.uint8)], targets)
            self.engine.match(embedded, [np.zeros((search, search, 3), np.uint8)])

    @property
    def device(self) -> str:
        return self.engine.device

    def init(self, image: ArrayLike, box: ArrayLike) -> None:
        """Embeds the target's template from the first frame.

        Args:
            image: H x W x 3 BGR uint8; gray, BGRA and 16-bit are converted.
            box: x, y, w, h in pixels.

        Raises:
            ImageError, BoxError: With the value, the reason and the next step.
        """
        frame = to_bgr8(image)
        self.target = self.lifecycle.start(frame, box)
        self.target.looks = Looks(list(self.target.bank.views))
        self.camera = CameraMotion()
        self.lifecycle.predict([], frame, self.camera)
        self._frame_size = (frame.shape[1], frame.shape[0])
        self._index = 0
        self._show_template()

    def find(
        self, image: ArrayLike, known: KnownTarget | str | Path, *, index: int = 0, timestamp: float | None = None
    ) -> Track:
        """Starts with a known target instead of a box, and searches for it from this frame on.

        Args:
            image: As in `init`.
            known: From `tracker.tracking.template_memory.load_target`, or the file itself.
            index, timestamp: As in `update`.

        Returns:
            The track of this frame: LOST until the target was found.

        Raises:
            ImageError, SourceError: The image or the file can't be read.
        """
        frame = to_bgr8(image)
        known = known if isinstance(known, KnownTarget) else load_target(known)
        self.target, self.camera = self.lifecycle.expect(frame, known, fingerprint(self.model)), CameraMotion()
        self.target.looks = Looks()
        self._show_template()
        return self.update(frame, index=index, timestamp=timestamp)

    def save_target(self, path: str | Path) -> None:
        """Writes the target's views, so that `find` can search for it in another video.

        Raises:
            SiamTrackError: There is no target.
        """
        if self.target is None:
            raise SiamTrackError("There is no target to save; give the first frame and its box to init(image, box).")
        projection, size = self.observer.projection, self.target.sure_size
        header = TargetHeader(self._frame_size, fingerprint(self.model), projection.mark if projection else "")
        save_target(path, self.target.bank, size, header, self._descriptors())

    def _descriptors(self) -> NDArray[np.float32] | None:
        """Descriptors of the target (`tracker.tracking.individual`) from earlier footage and from this; None if the
        model has no projection."""
        target = self.target
        if target is None or self.observer.projection is None:
            return None
        known = [] if target.individual is None else [target.individual.descriptors]
        views = target.looks.views if target.looks is not None else []
        fresh = [describe(self.observer, views)] if views else []
        return evenly(np.concatenate(known + fresh)) if known or fresh else None

    def update(self, image: ArrayLike, *, index: int | None = None, timestamp: float | None = None) -> Track:
        """Tracks the target in the next frame.

        Args:
            image: As in `init`; its size may differ from the first frame's.
            index: Frame index for the Track; None: one more than before (`init` was frame 0).
            timestamp: Seconds, copied to the track.

        Raises:
            SiamTrackError: `init` was not called.
            ImageError: The image can't be read.
        """
        if self.target is None:
            raise SiamTrackError(
                "update() was called before init(); give the first frame and its box to init(image, box)."
            )
        target = self.target
        frame = to_bgr8(image)
        index = self._index = next_index(self._index, index, timestamp)
        self._frame_size = (frame.shape[1], frame.shape[0])
        begun = time.perf_counter()
        if self.lifecycle.carry(target, frame):
            self.camera.pass_over()
            return carried_track(target, Timing(decode=time.perf_counter() - begun), index, timestamp)
        self.lifecycle.predict([target], frame, self.camera)
        observed = self.observer.observe([target], frame)
        near, begun = observed.observations[0], time.perf_counter()
        (observation,) = self.lifecycle.settle([target], [near], frame, target)
        self.lifecycle.mark(target, observation, frame)
        self.lifecycle.finish()
        self.observation = near
        self.views = network_views(target, observed.regions[0], near)
        timing = observed.timing.and_decode(time.perf_counter() - begun)
        return track_of(target, observation, near, timing, index, timestamp)

    def embed(self, image: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float32]:
        """The embedding of an object, for comparison with others by cosine.

        Args:
            image: As in `init`.
            box: x, y, w, h of the object; None: it fills the image.

        Returns:
            (D,) float32 of unit length; D depends on the model. The tracked target is not affected.

        Raises:
            ImageError, BoxError: With the value, the reason and the next step.
        """
        return np.asarray(embed_views(self.observer, [view_of(self.observer, to_bgr8(image), box)])[0], np.float32)

    def reset(self) -> None:
        """Drops the target; `init` starts again."""
        self.target = None
        self.views = None
        self.observation = None

    def _show_template(self) -> None:
        assert self.target is not None
        picture = self.target.bank.views[0].picture
        self.views, self.observation = NetworkViews(picture, picture, np.zeros((1, 1), np.float32)), None


def next_index(before: int, index: int | None, timestamp: float | None) -> int:
    """The index of a frame: the given one, or one more than before.

    Raises:
        SiamTrackError: An invalid index or time stamp.
    """
    if timestamp is not None and (isinstance(timestamp, bool) or not isinstance(timestamp, numbers.Real)):
        raise SiamTrackError(f"The time stamp {shown(timestamp)} is no number of seconds; give one, or None.")
    if index is None:
        return before + 1
    if isinstance(index, bool) or not isinstance(index, numbers.Integral):
        raise SiamTrackError(
            f"The frame index {shown(index)} is no whole number; leave it out and the frames are counted."
        )
    return int(index)


def network_views(target: Target, region: SearchRegion, observation: Observation) -> NetworkViews:
    """The views of an observation for display."""
    return NetworkViews(target.bank.views[0].picture, region.pictures[region.middle], observation.found.response)


def track_of(
    target: Target,
    observation: Observation,
    near: Observation,
    timing: Timing,
    index: int,
    timestamp: float | None,
    target_id: int = 0,
) -> Track:
    """The track of a target: its box, the score of the deciding observation, the observed response."""
    return Track(
        box=target.box,
        score=min(max(observation.score, 0.0), 1.0),
        state=target.belief.state,
        index=index,
        timestamp=timestamp,
        target_id=target_id,
        response=near.found.response,
        timing=timing,
    )


def carried_track(target: Target, timing: Timing, index: int, timestamp: float | None, target_id: int = 0) -> Track:
    """The track of a target that points moved: its box, and the score of the last observation."""
    score = min(max(target.skip.score, 0.0), 1.0)
    return Track(target.box, score, target.belief.state, index, timestamp, target_id, None, timing, skipped=True)
