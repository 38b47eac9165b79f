"""One stream within a worker: its reader, its targets, the policy for LOST ones, its recording and its counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracker.errors import SiamTrackError
from tracker.media.images import to_bgr8
from tracker.serve.config import LimitsConfig, StreamConfig, TargetConfig
from tracker.serve.detections import fresh, open_detections
from tracker.serve.gallery_targets import Galleries, Identities
from tracker.serve.metrics import Counters
from tracker.serve.reader import Reader
from tracker.serve.recording import StreamRecorder
from tracker.serve.targets import StreamTargets
from tracker.tracking.observation import FrameObservations
from tracker.tracking.template_memory import load_target
from tracker.types import Frame, Track, TrackState

Saved = tuple[Mapping[str, Any], bytes]


class Stream:
    """One stream of this worker; only the thread that handles its frame accesses it, one at a time.

    Args:
        name: Name of the stream.
        config: Its section of streams.yaml.
        limits: Its limits.
        targets_of: Creates an empty `StreamTargets`; its argument says whether the stream is live.
        galleries: Those of the worker.
        wake: Called when a frame has arrived.
        tell: Called with (kind, sentence) for events other than results.
        saved: name -> the value of `StreamTargets.save` before a restart.
        begun: Names of targets started before a restart: those that are not in `saved` have ended and are not started
            again.
        start: Index of the first frame (files).
        decode: cpu, or an FFmpeg device.
    """

    def __init__(
        self,
        name: str,
        config: StreamConfig,
        limits: LimitsConfig,
        targets_of: Callable[[bool], StreamTargets],
        galleries: Galleries,
        wake: Callable[[], None],
        tell: Callable[[str, str], None],
        *,
        saved: Mapping[str, Saved] | None = None,
        begun: Sequence[str] = (),
        start: int = 0,
        decode: str = "cpu",
    ) -> None:
        self.name, self.config, self.counters = name, config, Counters()
        self._limits, self._targets_of, self._tell = limits, targets_of, tell
        self._saved = dict(saved or {})
        self._pending: dict[str, TargetConfig] = dict(config.targets)
        self._identities = Identities(galleries, config.targets)
        self._boxes = {key: list(t.box) for key, t in config.targets.items() if t.box is not None}
        self._lost_since: dict[str, float] = {}
        self._started: list[Track] = []
        self._leaving: list[tuple[str, list[float] | None]] = []
        self._detections = open_detections(config.detections)
        self._problem = ""
        self._number = 0
        self.recording: StreamRecorder | None = None
        self._recorded = not (config.record.video or config.record.boxes)
        self.targets: StreamTargets | None = None
        self.latest: tuple[Frame, list[Track]] | None = None
        self.served = self.searched = 0.0
        self.faults = 0
        self.saved_names: set[str] = set()
        self.closed = False
        self.begun: set[str] = set(begun)
        for name in begun:
            self._pending.pop(name, None)
        self.reader = Reader(name, config, limits, self.counters, wake, start=start, decode=decode)

    @property
    def live(self) -> bool:
        return not self.reader.every

    @property
    def crops(self) -> int:
        """Number of search windows that its next frame needs."""
        return len(self.targets.targets) if self.targets is not None else 0

    @property
    def any_lost(self) -> bool:
        return self.targets is not None and self.targets.any_lost

    def take(self) -> tuple[Frame, float] | None:
        """The next frame, or None if there is none or its image is broken."""
        try:
            taken = self.reader.take()
        except SiamTrackError as error:
            self._tell("broken", str(error))
            return None
        if taken is None:
            return None
        frame, came = taken
        if self.targets is None:
            self.targets = self._targets_of(self.live)
            self._restore()
        self._leave()
        return Frame(to_bgr8(frame.image), frame.index, frame.timestamp, frame.name), came

    def follow(self, frame: Frame, observed: FrameObservations | None) -> list[Track]:
        """The tracks of a frame: those of observed targets, then of those that start in it."""
        targets = self.targets
        assert targets is not None
        tracks = [] if observed is None else targets.follow(frame.image, observed, frame.index, frame.timestamp)
        tracks = self._identities.checked(frame, tracks, targets)
        self._begin(frame)
        self._detect(frame)
        tracks += self._started
        self._started = []
        self._watch_lost(frame, tracks)
        self.latest = (frame, tracks)
        self.counters.tracked += 1
        self._record(frame, tracks)
        return tracks

    def add_target(self, name: str, config: TargetConfig) -> None:
        """Adds a target from the next frame on; one with the same name is replaced."""
        self.remove_target(name, missing_ok=True)
        self.begun.discard(name)
        self._pending[name] = replace(config, frame=0)
        self._identities.put(name, config)
        if config.box is not None:
            self._boxes[name] = list(config.box)

    def remove_target(self, name: str, missing_ok: bool = False) -> None:
        """Stops tracking a target.

        Raises:
            SiamTrackError: There is none of that name.
        """
        self._identities.forget(name)
        waited = self._pending.pop(name, None) is not None
        waited = self._saved.pop(name, None) is not None or waited
        self._boxes.pop(name, None)
        self._lost_since.pop(name, None)
        if self.targets is not None and self.targets.id_of(name) is not None:
            self.targets.remove(name)
        elif not waited and not missing_ok:
            there = sorted(self.targets.names.values()) if self.targets is not None else []
            raise SiamTrackError(
                f"The stream {self.name!r} has no target {name!r}; it has {', '.join(there) or 'none'}."
            )

    def save(self) -> dict[str, tuple[dict[str, Any], bytes]]:
        """name -> what `restore` takes, for each target."""
        return {} if self.targets is None else {name: self.targets.save(name) for name in self.targets.names.values()}

    def entries(self, tracks: Sequence[Track]) -> list[dict[str, Any]]:
        """Tracks in the form of a result; a LOST target has no box."""
        assert self.targets is not None
        return [
            {
                "id": self.targets.names[t.target_id],
                "box": [round(float(v), 3) for v in t.box] if t.visible else None,
                "score": round(float(t.score), 4),
                "state": t.state.value,
            }
            for t in tracks
        ]

    def close(self) -> None:
        """Stops reading; the recording is finished by its own thread (`recording`)."""
        self.reader.stop()
        if self._detections is not None:
            self._detections.close()
        if self.recording is not None and not self.closed:
            self.recording.finish()
        self.closed = True

    def _restore(self) -> None:
        assert self.targets is not None
        for name, (values, views) in self._saved.items():
            try:
                self.targets.restore(name, values, views)
            except SiamTrackError as error:
                self._tell("state", str(error))
                continue
            self._pending.pop(name, None)
        self._saved = {}

    def _begin(self, frame: Frame) -> None:
        """Starts the targets that are due in this frame."""
        due = [n for n, t in self._pending.items() if self.live or t.box is None or frame.index >= t.frame]
        for name in due:
            target = self._pending.pop(name)
            self.begun.add(name)
            if target.box is not None:
                self._start(name, frame, target.box)
            else:
                assert self.targets is not None
                try:
                    known = self._identities.known(name) if target.known is None else load_target(target.known)
                    self.targets.look_for(name, frame.image, known)
                except SiamTrackError as error:
                    self._tell("target", f"target {name!r}: {error}")

    def _start(self, name: str, frame: Frame, box: Sequence[float]) -> None:
        assert self.targets is not None
        if len(self.targets.targets) >= self._limits.targets:
            self._tell(
                "target", f"target {name!r} is left out: limits.targets allows {self._limits.targets} in a stream"
            )
            return
        try:
            number = self.targets.start(name, frame.image, box)
        except SiamTrackError as error:
            self._tell("target", f"target {name!r}: {error}")
            return
        self._started.append(
            Track(self.targets.targets[number].box, 1.0, index=frame.index, timestamp=frame.timestamp, target_id=number)
        )

    def _detect(self, frame: Frame) -> None:
        """Starts targets at detections that no target covers."""
        if self._detections is None or self.config.detections is None or self.targets is None:
            return
        found = self._detections.look(frame)
        if self._detections.problem != self._problem:
            self._problem = self._detections.problem
            self._tell("detections", self._problem or "detections: answers again")
        if found is None:
            return
        picture, boxes = found
        taken = [t.box.tolist() for t in self.targets.targets.values()]
        for box in fresh(boxes, taken, self.config.detections.overlap, self.config.detections.most):
            while f"d{self._number}" in self.targets.names.values() or f"d{self._number}" in self._pending:
                self._number += 1
            self._start(f"d{self._number}", Frame(picture, frame.index, frame.timestamp), box)
            self._number += 1

    def _watch_lost(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Drops or restarts a target that has been LOST too long. Files use their own time, so that results repeat."""
        if self.config.lost == "search" or self.targets is None:
            return
        now = frame.timestamp if not self.live and frame.timestamp is not None else time.monotonic()
        for track in tracks:
            name = self.targets.names[track.target_id]
            if track.state is not TrackState.LOST:
                self._lost_since.pop(name, None)
                continue
            if now - self._lost_since.setdefault(name, now) < self.config.lost_seconds:
                continue
            box = self._boxes.get(name)
            self._tell("target", f"target {name!r} was lost for {self.config.lost_seconds:g} s: {self.config.lost}")
            self._lost_since.pop(name)
            if self.config.lost == "restart" and box is None:
                continue
            self._leaving.append(
                (name, box if self.config.lost == "restart" else None)
            )  # this frame's results still contain it

    def _leave(self) -> None:
        """Removes the targets that were lost too long; those to be restarted wait for the frame."""
        assert self.targets is not None
        for name, box in self._leaving:
            if self.targets.id_of(name) is not None:
                self.targets.remove(name)
            if box is not None:
                self._pending[name] = TargetConfig(list(box))
        self._leaving = []

    def _record(self, frame: Frame, tracks: Sequence[Track]) -> None:
        if self.recording is None and not self._recorded:
            self._recorded = True
            try:
                self.recording = StreamRecorder(
                    self.config.record, self.reader.info, self.live, lambda text: self._tell("recording", text)
                )
            except SiamTrackError as error:
                self._tell("recording", f"nothing is recorded: {error}")
                return
            self.recording.start()
            self._tell("recording", f"recording to {', '.join(map(str, self.recording.files))}")
        if self.recording is not None:
            self.recording.write(frame, tracks)
            self.counters.missed_recording = self.recording.missed
