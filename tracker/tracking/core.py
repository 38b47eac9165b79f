"""One frame, step by step: look, match, read, settle. What the tracker of one target and that of several share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.config import TrackingConfig
from tracker.crops import Crop, SearchRegion, context_side, mean_colour
from tracker.geometry import check_box
from tracker.model.backbone_specs import SPECS
from tracker.model_config import check_sizes
from tracker.runtime.base import Engine, Response
from tracker.tracking.confidence import check_weights, confidence_features, probability
from tracker.tracking.decode import Decoded, Weighed, decode_scales, weigh_boxes
from tracker.tracking.identity import in_question, is_distractor
from tracker.tracking.motion import CameraMotion
from tracker.tracking.observation import Observation, clean
from tracker.tracking.online_filter import OnlineFilter, first_windows
from tracker.tracking.redetection import redetect_lost
from tracker.tracking.redetection_search import Redetection
from tracker.tracking.state_machine import Belief, missing, next_belief
from tracker.tracking.target import Target, Vector
from tracker.tracking.template_memory import KnownTarget, TemplateBank, TemplateView
from tracker.types import Image, TrackState

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel


class Core:
    """The steps of a frame, for targets that the caller keeps.

    Attributes:
        model, engine, config: What they are made with.
        sizes: Sides of template and search crop.
        window: Side of the windows that a LOST target is searched in.
        uncompared_channels: How many of the last channels of an embedding are not compared; the last of them is the
            target's share of each cell (padded backbones). 0: none, and all cells count.
        active: Whether states and what follows from them are in use: they need a calibrated score.
        steady: Whether a target that hardly moves is looked for in a smaller window.
        factors: Size of each search window against the middle one.
    """

    def __init__(self, model: LoadedModel, engine: Engine, config: TrackingConfig) -> None:
        check_sizes(model.config.model, config)
        check_weights(config)
        self.model, self.engine, self.config = model, engine, config
        self.sizes = (model.config.model.template_size, model.config.model.search_size)
        self.stride = model.stride
        backbone = model.config.model.backbone
        spec = SPECS.get(backbone)
        self.uncompared_channels = spec.uncompared_channels if spec else int(model.module.backbone.padded)
        # A window of whole cells: cell i of a padded backbone stands at pixel stride * i.
        self.window = config.redetection.size or self.sizes[1] + round(self.sizes[1] / 2 / self.stride) * self.stride
        self.active = bool(config.calibration.confidence) and config.states.enabled
        self.steady = model.has_boxes and 0 < config.small_search.size < self.sizes[1]
        exponents = np.zeros(1) if model.has_boxes else np.arange(config.scales) - config.scales // 2
        self.factors = float(config.scale_step) ** exponents

    def start(self, frame: Image, box: ArrayLike) -> Target:
        """A target from its box in the first frame.

        Raises:
            BoxError: The box can't be tracked.
        """
        height, width = frame.shape[:2]
        x, y, w, h = check_box(box, width, height)
        size, centre = np.maximum(np.array([w, h]), 1.0), np.array([x + w / 2, y + h / 2])
        fill = mean_colour(frame)
        view = self.view(frame, centre, size, fill, 0)
        bank = TemplateBank.of(self.engine, [view], uncompared_channels=self.uncompared_channels)
        target = Target(centre, size, size.copy(), fill, bank)
        self.fit_online_filter(target, frame)
        return target

    def fit_online_filter(self, target: Target, frame: Image) -> None:
        """Fits the online filter of a target to the frame that it was just given or found in."""
        if not (self.config.online.weight and self.model.has_boxes):
            return
        side, width = self.side(target.size) * self.sizes[1] / self.sizes[0], self.sizes[1]
        windows = first_windows(target.centre, side, width, self.config.online.turn)
        pictures = [crop.cut_turned(frame, target.fill, turn) for crop, turn in windows]
        response = clean(self.engine.match(target.bank.first, pictures))
        if response.embedding is None:
            return
        cells = [self._cells(target, crop, response.embedding.shape[2:]) for crop, _ in windows]
        places, extents = [place for place, _ in cells], cells[0][1]
        config = self.config
        target.filter = OnlineFilter(
            response.embedding, places, extents, config.online.channels, config.online.rate, config.online.gap
        )

    def learn(self, target: Target, observation: Observation, frame: Image) -> None:
        """Takes a frame in which the target was surely seen into its online filter, and now and then into its bank."""
        if observation.embedding is not None:
            if target.filter is None:  # a known target, found in this video
                self.fit_online_filter(target, frame)
            else:
                place, extents = self._cells(target, observation.crop, observation.embedding.shape[1:])
                target.filter.learn(observation.embedding, place, extents, observation.found.response)
        if self._wants_view(target, observation):
            target.bank.add_if_new(
                self.engine, self.view(frame, target.centre, target.size, target.fill, target.age), self.config
            )

    def _wants_view(self, target: Target, observation: Observation) -> bool:
        settled = self.active and target.age - target.found_at >= self.config.template_memory.gap
        return settled and target.bank.wants(target.age, observation.score, self.config)

    def _cells(self, target: Target, crop: Crop, shape: tuple[int, ...]) -> tuple[Vector, Vector]:
        """(2,) row and column of the target's centre in the response to a window, (2,) rows and columns that it
        covers."""
        away = (target.centre - (crop.left, crop.top)) * crop.scale - crop.size / 2
        place = away[::-1] / self.stride + (np.asarray(shape) - 1) / 2
        return place, target.size[::-1] * crop.scale / self.stride

    def expect(self, frame: Image, known: KnownTarget, fingerprint: str) -> Target:
        """A known target that is still to be found in this video: LOST, in the middle of the frame."""
        extent = np.array([frame.shape[1], frame.shape[0]], dtype=np.float64)
        bank = known.bank(self.engine, fingerprint, self.sizes[0], self.uncompared_channels)
        # Its size as a share of the frame is the best guess in a video of another resolution.
        size = np.clip(known.size * extent[1] / max(known.frame[1], 1), self.config.min_size, extent)
        return Target(extent / 2, size, size.copy(), mean_colour(frame), bank, missing(), redetection=Redetection())

    def predict(self, targets: Sequence[Target], frame: Image, camera: CameraMotion) -> None:
        """Expects each target where the camera's motion and its own take it (`tracker.tracking.motion`).

        Args:
            targets: Changed in place.
            frame: The picture.
            camera: What is kept of the frame before; sees every frame.
        """
        shift = camera.update(frame, any(t.restless for t in targets)) if self.config.motion.enabled else None
        for target in targets if self.config.motion.enabled else ():  # each gets what a run of its own gives
            target.predict(shift if target.restless else None, (frame.shape[1], frame.shape[0]))

    def doubts(self, target: Target, observation: Observation) -> bool:
        """Whether an observation came from a small window and isn't clear."""
        clear = target.lost or target.belief.relative(observation.score) >= self.config.small_search.score
        return observation.crop.size < self.sizes[1] and not clear

    def search_region(
        self, target: Target, frame: Image, place: tuple[Vector, Vector] | None = None, wide: bool = False
    ) -> SearchRegion:
        """Cuts the search windows around where the target is expected.

        Args:
            target: What is looked for.
            frame: The picture.
            place: Centre and size to look at instead of the expected ones; in the full window.
            wide: The full window also for a target that hardly moves.
        """
        centre, size = place or target.place
        calm = target.waits(self.config) if target.lost else target.recent_motion < self.config.small_search.step
        steady = self.steady and calm and not (wide or place)
        width = self.config.small_search.size if steady else self.sizes[1]
        side = self.side(size) * width / self.sizes[0]
        factors = self.factors
        crops = [Crop.around(centre, side * f, width) for f in factors]
        return SearchRegion(crops, factors, size, frame, target.fill)

    def side(self, size: Vector) -> float:
        """Side of the template window around a target of that size, frame pixels."""
        return context_side(float(size[0]), float(size[1]), self.config.context)

    def needs_bank(self, target: Target) -> bool:
        """Whether all views of a target are matched, not the first alone."""
        return len(target.bank) > 1 and self.model.has_boxes and (target.lost or self.config.template_memory.weight > 0)

    def match(self, target: Target, region: SearchRegion) -> Response:
        """Matches a look with the first view, or with all views of the bank in one call."""
        if not self.needs_bank(target):
            return clean(self.engine.match(target.bank.first, region.pictures))
        response = clean(self.engine.match(target.bank.templates, region.pictures))
        return self.combine(response, lost=target.lost)

    def combine(self, response: Response, lost: bool) -> Response:
        """The responses of K views to one search -> one.

        The first view dominates; a LOST target may look like any of them.
        """
        first, later = response.score[:1], response.score[1:].max(axis=0, keepdims=True)
        w = self.config.template_memory.weight
        score = np.maximum(first, later) if lost else (1 - w) * first + w * later
        one = response[:1]
        return Response(score, one.boxes, one.embedding)

    def read(self, target: Target, region: SearchRegion, response: Response) -> Observation:
        """The best place in the maps, and how sure it is."""
        crop, weighed, embedding = region.crops[region.middle], None, None
        size = region.size * crop.scale
        if response.boxes is None:
            place = decode_scales(response.score, region.factors, self.stride, self.config)
        else:
            embedding = None if response.embedding is None else response.embedding[0]
            online = None if target.filter is None or embedding is None else target.filter.respond(embedding)
            cells = (self.sizes[1] - 1) // self.stride + 1
            weighed = weigh_boxes(
                response.score[0], response.boxes[0], (float(size[0]), float(size[1])), self.config, online, cells
            )
            row, column = divmod(int(np.argmax(weighed.mixed)), weighed.mixed.shape[1])
            place = weighed.at((row, column), crop.size)
        return self.judge(target, place, crop, weighed, region.size, embedding)

    def judge(
        self,
        target: Target,
        place: Decoded,
        crop: Crop,
        weighed: Weighed | None,
        size: Vector,
        embedding: NDArray[np.float32] | None = None,
    ) -> Observation:
        """An observation of a decoded place: its features and score."""
        w, h = (size * crop.scale).tolist()
        values = confidence_features(place, (w, h), self.stride, crop.size, target.reference_logit, target.online_peak)
        plain = self.config.calibration.confidence_plain or self.config.calibration.confidence
        weights = plain if place.online is None else self.config.calibration.confidence
        score = float(probability(values, weights)) if weights else place.score
        return Observation(place, crop, values, score, weighed, size, embedding)

    def settle(
        self,
        target: Target,
        observation: Observation,
        frame: Image,
        search: bool = True,
        copy: Callable[[], Image] | None = None,
    ) -> Observation:
        """Moves the target by what was read, changes its state, and searches for it when it is LOST.

        Args:
            target: Changed in place.
            observation: Of this frame.
            frame: The picture.
            search: Whether windows beyond the last place may be searched now.
            copy: Gives a copy of the picture that may be kept; several targets share one. None: a new one.

        Returns:
            The observation that the track's score comes from.
        """
        extent = (frame.shape[1], frame.shape[0])
        target.age += 1
        if target.lost:
            return redetect_lost(self, target, observation, frame, search)
        if self.active:
            standing = (
                observation.found.score if target.drop(observation.logit) <= self.config.states.lost_drop else 0.0
            )
            before = target.belief
            target.belief = next_belief(before, observation.score, self.config, standing)
            if in_question(self, target, before, observation) and is_distractor(
                self, target, observation, frame, strict=False
            ):
                target.belief = replace(target.belief, state=TrackState.LOST, level=before.level)
                target.lose()
                return replace(observation, score=0.0)
            if target.lost:
                target.lose(observation.place[0])
                target.follow(observation.found, observation.crop, self.config, extent)
                return observation
        target.follow(observation.found, observation.crop, self.config, extent)
        sure = self.active and target.belief.state is TrackState.TRACKING
        if sure:
            target.update_reference_logit(observation.logit, self.config.states.peak_fall, observation.online)
            target.keep(copy or frame.copy, self.config)
        if sure or (not self.active and observation.score >= self.config.states.sure_score):
            self.learn(target, observation, frame)
        return observation

    def hide(self, target: Target, observation: Observation, frame: Image) -> Observation:
        """A target behind another one: it drifts on, UNCERTAIN, and is LOST if that lasts."""
        target.age += 1
        doubt = min(observation.score, max(self.config.states.uncertain_score - 0.01, self.config.states.lost_score))
        target.belief = next_belief(target.belief, doubt, self.config) if self.active else Belief()
        if target.lost:
            target.lose()
            target.fit(self.config, (frame.shape[1], frame.shape[0]))
        else:
            target.drift(self.config, (frame.shape[1], frame.shape[0]))
        return replace(observation, score=doubt)

    def likeness(self, target: Target, observation: Observation, frame: Image) -> float:
        """Cosine between what was found, cut and embedded as a template, and the most similar view."""
        view = self.view(frame, *observation.place, target.fill, target.age)
        return target.bank.likeness(self.engine.to_host(self.engine.embed_template([view.picture], view.target[None])))

    def view(self, frame: Image, centre: Vector, size: Vector, fill: Any, age: int) -> TemplateView:
        crop = Crop.around(centre, self.side(size), self.sizes[0])
        return TemplateView(crop.cut(frame, fill), (size * crop.scale).astype(np.float32), age)
