"""Observation of targets in a frame: search windows are cut, matched in few calls of the network, decoded and scored.

Nothing here changes a target; `tracker.tracking.lifecycle` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tracker.config import TrackingConfig
from tracker.crops import Colour, Crop, SearchRegion, context_area, context_side, mean_colour
from tracker.geometry import check_box
from tracker.model.backbone_specs import SPECS
from tracker.model.checkpoint import fingerprint
from tracker.model_config import check_sizes
from tracker.runtime.base import Engine, Response
from tracker.tracking.confidence import check_weights
from tracker.tracking.filters import DeviceFilters, HostFilters
from tracker.tracking.numbers import column, module_of, numbers, values
from tracker.tracking.observation import FrameObservations, Observation, clean, combined
from tracker.tracking.projection import Projection, projection_of
from tracker.tracking.readout import Matched, read_all
from tracker.tracking.target import Target, Vector
from tracker.tracking.template_memory import TemplateBank, TemplateView
from tracker.types import Image, Timing

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel

MANY = 10
"""Number of targets from which on one upload of the frame is cheaper than one of each window."""


class Observer:
    """Observes targets that the caller stores.

    Args:
        together: Whether the maps of all targets are read together where the engine leaves them, if it can.

    Attributes:
        model, engine, config: The constructor's arguments.
        keeps_maps: Whether the maps stay on the engine's device.
        sizes: Sides of template and search crop.
        window: Side of the windows that a LOST target is searched in.
        uncompared_channels: How many of the last channels of an embedding are not compared; the last of them is the
            fraction of each cell that the target covers (padded backbones). 0: none, and all cells count.
        windows: (largest recent distance from the prediction, side) of the smaller search windows, the smallest first.
        factors: Size of each search window relative to the middle one.
        filters: The targets' online filters, evaluated and updated together.
    """

    def __init__(self, model: LoadedModel, engine: Engine, config: TrackingConfig, *, together: bool = True) -> None:
        check_sizes(model.config.model, config)
        check_weights(config)
        self.model, self.engine, self.config = model, engine, config
        self.sizes = (model.config.model.template_size, model.config.model.search_size)
        self.stride = model.stride
        backbone = model.config.model.backbone
        spec = SPECS.get(backbone)
        self.uncompared_channels = spec.uncompared_channels if spec else int(model.module.backbone.padded)
        # A window of whole cells: cell i of a padded backbone is at pixel stride * i.
        self.window = config.redetection.size or self.sizes[1] + round(self.sizes[1] / 2 / self.stride) * self.stride
        small = config.small_search
        smaller = ((small.step, small.size), (small.reach, small.middle)) if model.has_boxes else ()
        self.windows = [(step, side) for step, side in smaller if 0 < side < self.sizes[1]]
        exponents = np.zeros(1) if model.has_boxes else np.arange(config.scales) - config.scales // 2
        self.keeps_maps = together and engine.keeps_maps
        self.filters = DeviceFilters(engine.device) if self.keeps_maps else HostFilters()
        self.factors = np.asarray(float(config.scale_step) ** exponents, dtype=np.float64)

    @cached_property
    def projection(self) -> Projection | None:
        """The projection fitted to this model's embedding, or None; loaded on first use."""
        return projection_of(fingerprint(self.model))

    def observe(self, targets: Sequence[Target], frame: Image) -> FrameObservations:
        """Observes the targets in one call of the network, and again in the full window those whose score in a small
        one is low.

        Args:
            targets: At least one.
            frame: The image.
        """
        regions: dict[int, SearchRegion] = {}
        observations: dict[int, Observation] = {}
        crop = network = decode = 0.0
        numbers: Sequence[int] = range(len(targets))
        upload = cache(lambda: self.engine.upload(frame))
        for wide in (False, True):
            mine, begun = [targets[k] for k in numbers], time.perf_counter()
            cut = self._cut_regions(mine, frame, wide)
            matching = time.perf_counter()
            found = self.match_all(mine, cut, upload)
            matched = time.perf_counter()
            for k, region, observation in zip(numbers, cut, read_all(self, mine, cut, found), strict=True):
                regions[k], observations[k] = region, observation
            crop, network, decode = (
                crop + matching - begun,
                network + matched - matching,
                decode + time.perf_counter() - matched,
            )
            numbers = [k for k in numbers if self.doubts(targets[k], observations[k])]
            if not numbers:
                break
        every = range(len(targets))
        return FrameObservations(
            [regions[k] for k in every],
            [observations[k] for k in every],
            Timing(crop=crop, network=network, decode=decode),
        )

    def _cut_regions(self, targets: Sequence[Target], frame: Image, wide: bool) -> list[SearchRegion]:
        regions = self.search_regions(targets, [frame] * len(targets), wide)
        for region in [] if self._on_device(regions) else regions:
            _ = region.pictures  # cut here, so that the time is counted as cutting
        return regions

    def _on_device(self, regions: Sequence[SearchRegion]) -> bool:
        """Whether the engine cuts the windows from the whole frame, which pays for many windows."""
        return len(regions) >= MANY and self.engine.cuts_windows

    def match_all(
        self, targets: Sequence[Target], regions: Sequence[SearchRegion], upload: Callable[[], Any]
    ) -> list[Matched]:
        """One call for all targets with equal windows that are matched with their first view, one for each of the
        others.

        Args:
            targets: The targets.
            regions: Their search regions, all in one frame.
            upload: Returns the frame in the form that the engine's `match_windows` accepts.
        """
        matched, groups = list[Matched](), dict[int, list[int]]()
        for k, (target, region) in enumerate(zip(targets, regions, strict=True)):
            if self.needs_bank(target):
                matched.append(Matched([k], self.match(target, region, keep=True)))
            else:
                groups.setdefault(region.crops[0].size, []).append(k)
        for together in groups.values():
            mine = [targets[k] for k in together], [regions[k] for k in together]
            frame = upload() if self._on_device(mine[1]) else None
            matched.append(Matched(together, self.match_together(*mine, frame)))
        return matched

    def match_together(
        self, targets: Sequence[Target], regions: Sequence[SearchRegion], frame: Any | None = None
    ) -> Response:
        """Matches the first views of some targets in one call; maps stay on the device if the engine supports it.

        Args:
            targets: The targets.
            regions: Search regions with windows of one size.
            frame: The engine's upload of the image from which it cuts all windows; None: they are cut here.
        """
        views = [target.bank.first for target, region in zip(targets, regions, strict=True) for _ in region.crops]
        templates = self.engine.stack(views) if len(targets) > 1 else views[0]
        keep = self.keeps_maps and self.model.has_boxes
        if frame is not None:
            crops, fills = zip(*((crop, region.fill) for region in regions for crop in region.crops), strict=True)
            match = self.engine.match_windows_on_device if keep else self.engine.match_windows
            return clean(match(templates, frame, crops, fills))
        match_pictures = self.engine.match_on_device if keep else self.engine.match
        return clean(match_pictures(templates, [picture for region in regions for picture in region.pictures]))

    def doubts(self, target: Target, observation: Observation) -> bool:
        """Whether an observation came from a small window and has a low score."""
        clear = target.lost or target.belief.relative(observation.score) >= self.config.small_search.score
        return observation.crop.size < self.sizes[1] and not clear

    def search_region(
        self, target: Target, frame: Image, place: tuple[Vector, Vector] | None = None, wide: bool = False
    ) -> SearchRegion:
        """The search windows around the predicted position of a target.

        Args:
            target: The target.
            frame: The image.
            place: Centre and size of another position to search; in the full window.
            wide: Use the full window also for a target that hardly moves.
        """
        if place is None:
            return self.search_regions([target], [frame], wide)[0]
        return self._regions([target], [place], [self.sizes[1]], [frame])[0]

    def search_regions(
        self, targets: Sequence[Target], frames: Sequence[Image], wide: bool = False
    ) -> list[SearchRegion]:
        """The search windows of targets, each in a frame; `wide` as in `search_region`."""
        widths = [self.sizes[1] if wide else self._width(target) for target in targets]
        return self._regions(targets, [target.place for target in targets], widths, frames)

    def _regions(
        self,
        targets: Sequence[Target],
        places: Sequence[tuple[Vector, Vector]],
        widths: Sequence[int],
        frames: Sequence[Image],
    ) -> list[SearchRegion]:
        """Windows of the given side around positions, (2,) centre and size."""
        (x, y), (w, h) = numbers([centre for centre, _ in places]), numbers([size for _, size in places])
        width, cut = column(widths), []
        side = module_of(w).sqrt(context_area(w, h, self.config.context)) * width / self.sizes[0]
        for factor in self.factors.tolist():
            own = side * factor
            left, top, scale = (values(number) for number in (x - own / 2, y - own / 2, width / own))
            cut.append([Crop(*window) for window in zip(left, top, scale, widths, strict=True)])
        return [
            SearchRegion(list(crops), self.factors, place[1], frame, target.fill)
            for *crops, place, frame, target in zip(*cut, places, frames, targets, strict=True)
        ]

    def _width(self, target: Target) -> int:
        """Side of a target's first search window, by its recent motion."""
        if target.lost:
            return self.windows[0][1] if self.windows and target.waits(self.config) else self.sizes[1]
        return next((side for step, side in self.windows if target.recent_motion < step), self.sizes[1])

    def side(self, size: Vector) -> float:
        """Side of the template window around a target of that size, frame pixels."""
        return context_side(size[0], size[1], self.config.context)

    def needs_bank(self, target: Target) -> bool:
        """Whether all views of a target are matched, not the first alone."""
        return len(target.bank) > 1 and self.model.has_boxes and (target.lost or self.config.template_memory.weight > 0)

    def match(self, target: Target, region: SearchRegion, keep: bool = False) -> Response:
        """Matches a search region with the first view, or with all views of the bank in one call.

        Args:
            target: The target.
            region: The search region.
            keep: Whether the maps stay on the device, if the engine supports it.
        """
        bank, on_device = self.needs_bank(target), keep and self.model.has_boxes
        match = self.engine.match_on_device if on_device else self.engine.match
        response = clean(match(target.bank.templates if bank else target.bank.first, region.pictures))
        return combined(response, self.config.template_memory.weight, target.lost) if bank else response

    def first_view(self, frame: Image, box: ArrayLike) -> tuple[TemplateView, Vector, Vector, Colour]:
        """The template of a box, its centre and size (2,) and the mean colour around it.

        Raises:
            BoxError: The box can't be tracked.
        """
        height, width = frame.shape[:2]
        x, y, w, h = check_box(box, width, height)
        size, centre, fill = np.maximum(np.array([w, h]), 1.0), np.array([x + w / 2, y + h / 2]), mean_colour(frame)
        return self.view(frame, centre, size, fill, 0), centre, size, fill

    def bank(self, views: list[TemplateView]) -> TemplateBank:
        """A bank of embedded views of one target."""
        return TemplateBank.of(self.engine, views, uncompared_channels=self.uncompared_channels)

    def view(self, frame: Image, centre: Vector, size: Vector, fill: Colour, age: int) -> TemplateView:
        """A template crop: the image around a position of a frame, at template size."""
        crop = Crop.around(centre, self.side(size), self.sizes[0])
        return TemplateView(crop.cut(frame, fill), (size * crop.scale).astype(np.float32), age)
