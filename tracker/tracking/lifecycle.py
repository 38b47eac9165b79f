"""The life of a target: its start, its prediction, the effect of a frame on its state, online learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from tracker.crops import mean_colour
from tracker.tracking import moves
from tracker.tracking.distractors import StoredView
from tracker.tracking.filters import cells_of
from tracker.tracking.identity import switched
from tracker.tracking.individual import individual_of
from tracker.tracking.known_search import find_known
from tracker.tracking.motion import CameraMotion
from tracker.tracking.new_views import add_new_views
from tracker.tracking.observation import Observation, clean
from tracker.tracking.observer import Observer
from tracker.tracking.online_filter import OnlineFilter, first_windows
from tracker.tracking.redetection import redetect_lost
from tracker.tracking.redetection_search import Redetection
from tracker.tracking.scene import Scene
from tracker.tracking.skip import carry, looked
from tracker.tracking.state_machine import Belief, missing, next_belief
from tracker.tracking.target import Target
from tracker.tracking.template_memory import KnownTarget, TemplateView
from tracker.types import Image, TrackState


class Lifecycle:
    """The steps of a frame that change targets; the caller stores the targets.

    Attributes:
        observer: Cuts, matches and reads.
        config: Its configuration.
        active: Whether states and re-detection are in use: they require a calibrated score.
        skips: Whether frames may be skipped for a target: that requires states.
    """

    def __init__(self, observer: Observer) -> None:
        self.observer, self.config = observer, observer.config
        self.active = bool(self.config.calibration.confidence) and self.config.states.enabled
        self._views: list[tuple[Target, TemplateView]] = []
        self._due: list[tuple[Target, Observation]] = []
        self.skips = self.active and self.config.skip.mode == "auto"

    def start(self, frame: Image, box: ArrayLike) -> Target:
        """A target from its box in the first frame.

        Raises:
            BoxError: The box can't be tracked.
        """
        view, centre, size, fill = self.observer.first_view(frame, box)
        target = Target(centre, size, size.copy(), fill, self.observer.bank([view]))
        self.fit_online_filter(target, frame)
        return target

    def expect(self, frame: Image, known: KnownTarget, fingerprint: str) -> Target:
        """A known target that is still to be found in this video: LOST, at the middle of the frame."""
        extent = np.array([frame.shape[1], frame.shape[0]], dtype=np.float64)
        bank = known.bank(self.observer.engine, fingerprint, self.observer.sizes[0], self.observer.uncompared_channels)
        # Its size relative to the frame is the best guess in a video of another resolution.
        size = np.clip(known.size * extent[1] / max(known.frame[1], 1), self.config.min_size, extent)
        target = Target(
            extent / 2, size, size.copy(), mean_colour(frame), bank, missing(), redetection=Redetection(unseen=True)
        )
        target.individual = individual_of(self.observer, known, fingerprint)
        return target

    def predict(self, targets: Sequence[Target], frame: Image, camera: CameraMotion) -> None:
        """Predicts each target's position from the camera's motion and its own (`tracker.tracking.motion`).

        Args:
            targets: Changed in place.
            frame: The image.
            camera: The camera's motion; gets every frame.
        """
        if not self.config.motion.enabled:
            return
        shift = camera.update(frame, any(t.restless for t in targets), any(t.watchful for t in targets))
        moves.predict(targets, shift, (frame.shape[1], frame.shape[0]))
        for target in targets:
            target.watched = target.watchful

    def carry(self, target: Target, frame: Image) -> bool:
        """Whether points moved the target in this frame (`tracker.tracking.skip`); if not, the network has to run."""
        return self.skips and carry(target, Scene(self.observer, frame), self.config)

    def mark(self, target: Target, observation: Observation, frame: Image) -> None:
        """Makes the frame a key frame for point tracking, if the next ones may be skipped."""
        if self.skips:
            looked(target, observation.score, Scene(self.observer, frame), self.config)

    def settle(
        self,
        targets: Sequence[Target],
        observations: Sequence[Observation],
        frame: Image,
        searching: Target | None = None,
        copy: Callable[[], Image] | None = None,
    ) -> list[Observation]:
        """Moves targets to what was observed, changes their states, and searches for those that are LOST.

        Args:
            targets: Changed in place.
            observations: Of this frame.
            frame: The image.
            searching: The targets for which windows beyond the last position may be searched now.
            copy: Returns a copy of the image that may be stored, shared by several targets. None: a new one.

        Returns:
            The observations that the tracks' scores come from.
        """
        extent = (frame.shape[1], frame.shape[0])
        settled = [
            self._judge(target, observation, frame, target is searching)
            for target, observation in zip(targets, observations, strict=True)
        ]
        followed = [k for k, one in enumerate(settled) if one is None]
        if followed:
            mine = [(targets[k], observations[k]) for k in followed]
            moves.follow([one for one, _ in mine], [one for _, one in mine], self.config, extent)
            for target, observation in mine:
                self._take_in(target, observation, frame, copy or frame.copy)
        return [seen if one is None else one for one, seen in zip(settled, observations, strict=True)]

    def _judge(self, target: Target, observation: Observation, frame: Image, search: bool) -> Observation | None:
        """Updates the state of a target; None if it moves to the observation, otherwise the observation that
        decides."""
        target.age += 1
        if target.lost:
            if target.individual is not None and target.redetection and target.redetection.unseen:
                return find_known(Scene(self.observer, frame), target, observation, search)
            return redetect_lost(Scene(self.observer, frame), target, observation, search)
        if self.active:
            standing = (
                observation.found.score if target.drop(observation.logit) <= self.config.states.lost_drop else 0.0
            )
            before = target.belief
            target.belief = next_belief(before, observation.score, self.config, standing)
            if switched(Scene(self.observer, frame), target, before, observation):
                target.belief = replace(target.belief, state=TrackState.LOST, level=before.level)
                target.lose()
                return replace(observation, score=0.0)
            if target.lost:
                target.lose(observation.place[0])
        return None

    def _take_in(self, target: Target, observation: Observation, frame: Image, copy: Callable[[], Image]) -> None:
        """Learns from a frame in which a target was tracked reliably."""
        sure = self.active and target.belief.state is TrackState.TRACKING
        target.last = None
        if sure and observation.picture is not None:
            place = target.centre, target.size
            target.last = StoredView(observation.picture, *place, target.age, window=observation.crop)
        if sure:
            target.update_reference_logit(observation.logit, self.config.states.peak_fall, observation.online)
            target.keep(copy, self.config)
        if sure or (not self.active and observation.score >= self.config.states.sure_score):
            self.learn(target, observation, frame)

    def hide(self, target: Target, observation: Observation, frame: Image) -> Observation:
        """Handles an occluded target: it moves on with its velocity, UNCERTAIN, and becomes LOST if that lasts."""
        target.age += 1
        target.skip.key = None
        doubt = min(observation.score, max(self.config.states.uncertain_score - 0.01, self.config.states.lost_score))
        target.belief = next_belief(target.belief, doubt, self.config) if self.active else Belief()
        if target.lost:
            target.lose()
            target.fit(self.config, (frame.shape[1], frame.shape[0]))
        else:
            target.drift(self.config, (frame.shape[1], frame.shape[0]))
        return replace(observation, score=doubt)

    def learn(self, target: Target, observation: Observation, frame: Image) -> None:
        """Updates the online filter with a reliable frame, and from time to time the template bank."""
        looks = target.looks
        if looks is not None and observation.score >= self.config.states.sure_score and looks.wants(target.age):
            looks.add(self.observer.view(frame, target.centre, target.size, target.fill, target.age))
        if observation.maps is not None and observation.maps.embedding is not None:
            if target.filter is None:  # a known target, found in this video
                self.fit_online_filter(target, frame)
            elif target.filter.due():
                self._due.append((target, observation))
                if not self.observer.keeps_maps:
                    self._teach()
        settled = self.active and target.age - target.found_at >= self.config.template_memory.gap
        if settled and target.bank.wants(target.age, observation.score, self.config):
            view = self.observer.view(frame, target.centre, target.size, target.fill, target.age)
            if self.observer.keeps_maps:
                self._views.append((target, view))
            else:
                target.bank.add_if_new(self.observer.engine, view, self.config)

    def finish(self) -> None:
        """Ends a frame: starts updates deferred to be done for many targets at once on a device."""
        self._teach()  # on a device it starts in the next frame, beside the network: launching it costs host time
        waiting, self._views, engine = self._views, [], self.observer.engine
        if waiting:
            add_new_views(engine, [t.bank for t, _ in waiting], [view for _, view in waiting], self.config)

    def _teach(self) -> None:
        """Updates the online filters that are due with the frame."""
        due, self._due = self._due, []
        if not due:
            return
        shapes = [one.maps.embedding.shape[2:] for _, one in due if one.maps and one.maps.embedding is not None]
        cells = cells_of([target for target, _ in due], [one.crop for _, one in due], shapes, self.observer.stride)
        for (target, one), place, extents in zip(due, *cells, strict=True):
            assert target.filter is not None and one.maps is not None
            self.observer.filters.learn(target.filter, one.maps, place, extents)

    def fit_online_filter(self, target: Target, frame: Image) -> None:
        """Fits the online filter of a target to the frame of its start or re-detection."""
        if not (self.config.online.weight and self.observer.model.has_boxes):
            return
        template, width = self.observer.sizes
        side = self.observer.side(target.size) * width / template
        windows = first_windows(target.centre, side, width, self.config.online.turn)
        pictures = [crop.cut_turned(frame, target.fill, turn) for crop, turn in windows]
        response = clean(self.observer.engine.match(target.bank.first, pictures))
        if response.embedding is None:
            return
        count, online = len(windows), self.config.online
        shapes = [response.embedding.shape[2:]] * count
        places, extents = cells_of([target] * count, [crop for crop, _ in windows], shapes, self.observer.stride)
        target.filter = OnlineFilter(response.embedding, places, extents[0], online.channels, online.rate, online.gap)
