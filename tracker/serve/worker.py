"""The worker: streams, one batcher for all of them, and an outbox. The same in a process, in a Ray actor, and in a
test."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from tracker.errors import SiamTrackError
from tracker.media.draw import draw_tracks
from tracker.model.checkpoint import load_model
from tracker.runtime.select import build_engine
from tracker.serve.batching import observe_many
from tracker.serve.config_file import parse_stream, parse_target
from tracker.serve.gallery_targets import Galleries
from tracker.serve.messages import Plan, pack, unpack
from tracker.serve.recording import StreamRecorder
from tracker.serve.reporter import STATUS_SECONDS, Reporter
from tracker.serve.scheduler import Scheduler
from tracker.serve.stream import Stream
from tracker.serve.targets import StreamTargets
from tracker.serve.warm_up import warm_up
from tracker.settings import changed
from tracker.tracking.observer import Observer
from tracker.tracking.tracker import SiamTracker, fingerprint
from tracker.tracking_sections import LIVE_BUDGET_MS
from tracker.types import Frame, Track
from tracker.web.pictures import jpeg

logger = logging.getLogger(__name__)

CPU_CALL = 1
"""Windows per network call on a CPU, where a batch saves nothing, and makes the first stream wait for the last."""
MOST_FAULTS = 5
"""Number of frames on which tracking may fail before a stream is excluded."""
PICTURE_SIDE = 960
"""Longest side of a requested picture in pixels."""

Notes = Callable[[str, Frame, list[Track]], dict[str, Any]]
"""Adds entries to a result: (stream, frame, tracks) -> entries. For measurements."""


class StreamWorker:
    """Runs streams until `stop`.

    Args:
        plan: Model, engine and settings.
        tracker: A tracker to use; without it one is built from the plan.

    Attributes:
        outbox: Messages for the supervisor (`serve.messages`): "ready", "results", "event", "status", "saved",
            "picture", "bye".
    """

    def __init__(self, plan: Plan, tracker: SiamTracker | None = None) -> None:
        self.plan = plan
        self._tracker = tracker or build_tracker(plan)
        self._fingerprint = fingerprint(self._tracker.model)
        self._galleries = Galleries(self._tracker)
        model, engine, config = self._tracker.model, self._tracker.engine, self._tracker.config
        self._live = SiamTracker(
            model, engine, changed(config, {"redetection.budget_ms": config.redetection.budget_ms or LIVE_BUDGET_MS})
        )
        self._streams: dict[str, Stream] = {}
        self._commands: deque[tuple[str, dict[str, Any], dict[str, bytes]]] = deque()
        self._stopping = False
        self._finishing: list[StreamRecorder] = []
        self._reporter = Reporter(self._streams, plan.wait, plan.save_every, self._close)
        self.outbox = self._reporter.outbox
        on_cpu = engine.device == "cpu"
        self._call = plan.batch.call_crops or (CPU_CALL if on_cpu else plan.batch.crops)
        self._observers: queue.SimpleQueue[Observer] = queue.SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None
        self._observers.put(self._tracker.observer)
        if plan.threads > 1 and engine.concurrent:
            for _ in range(plan.threads - 1):
                self._observers.put(Observer(model, engine.one_thread(), config))
            self._pool = ThreadPoolExecutor(plan.threads, "siamtrack-targets")
        together = plan.threads if self._pool else 1
        self._scheduler = Scheduler(self._streams, plan.batch, self._call, lambda: bool(self._commands), together)
        self._observe: Notes | None = _observer(plan.observer)
        self._thread = threading.Thread(target=self._run, name="siamtrack-batcher", daemon=True)
        self._reporter.put(
            "ready",
            {
                "model": self._tracker.name, "engine": engine.name, "device": engine.device,
                "host": socket.gethostname(), "pid": os.getpid(),
            },
        )  # fmt: skip

    def warm_up(self) -> None:
        """Makes the network calls that tracking may make (`serve.warm_up`), so that no stream waits for them."""
        warm_up(self._tracker.observer, self._targets(True), self._targets(True), self._call)

    def start(self) -> None:
        """Starts to work."""
        self._thread.start()

    def handle(self, message: bytes) -> None:
        """Receives a message of the supervisor; thread-safe."""
        self._commands.append(unpack(message))
        self._scheduler.wake()

    def stop(self, timeout: float | None = None) -> None:
        """Finishes the recordings and ends."""
        self.handle(pack("stop"))
        if self._thread.ident is not None:
            self._thread.join(timeout)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    # The batcher's thread.

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._obey()
                self._reporter.states()
                ready = self._scheduler.gather(STATUS_SECONDS / 2)
                if ready:
                    self._flush(ready)
        finally:
            for stream in self._streams.values():
                self._reporter.saved(stream)
                self._close(stream)
            for recording in self._finishing:
                recording.join()
            self._reporter.states(everything=True)
            self._reporter.put("bye", {})

    def _close(self, stream: Stream) -> None:
        stream.close()
        if stream.recording is not None and stream.recording not in self._finishing:
            self._finishing.append(stream.recording)
        self._finishing = [r for r in self._finishing if r.is_alive()]

    def _flush(self, ready: Sequence[Stream]) -> None:
        """Observes the frames of these streams, in as few network calls as useful."""
        self._scheduler.give_turn(ready)
        parts = self._scheduler.calls(ready)
        if self._pool is None or len(parts) == 1:
            for part in parts:
                self._look_safely(part)
        else:
            list(self._pool.map(self._look_safely, parts))
        if any(s.reader.ready or s.reader.over for s in ready):
            self._scheduler.wake()

    def _look_safely(self, streams: Sequence[Stream]) -> None:
        """An exception affects only its stream: a failing stream is processed alone from then on, then excluded."""
        try:
            self._look(streams)
        except Exception as error:
            logger.exception("Looking at %s failed", ", ".join(s.name for s in streams))
            for stream in streams:
                stream.faults += 1
                if len(streams) == 1 and stream.faults > MOST_FAULTS:
                    stream.reader.fail(f"tracking failed {stream.faults} times: {error}")
            return
        for stream in streams:
            stream.faults = max(0, stream.faults - 1) if len(streams) == 1 else 0

    def _look(self, streams: Sequence[Stream]) -> None:
        observer = self._observers.get()
        try:
            began = time.monotonic()
            taken = [(stream, got) for stream in streams if (got := stream.take()) is not None]
            jobs = [(s.targets.predict(frame.image) if s.targets else [], frame.image) for s, (frame, _) in taken]
            some = any(targets for targets, _ in jobs)
            observed = observe_many(observer, jobs, self._call) if some else [None] * len(jobs)
        finally:
            self._observers.put(observer)
        lines = []
        for (stream, (frame, came)), one, (targets, _) in zip(taken, observed, jobs, strict=True):
            tracks = stream.follow(frame, one if targets else None)
            if stream.targets is not None and set(stream.targets.names.values()) != stream.saved_names:
                self._reporter.saved(stream)  # before the first result of a target: needed by a restart
            spent = time.monotonic() - came
            stream.counters.latencies.append(spent)
            if not stream.crops and not tracks:
                continue
            line = {
                "stream": stream.name,
                "frame": frame.index,
                "timestamp": None if frame.timestamp is None else round(frame.timestamp, 6),
                "targets": stream.entries(tracks),
                "time": round(time.time() - spent, 3),
                "latency_ms": round(1000 * spent, 1),
                "waited_ms": round(1000 * max(0.0, began - came), 1),
            }
            lines.append(line | self._observe(stream.name, frame, tracks) if self._observe else line)
        if lines:
            self._reporter.put("results", {"lines": lines})

    # Messages of the supervisor.

    def _obey(self) -> None:
        while self._commands:
            kind, values, parts = self._commands.popleft()
            try:
                self._do(kind, values, parts)
            except SiamTrackError as error:
                self._reporter.event(values.get("stream"), kind, str(error))

    def _do(self, kind: str, values: dict[str, Any], parts: dict[str, bytes]) -> None:
        name = values.get("stream", "")
        if kind == "stop":
            self._stopping = True
        elif kind == "add":
            self._add(name, values, parts)
        elif kind == "remove":
            stream = self._streams.pop(name, None)
            if stream is not None:
                if values.get("keep"):
                    self._reporter.saved(stream)
                self._close(stream)
        elif name not in self._streams:
            logger.info("%s for the stream %r, which is not here", kind, name)
        elif kind == "add_target":
            self._streams[name].add_target(
                values["target"], parse_target(values["target"], values["config"], "the request")
            )
        elif kind == "remove_target":
            self._streams[name].remove_target(values["target"])
        elif kind == "picture":
            self._picture(self._streams[name], values)

    def _add(self, name: str, values: dict[str, Any], parts: dict[str, bytes]) -> None:
        if name in self._streams:
            self._close(self._streams.pop(name))
        saved = {key: (numbers, parts[key]) for key, numbers in values.get("saved", {}).items() if key in parts}
        stream = Stream(
            name, parse_stream(name, values["config"], "the plan"), self.plan.limits, self._targets,
            self._galleries, self._scheduler.wake,
            lambda about, text: self._reporter.event(name, about, text),
            saved=saved, begun=values.get("begun", ()), start=int(values.get("start", 0)), decode=self.plan.decode,
        )  # fmt: skip
        self._streams[name] = stream
        self._reporter.forget(name)
        stream.reader.start()

    def _targets(self, live: bool) -> StreamTargets:
        return StreamTargets(self._live if live else self._tracker, self._fingerprint)

    def _picture(self, stream: Stream, values: dict[str, Any]) -> None:
        if stream.latest is None:
            self._reporter.put(
                "picture", {"stream": stream.name, "number": values["number"], "text": "no frame has come yet"}
            )
            return
        frame, tracks = stream.latest
        names = stream.targets.names if stream.targets is not None else {}
        image = draw_tracks(frame, tracks, names=names) if values.get("boxes", True) else frame.image
        data = {"jpeg": jpeg(image, int(values.get("side", PICTURE_SIDE)))}
        self._reporter.put("picture", {"stream": stream.name, "number": values["number"], "frame": frame.index}, data)


def build_tracker(plan: Plan) -> SiamTracker:
    """The tracker of a plan.

    Raises:
        WeightsError, ConfigError, DeviceError: It can't be built.
    """
    model = load_model(plan.model, overrides=plan.overrides)
    return SiamTracker(model, build_engine(model, device=plan.device, engine=plan.engine, threads=plan.threads))


def _observer(path: str) -> Notes | None:
    if not path:
        return None
    module, _, name = path.partition(":")
    observer: Notes = getattr(import_module(module), name)
    return observer
