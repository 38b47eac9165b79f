"""The tracker of one target: init with a box, update with each frame."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.config import TrackingConfig
from tracker.crops import Colour, Crop, context_side, mean_colour
from tracker.errors import SiamTrackError
from tracker.geometry import check_box, cxcywh_to_xywh
from tracker.media.images import to_bgr8
from tracker.runtime.base import Engine
from tracker.tracking.decode import Decoded, decode_boxes, decode_scales
from tracker.types import Box, Image, Timing, Track, TrackState

if TYPE_CHECKING:
    from tracker.model.zoo import LoadedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Views:
    """What the network saw: template and search crop (BGR uint8) and the response (H, W) float32 in [0, 1]."""

    template: Image
    search: Image
    response: NDArray[np.float32]


@dataclass
class _Target:
    """What is remembered of the target between frames. centre: (2,) x, y; size: (2,) w, h; frame pixels."""

    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    first_size: NDArray[np.float64]
    fill: Colour
    template: Any
    template_crop: Image


class SiamTracker:
    """Follows one target: `init(image, box)`, then `update(image)` for each frame.

    Attributes:
        name: The model's name.
        engine: The compute behind it (`tracker.runtime`).
        config: The constants of the video loop.
        views: What the network saw last, or None before `init`.
    """

    def __init__(self, model: LoadedModel, engine: Engine, config: TrackingConfig | None = None) -> None:
        self.name = model.name
        self.model = model
        self.engine = engine
        self.config = config or model.config.tracking
        self.views: Views | None = None
        self._target: _Target | None = None
        self._sizes = (model.config.model.template_size, model.config.model.search_size)
        self._stride = model.stride

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
            device: auto (CUDA when there is one, and says so), cpu, cuda or cuda:N.
            engine: auto (the fastest that is installed, and says which), torch, onnxruntime, ...
            config: A yaml file that changes tracking constants.
            overrides: Such as ["tracking.window_influence=0.2"].

        Raises:
            WeightsError, ConfigError, DeviceError: With the value, the reason and the next step.
        """
        from tracker.model.zoo import load_model
        from tracker.runtime import build_engine

        model = load_model(name_or_file, config=config, overrides=overrides)
        return cls(model, build_engine(model, device=device, engine=engine))

    @property
    def device(self) -> str:
        return self.engine.device

    def init(self, image: ArrayLike, box: ArrayLike) -> None:
        """Takes the target's template from the first frame.

        Args:
            image: H x W x 3 BGR uint8; gray, BGRA and 16-bit are converted.
            box: x, y, w, h in pixels.

        Raises:
            ImageError, BoxError: With the value, the reason and the next step.
        """
        frame = to_bgr8(image)
        height, width = frame.shape[:2]
        x, y, w, h = check_box(box, width, height)
        size = np.maximum(np.array([w, h]), 1.0)
        centre = np.array([x + w / 2, y + h / 2])
        fill = mean_colour(frame)
        side = context_side(*size, context=self.config.context)
        crop = Crop.around(centre, side, self._sizes[0])
        picture = crop.cut(frame, fill)
        template = self.engine.embed_template([picture], (size * crop.scale).astype(np.float32)[None])
        self._target = _Target(centre, size, size.copy(), fill, template, picture)
        self.views = Views(picture, picture, np.zeros((1, 1), np.float32))

    def update(self, image: ArrayLike, *, index: int = 0, timestamp: float | None = None) -> Track:
        """Finds the target in the next frame.

        Args:
            image: As in `init`; another size than the first frame's is fine.
            index: Frame index, passed on to the Track.
            timestamp: Seconds, passed on.

        Raises:
            SiamTrackError: `init` was not called.
            ImageError: The image can't be read.
        """
        if self._target is None:
            raise SiamTrackError("update() was called before init(); give the first frame and its box to init(image, box).")
        target = self._target
        frame = to_bgr8(image)
        start = time.perf_counter()
        side = context_side(*target.size, context=self.config.context) * self._sizes[1] / self._sizes[0]
        factors = self._factors()
        crops = [Crop.around(target.centre, side * f, self._sizes[1]) for f in factors]
        pictures = [crop.cut(frame, target.fill) for crop in crops]
        cut = time.perf_counter()
        response = self.engine.match(target.template, pictures)
        matched = time.perf_counter()
        middle = crops[len(crops) // 2]
        if response.boxes is None:
            found = decode_scales(response.score, factors, self._stride, self.config)
        else:
            size = target.size * middle.scale
            found = decode_boxes(response.score[0], response.boxes[0], (size[0], size[1]), self._sizes[1], self.config)
        self._move(target, found, middle, frame.shape[1], frame.shape[0])
        self.views = Views(target.template_crop, pictures[len(crops) // 2], found.response)
        done = time.perf_counter()
        return Track(
            box=self._box(target),
            score=found.score,
            state=TrackState.TRACKING,
            index=index,
            timestamp=timestamp,
            response=found.response,
            timing=Timing(crop=cut - start, network=matched - cut, decode=done - matched),
        )

    def reset(self) -> None:
        """Forgets the target; `init` starts anew."""
        self._target = None
        self.views = None

    def _factors(self) -> NDArray[np.float64]:
        if self.model.has_boxes:
            return np.ones(1)
        exponents = np.arange(self.config.scales) - self.config.scales // 2
        return np.asarray(self.config.scale_step**exponents, dtype=np.float64)

    def _move(self, target: _Target, found: Decoded, crop: Crop, width: int, height: int) -> None:
        """Moves and resizes the target, and keeps it finite, in the frame and near its first size."""
        target.centre = target.centre + np.array([found.dx, found.dy]) / crop.scale
        if found.width is None or found.height is None:
            wanted, rate = target.size * found.scale, self.config.size_lr
        else:
            wanted = np.array([found.width, found.height]) / crop.scale
            rate = self.config.size_lr * found.weight
        size = (1 - rate) * target.size + rate * wanted
        frame = np.array([width, height], dtype=np.float64)
        # The area follows at most max_growth times in side; then the frame; then the smallest box.
        area = float(np.sqrt(np.prod(size)))
        first = float(np.sqrt(np.prod(target.first_size)))
        size = size * np.clip(area, first / self.config.max_growth, first * self.config.max_growth) / area
        target.size = np.clip(size, self.config.min_size, np.maximum(frame, self.config.min_size))
        target.centre = np.clip(target.centre, 0, frame)

    @staticmethod
    def _box(target: _Target) -> Box:
        return cxcywh_to_xywh(np.concatenate([target.centre, target.size]))
