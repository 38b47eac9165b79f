"""Assigns streams to workers, detects when one dies, and forwards their messages; independent of images and
networks."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import asdict, replace
from typing import Any

from tracker.errors import OutputError, SiamTrackError
from tracker.files import suggest
from tracker.serve.config import ServeConfig, StreamConfig, TargetConfig
from tracker.serve.config_file import parse_stream
from tracker.serve.listeners import Results
from tracker.serve.messages import pack, unpack
from tracker.serve.picture_requests import PictureRequests
from tracker.serve.state import Entry, Saved, read_state, write_state
from tracker.serve.worker_pool import INBOX, Hire, Placement, Tell, WorkerEntry, WorkerPool

TICK = 0.1
LAST_WAIT = 30.0
"""Seconds for workers to finish their recordings."""


class Supervisor:
    """Runs all streams of a configuration.

    Args:
        config: What streams.yaml says.
        hire: Starts a worker.
        workers: Number of workers.
        results: Outputs of results.
        tell: Called with messages for the user.
        fresh: Whether to ignore an old state file.

    Raises:
        SiamTrackError: The state file can't be read.
    """

    def __init__(
        self, config: ServeConfig, hire: Hire, workers: int, results: Results, tell: Tell, *, fresh: bool = False
    ) -> None:
        self.config, self.results = config, results
        self._tell = tell
        self.entries: dict[str, Entry] = {}
        self.failed = ""
        self._pool = WorkerPool(hire, workers, config.workers)
        self._placement = Placement(self.entries, self._pool.posts, config.limits, self._say_state)
        self._pictures = PictureRequests()
        self._written = 0.0
        self._lock = threading.RLock()
        old = read_state(config.state.file) if config.state.file and not fresh else {}
        for name, stream in config.streams.items():
            self._enter(name, stream, old.get(name))
        for name, saved in old.items():
            if saved.added and name not in self.entries:
                self._enter(name, parse_stream(name, saved.config, "the state file"), saved)

    # Requests of control, from any thread.

    def put_stream(self, name: str, config: StreamConfig) -> None:
        """Adds or changes a stream: its targets continue if the source stays the same."""
        with self._lock:
            old = self.entries.get(name)
            saved = old.saved if old is not None and old.config.source == config.source else None
            if old is not None:
                self._placement.take_away(old)
            if saved is not None and old is not None:  # targets with a changed configuration start again
                names = {*config.targets, *old.config.targets}
                saved.forget({n for n in names if config.targets.get(n) != old.config.targets.get(n)})
            entry = self._enter(name, config, saved)
            entry.saved.added = True
            if old is not None:
                entry.before, entry.boxes = old.before, {n: b for n, b in old.boxes.items() if n in entry.saved.targets}

    def remove_stream(self, name: str) -> None:
        """Ends a stream.

        Raises:
            SiamTrackError: There is none of that name.
        """
        with self._lock:
            self._placement.take_away(self.entry(name))
            del self.entries[name]

    def put_target(self, name: str, target: str, config: TargetConfig) -> None:
        """Adds a target to a stream, or restarts it.

        Raises:
            SiamTrackError: There is no such stream.
        """
        with self._lock:
            entry = self.entry(name)
            entry.config.targets[target] = config
            entry.saved.forget({target})
            wanted = {k: v for k, v in asdict(replace(config, frame=0)).items() if v is not None}
            values = {"stream": name, "target": target, "config": wanted}
            self._placement.send(entry, pack("add_target", values))

    def remove_target(self, name: str, target: str) -> None:
        """Stops tracking a target.

        Raises:
            SiamTrackError: There is no such stream or target.
        """
        with self._lock:
            entry = self.entry(name)
            known = {*entry.last, *entry.saved.targets, *entry.config.targets}
            if target not in known:
                raise SiamTrackError(
                    f"The stream {name!r} has no target {target!r}; it has {', '.join(sorted(known)) or 'none'}."
                )
            entry.config.targets.pop(target, None)
            entry.saved.targets.pop(target, None)
            entry.last.pop(target, None)
            self._placement.send(entry, pack("remove_target", {"stream": name, "target": target}))

    def picture(self, name: str, boxes: bool = True, side: int = 960, timeout: float = 3.0) -> bytes:
        """The newest picture of a stream as JPEG.

        Raises:
            SiamTrackError: There is no such stream, or no picture of it.
        """
        with self._lock:
            entry = self.entry(name)
            if entry.worker is None:
                raise SiamTrackError(f"The stream {name!r} is {entry.state}: there is no picture of it.")
            values = {"stream": name, "boxes": boxes, "side": side}
            number = self._pictures.ask(lambda n: self._placement.send(entry, pack("picture", values | {"number": n})))
        return self._pictures.wait(number, name, timeout)

    def entry(self, name: str) -> Entry:
        """A stream by its name.

        Raises:
            SiamTrackError: There is none; with the most similar name.
        """
        if name not in self.entries:
            raise SiamTrackError(f"There is no stream {name!r}.{suggest(name, self.entries)}")
        return self.entries[name]

    def state(self) -> dict[str, Any]:
        """The values for the status page."""
        with self._lock:
            return {
                "streams": [entry.as_dict() for entry in self.entries.values()],
                "workers": [post.as_dict() for post in self._pool.posts.values()],
                "worker_deaths": self._pool.deaths,
                "results": self.results.counts(),
                "lost_results": sum(p.lost_results for p in self._pool.posts.values()),
            }

    # The loop.

    def run(self, over: threading.Event) -> None:
        """Runs until `over` is set, all streams have ended (and the configuration does not say `stay`), or all outputs
        are closed."""
        stay = self.config.stay or not self.entries
        try:
            while not over.is_set() and not self.failed:
                self._step()
                if self.results.nobody or (not stay and self.entries and all(e.over for e in self.entries.values())):
                    break
        finally:
            self._finish()

    def _step(self) -> None:
        try:
            number, message = self._pool.inbox.get(timeout=TICK)
            for _ in range(INBOX):
                with self._lock:
                    self._hear(number, message)
                number, message = self._pool.inbox.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            for post, why in self._pool.silent():
                self._gone(post, why)
            self._pool.fill()
            self._placement.place()
            self._write_state()

    def _hear(self, number: int, message: bytes | None) -> None:
        post = self._pool.posts.get(number)
        if post is None:
            return
        if message is None:
            return self._gone(post, "it died")
        post.heard = time.monotonic()
        kind, values, parts = unpack(message)
        if kind == "results":
            for line in values["lines"]:
                if entry := self._of(number, line["stream"]):
                    entry.take_result(line)
                    self.results.put(line)
        elif kind == "event":
            self._event(number, values)
        elif kind == "status":
            post.lost_results = values["lost_results"]
            for name, counters in values["streams"].items():
                if entry := self._of(number, name):
                    entry.counters = counters
        elif kind == "saved":
            if entry := self._of(number, values["stream"]):
                entry.take_saved(values, parts)
        elif kind == "ready":
            post.take_ready(values)
            self._pool.started()
            if not post.spare:
                self._placement.even_out(number)
            text = f"worker {number} ({post.handle.place}): {post.text}{', spare' if post.spare else ''}"
            self._tell("", "worker", text)
        elif kind == "picture":
            self._pictures.answer(values, parts)
        elif kind == "unable":
            self.failed = values["text"]
        elif kind == "bye":
            post.done = True

    def _of(self, number: int, name: str) -> Entry | None:
        """A stream, if it belongs to this worker."""
        entry = self.entries.get(name)
        return entry if entry is not None and entry.worker == number else None

    def _event(self, number: int, values: dict[str, Any]) -> None:
        entry = self._of(number, values["stream"] or "")
        if entry is None:
            return
        if values["about"] == "state":
            entry.take_state(values)
        self._say(entry.name, values["about"], values["text"], entry.state)

    def _say(self, name: str, about: str, text: str, state: str) -> None:
        """Reports an event to the user and in the results."""
        if not text:
            return
        self._tell(name, about, text)
        self.results.put({"stream": name, "event": about, "state": state, "text": text, "time": round(time.time(), 3)})

    def _say_state(self, entry: Entry) -> None:
        self._say(entry.name, "state", entry.text, entry.state)

    def _gone(self, post: WorkerEntry, why: str) -> None:
        """Handles a dead worker: its streams are assigned to others."""
        now = time.monotonic()
        self._pool.dismiss(post)
        mine = [e for e in self.entries.values() if e.worker == post.number and not e.over]
        names = f"; {', '.join(e.name for e in mine)} go on elsewhere" if mine else ""
        self._tell("", "worker", f"worker {post.number} ({post.handle.place}) is gone: {why}{names}")
        for entry in mine:
            entry.leave()
            entry.state, entry.text = "waiting", f"its worker is gone: {why}"
            entry.deaths.append(now)
            entry.moves += 1
        self._placement.suspect(mine, now)

    # Streams.

    def _enter(self, name: str, config: StreamConfig, saved: Saved | None) -> Entry:
        same = saved is not None and (not saved.config or saved.config.get("source") == config.source)
        entry = self.entries[name] = Entry(name, config, saved if same and saved is not None else Saved())
        return entry

    def _write_state(self, at_once: bool = False) -> None:
        path, now = self.config.state.file, time.monotonic()
        if path is None or (not at_once and now - self._written < self.config.state.every):
            return
        self._written = now
        # A file that was read to its end starts again the next time.
        streams = {name: entry.to_save() for name, entry in self.entries.items() if entry.state != "ended"}
        try:
            write_state(path, streams)
        except OutputError as error:
            self._tell("", "state", str(error))

    def _finish(self) -> None:
        """Workers finish their recordings, results are written out, the state is written."""
        for post in self._pool.posts.values():
            post.handle.send(pack("stop"))
        end = time.monotonic() + LAST_WAIT
        while time.monotonic() < end and any(not p.done and p.ready for p in self._pool.posts.values()):
            try:
                number, message = self._pool.inbox.get(timeout=TICK)
            except queue.Empty:
                continue
            with self._lock:
                if message is None:
                    self._pool.posts.pop(number, None)
                else:
                    self._hear(number, message)
        for post in self._pool.posts.values():
            post.handle.kill()
        self._write_state(at_once=True)
        self.results.finish()
