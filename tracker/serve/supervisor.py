"""Deals streams out to workers, notices when one dies, and passes on what they say. Knows nothing of pictures and
networks."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracker.errors import OutputError, SiamTrackError
from tracker.serve.config import ServeConfig, StreamConfig, TargetConfig, parse_stream, stream_to_dict
from tracker.serve.entry import Entry
from tracker.serve.messages import pack, unpack
from tracker.serve.process import Handle
from tracker.serve.results import Results
from tracker.serve.state import Saved, read_state, write_state

logger = logging.getLogger(__name__)

TICK = 0.1
SUSPICIOUS, WITHIN = 3, 60.0
"""After so many deaths of its workers within so many seconds a stream goes to the queue of suspects."""
TRIAL = 4.0
"""Seconds that a suspect is watched alone before the next one is let in."""
LAST_WAIT = 30.0
"""Seconds for workers to finish their recordings."""
START_WAIT, SILENCE = 120.0, 10.0
SETTLE = 60.0
"""Seconds at the start in which streams wait until all workers are ready, to be dealt out evenly."""
"""Seconds that a worker may take to load its model, and that it may say nothing after that."""
INBOX = 4096

Hire = Callable[[], "Handle | None"]
"""Starts a worker; None where there is no room for one now."""
Tell = Callable[[str, str, str], None]
"""(stream, what about, sentence): something a user may want to read."""


@dataclass
class Post:
    """A worker as the supervisor sees it.

    Attributes:
        number: Its own; never given twice.
        handle: How to talk to it.
        ready: Whether it has loaded its model.
        spare: Whether it waits for another to die.
        heard, hired: When it said something last, and when it was started.
        text: What it is, in words.
    """

    number: int
    handle: Handle
    ready: bool = False
    spare: bool = False
    heard: float = 0.0
    hired: float = 0.0
    text: str = "starting"
    lost_results: int = 0
    done: bool = False
    pid: int | None = None
    host: str = ""


class Supervisor:
    """Runs all streams of a configuration.

    Args:
        config: What streams.yaml says.
        hire: Starts a worker.
        workers: How many.
        results: Where results go.
        tell: Called for everything a user may want to read.
        fresh: Whether an old state file is ignored.

    Raises:
        SiamTrackError: The state file can't be read.
    """

    def __init__(
        self, config: ServeConfig, hire: Hire, workers: int, results: Results, tell: Tell, *, fresh: bool = False
    ) -> None:
        self.config, self.results = config, results
        self._hire, self._count, self._tell = hire, workers, tell
        self.entries: dict[str, Entry] = {}
        self.posts: dict[int, Post] = {}
        self.deaths = 0
        self.failed = ""
        self._numbers = self._pictures = 0
        self._inbox: queue.Queue[tuple[int, bytes | None]] = queue.Queue(INBOX)
        self._lock = threading.RLock()
        self._waiting: dict[int, queue.SimpleQueue[tuple[dict[str, Any], dict[str, bytes]]]] = {}
        self._trial: tuple[str, float] | None = None
        self._next_hire = self._written = 0.0
        self._hire_wait = 0.5
        old = read_state(config.state.file) if config.state.file and not fresh else {}
        for name, stream in config.streams.items():
            self._enter(name, stream, old.get(name))
        for name, saved in old.items():
            if saved.added and name not in self.entries:
                self._enter(name, parse_stream(name, saved.config, "the state file"), saved)

    # What control asks for, from any thread.

    def put_stream(self, name: str, config: StreamConfig) -> None:
        """Adds a stream, or changes one: its targets go on where the source stays the same."""
        with self._lock:
            old = self.entries.get(name)
            saved = old.saved if old is not None and old.config.source == config.source else None
            if old is not None:
                self._take_away(old)
            if saved is not None and old is not None:  # targets that the new configuration changed start anew
                changed = {
                    n
                    for n in {*config.targets, *old.config.targets}
                    if config.targets.get(n) != old.config.targets.get(n)
                }
                saved.begun = [n for n in saved.begun if n not in changed]
                saved.targets = {n: one for n, one in saved.targets.items() if n not in changed}
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
            self._take_away(self.entry(name))
            del self.entries[name]

    def put_target(self, name: str, target: str, config: TargetConfig) -> None:
        """Adds a target to a stream, or starts it anew.

        Raises:
            SiamTrackError: There is no such stream.
        """
        with self._lock:
            entry = self.entry(name)
            entry.config.targets[target] = config
            entry.saved.begun = [n for n in entry.saved.begun if n != target]
            entry.saved.targets.pop(target, None)
            wanted = {k: v for k, v in {"box": config.box, "known": config.known}.items() if v is not None}
            values = {"stream": name, "target": target, "config": wanted}
            self._send(entry, pack("add_target", values))

    def remove_target(self, name: str, target: str) -> None:
        """No longer follows a target.

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
            self._send(entry, pack("remove_target", {"stream": name, "target": target}))

    def picture(self, name: str, boxes: bool = True, side: int = 960, timeout: float = 3.0) -> bytes:
        """The newest picture of a stream as JPEG.

        Raises:
            SiamTrackError: There is no such stream, or no picture of it.
        """
        with self._lock:
            entry = self.entry(name)
            if entry.worker is None:
                raise SiamTrackError(f"The stream {name!r} is {entry.state}: there is no picture of it.")
            self._pictures += 1
            number = self._pictures
            answer = self._waiting[number] = queue.SimpleQueue()
            self._send(entry, pack("picture", {"stream": name, "number": number, "boxes": boxes, "side": side}))
        try:
            values, parts = answer.get(timeout=timeout)
        except queue.Empty:
            raise SiamTrackError(f"The worker of the stream {name!r} sent no picture within {timeout:g} s.") from None
        finally:
            self._waiting.pop(number, None)
        if "jpeg" not in parts:
            raise SiamTrackError(f"The stream {name!r}: {values.get('text', 'no picture')}.")
        return parts["jpeg"]

    def entry(self, name: str) -> Entry:
        """A stream by its name.

        Raises:
            SiamTrackError: There is none; with the nearest name.
        """
        from tracker.files import suggest

        if name not in self.entries:
            raise SiamTrackError(f"There is no stream {name!r}.{suggest(name, self.entries)}")
        return self.entries[name]

    def state(self) -> dict[str, Any]:
        """Everything that control shows."""
        with self._lock:
            return {
                "streams": [entry.as_dict() for entry in self.entries.values()],
                "workers": [
                    {
                        "number": p.number,
                        "place": p.handle.place,
                        "host": p.host,
                        "pid": p.pid,
                        "ready": p.ready,
                        "spare": p.spare,
                        "text": p.text,
                    }
                    for p in self.posts.values()
                ],
                "worker_deaths": self.deaths,
                "results": self.results.counts(),
                "lost_results": sum(p.lost_results for p in self.posts.values()),
            }

    # The loop.

    def run(self, over: threading.Event) -> None:
        """Serves until `over` is set, all streams have ended (and the configuration does not say `stay`), or nobody
        listens."""
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
            number, message = self._inbox.get(timeout=TICK)
            for _ in range(INBOX):
                with self._lock:
                    self._hear(number, message)
                number, message = self._inbox.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            self._watch()
            self._staff()
            self._place()
            self._write_state()

    def _hear(self, number: int, message: bytes | None) -> None:
        post = self.posts.get(number)
        if post is None:
            return
        if message is None:
            return self._gone(post, "it died")
        post.heard = time.monotonic()
        kind, values, parts = unpack(message)
        if kind == "results":
            for line in values["lines"]:
                entry = self.entries.get(line["stream"])
                if entry is not None and entry.worker == number:
                    entry.take_result(line)
                    self.results.put(line)
        elif kind == "event":
            self._event(number, values)
        elif kind == "status":
            post.lost_results = values["lost_results"]
            for name, counters in values["streams"].items():
                if name in self.entries and self.entries[name].worker == number:
                    self.entries[name].counters = counters
        elif kind == "saved":
            entry = self.entries.get(values["stream"])
            if entry is not None and entry.worker == number:
                entry.take_saved(values, parts)
        elif kind == "ready":
            post.ready, post.text = True, f"{values['model']} on {values['device']} ({values['engine']})"
            post.pid, post.host = values["pid"], values["host"]
            self._hire_wait = 0.5
            if not post.spare:
                self._even_out(number)
            self._tell(
                "", "worker", f"worker {number} ({post.handle.place}): {post.text}{', spare' if post.spare else ''}"
            )
        elif kind == "picture" and values["number"] in self._waiting:
            self._waiting[values["number"]].put((values, parts))
        elif kind == "unable":
            self.failed = values["text"]
        elif kind == "bye":
            post.done = True

    def _event(self, number: int, values: dict[str, Any]) -> None:
        entry = self.entries.get(values["stream"] or "")
        if entry is None or entry.worker != number:
            return
        if values["about"] == "state":
            entry.state, entry.text = values["state"], values["text"]
            entry.width, entry.height = values["width"], values["height"]
            if entry.state == "live":
                entry.saved.live = values["live"]
        self._say(entry.name, values["about"], values["text"], entry.state)

    def _say(self, name: str, about: str, text: str, state: str) -> None:
        """An event: to the user, and to all listeners beside the results."""
        if not text:
            return
        self._tell(name, about, text)
        self.results.put({"stream": name, "event": about, "state": state, "text": text, "time": round(time.time(), 3)})

    # Workers.

    def _staff(self) -> None:
        """As many workers as there should be, and the spare one."""
        now = time.monotonic()
        if now < self._next_hire:
            return
        active = [p for p in self.posts.values() if not p.spare]
        if len(active) >= self._count:
            spares = [p for p in self.posts.values() if p.spare]
            # The spare one starts last: it must not compete with those that are waited for.
            if not self.config.workers.spare or spares or not all(p.ready for p in active):
                return
        handle = self._hire()
        if handle is None:
            self._next_hire = now + 1.0
            return
        self._numbers += 1
        post = Post(self._numbers, handle, spare=len(active) >= self._count, heard=now, hired=now)
        self.posts[post.number] = post
        threading.Thread(target=self._listen, args=(post,), name=f"siamtrack-worker-{post.number}", daemon=True).start()

    def _listen(self, post: Post) -> None:
        while (message := post.handle.receive()) is not None:
            self._inbox.put((post.number, message))
        self._inbox.put((post.number, None))

    def _watch(self) -> None:
        now = time.monotonic()
        for post in list(self.posts.values()):
            longest = (self.config.workers.gone_seconds or SILENCE) if post.ready else START_WAIT
            if now - post.heard > longest:
                self._gone(post, f"no sign of life for {longest:g} s")

    def _gone(self, post: Post, why: str) -> None:
        """A worker is gone: its streams go to others; the spare one takes its place."""
        del self.posts[post.number]
        threading.Thread(target=post.handle.kill, daemon=True).start()
        now = time.monotonic()
        self.deaths += 1
        if not post.ready:  # it could not even start: slower and slower
            self._next_hire, self._hire_wait = now + self._hire_wait, min(2 * self._hire_wait, 30.0)
        mine = [e for e in self.entries.values() if e.worker == post.number and not e.over]
        names = f"; {', '.join(e.name for e in mine)} go on elsewhere" if mine else ""
        self._tell("", "worker", f"worker {post.number} ({post.handle.place}) is gone: {why}{names}")
        spare = next((p for p in self.posts.values() if p.spare and p.ready), None)
        if spare is not None and not post.spare:
            spare.spare = False
        for entry in mine:
            entry.leave()
            entry.state, entry.text = "waiting", f"its worker is gone: {why}"
            entry.deaths.append(now)
            entry.moves += 1
        self._suspect(mine, now)

    # Streams.

    def _suspect(self, mine: list[Entry], now: float) -> None:
        """Streams that lose worker after worker are let in one by one; the one whose arrival kills again is the
        poisoned one."""
        if self._trial is not None and any(e.name == self._trial[0] for e in mine):
            culprit = self.entries[self._trial[0]]
            self._trial = None
            culprit.keep_out(self.config.limits)
            self._say(culprit.name, "state", culprit.text, culprit.state)
        elif len(mine) == 1 and self._is_suspect(mine[0], now):
            mine[0].keep_out(self.config.limits)
            self._say(mine[0].name, "state", mine[0].text, mine[0].state)

    def _is_suspect(self, entry: Entry, now: float) -> bool:
        return sum(now - at < WITHIN for at in entry.deaths) >= SUSPICIOUS

    def _place(self) -> None:
        """Gives streams without a worker to the one with the least to do."""
        now = time.monotonic()
        if self._trial is not None and now - self._trial[1] > TRIAL:
            self._trial = None
        starting = any(not p.ready and not p.spare and now - p.hired < SETTLE for p in self.posts.values())
        for entry in self.entries.values():
            if entry.worker is not None or entry.over or now < entry.not_before:
                continue
            if starting and not entry.moves:  # else all would go to the worker that is ready first
                continue
            loads = {p.number: 0 for p in self.posts.values() if p.ready and not p.spare}
            if not loads:
                return
            suspect = self._is_suspect(entry, now) or entry.poisoned > 0
            if suspect:
                if self._trial is not None:
                    continue
                self._trial = (entry.name, now)
            for other in self.entries.values():
                if other.worker in loads and not other.over:
                    loads[other.worker] += other.load
            entry.worker, entry.placed = min(loads, key=lambda number: loads[number]), now
            entry.state, entry.text = "connecting", ""
            self._send(entry, entry.order())

    def _even_out(self, number: int) -> None:
        """Gives a worker that has just come live streams of the busiest ones. Files stay: what they gave must not depend on it."""
        while True:
            loads = {p.number: 0 for p in self.posts.values() if p.ready and not p.spare}
            for entry in self.entries.values():
                if entry.worker in loads and not entry.over:
                    loads[entry.worker] += entry.load
            busiest = max(loads, key=lambda one: loads[one])
            gap = loads[busiest] - loads[number]
            mine = [
                e
                for e in self.entries.values()
                if e.worker == busiest and e.saved.live and not e.over and 2 * e.load <= gap
            ]
            if not mine:
                return
            moved = max(mine, key=lambda e: e.load)
            self._take_away(moved)
            moved.worker, moved.placed = number, time.monotonic()
            moved.state, moved.text = "connecting", "moved to a worker with less to do"
            moved.moves += 1
            self._send(moved, moved.order())

    def _enter(self, name: str, config: StreamConfig, saved: Saved | None) -> Entry:
        same = saved is not None and (not saved.config or saved.config.get("source") == config.source)
        entry = self.entries[name] = Entry(name, config, saved if same and saved is not None else Saved())
        return entry

    def _take_away(self, entry: Entry) -> None:
        self._send(entry, pack("remove", {"stream": entry.name}))
        entry.leave()

    def _send(self, entry: Entry, message: bytes) -> None:
        if entry.worker is not None and entry.worker in self.posts:
            self.posts[entry.worker].handle.send(message)

    def _write_state(self, at_once: bool = False) -> None:
        path, now = self.config.state.file, time.monotonic()
        if path is None or (not at_once and now - self._written < self.config.state.every):
            return
        self._written = now
        streams = {}
        for name, entry in self.entries.items():
            if entry.state == "ended":  # a file that was read to its end starts anew the next time
                continue
            saved = entry.saved
            streams[name] = Saved(
                saved.moved_to(entry.boxes),
                saved.views,
                saved.begun,
                saved.frame,
                saved.live,
                stream_to_dict(entry.config),
                saved.added,
            )
        try:
            write_state(path, streams)
        except OutputError as error:
            self._tell("", "state", str(error))

    def _finish(self) -> None:
        """Workers finish their recordings, results get out, the state is written."""
        for post in self.posts.values():
            post.handle.send(pack("stop"))
        end = time.monotonic() + LAST_WAIT
        while time.monotonic() < end and any(not p.done and p.ready for p in self.posts.values()):
            try:
                number, message = self._inbox.get(timeout=TICK)
            except queue.Empty:
                continue
            with self._lock:
                if message is None:
                    self.posts.pop(number, None)
                else:
                    self._hear(number, message)
        for post in self.posts.values():
            post.handle.kill()
        self._write_state(at_once=True)
        self.results.finish()
