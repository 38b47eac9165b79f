"""The supervisor with workers that are puppets: who gets which stream, and what follows when a worker dies."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tracker.errors import SiamTrackError
from tracker.serve import worker_pool
from tracker.serve.config import LimitsConfig, ResultsConfig, ServeConfig, StateConfig, TargetConfig, WorkersConfig
from tracker.serve.config_file import parse_stream
from tracker.serve.listeners import Results
from tracker.serve.messages import pack, unpack
from tracker.serve.state import Saved, read_state, write_state
from tracker.serve.supervisor import Supervisor
from tracker.serve.worker_pool import WorkerPool


class Puppet:
    """A worker that does what the test says."""

    pid = None

    def __init__(self, number: int, ready: bool = True) -> None:
        self.place, self.orders, self.streams = f"puppet {number}", [], {}  # type: tuple[str, list[str], dict[str, Any]]
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        if ready:
            self.say("ready", {"model": "m", "engine": "e", "device": "cpu", "host": "here", "pid": number})

    def say(self, kind: str, values: dict[str, Any], parts: dict[str, bytes] | None = None) -> None:
        self._out.put(pack(kind, values, parts))

    def send(self, message: bytes) -> None:
        kind, values, _ = unpack(message)
        self.orders.append(kind)
        if kind == "add":
            self.streams[values["stream"]] = values
        elif kind == "remove":
            self.streams.pop(values["stream"], None)
        elif kind == "stop":
            self.say("bye", {})

    def result(self, stream: str, frame: int, box: list[float] | None) -> None:
        one = {"id": "t", "box": box, "score": 1.0, "state": "tracking" if box else "lost"}
        self.say("results", {"lines": [{"stream": stream, "frame": frame, "targets": [one]}]})

    def receive(self) -> bytes | None:
        return self._out.get()

    def kill(self) -> None:
        self._out.put(None)


@contextmanager
def supervised(config: ServeConfig, workers: int = 2) -> Iterator[tuple[Supervisor, list[Puppet]]]:
    puppets: list[Puppet] = []

    def hire() -> Puppet:
        puppets.append(Puppet(len(puppets)))
        return puppets[-1]

    supervisor = Supervisor(config, hire, workers, Results(config.results), lambda *news: None)
    over = threading.Event()
    thread = threading.Thread(target=supervisor.run, args=(over,))
    thread.start()
    try:
        yield supervisor, puppets
    finally:
        over.set()
        thread.join(30)
        assert not thread.is_alive()


def until(done: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (answer := done()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return answer


def config_of(count: int, tmp_path: Path, **more: Any) -> ServeConfig:
    streams = {
        f"s{k}": parse_stream(f"s{k}", {"source": f"tcp://h:{k + 1}", "targets": {"t": [1, 2, 3, 4]}}, "a test")
        for k in range(count)
    }
    results = ResultsConfig(stdout=False, file=str(tmp_path / "results.jsonl"))
    return replace(ServeConfig(streams=streams, results=results, workers=WorkersConfig(spare=False)), **more)


def test_streams_are_dealt_out_evenly_and_move_when_a_worker_dies(tmp_path: Path) -> None:
    with supervised(config_of(4, tmp_path)) as (supervisor, puppets):
        until(lambda: len(puppets) == 2 and sum(len(p.streams) for p in puppets) == 4)
        assert [len(p.streams) for p in puppets] == [2, 2]
        name = next(iter(puppets[0].streams))
        puppets[0].say(
            "saved", {"stream": name, "targets": {"t": {"centre": [0, 0]}}, "begun": ["t"], "frame": 3}, {"t": b"views"}
        )
        puppets[0].result(name, 7, [10, 20, 4, 6])
        until(lambda: supervisor.entries[name].saved.frame == 7)
        puppets[0].kill()
        until(
            lambda: (
                len(puppets[1].streams) == 4
                or (len(puppets) > 2 and len(puppets[1].streams) + len(puppets[2].streams) == 4)
            )
        )
        order = next(p.streams[name] for p in puppets[1:] if name in p.streams)
        assert order["saved"]["t"]["centre"] == [12, 23] and order["begun"] == ["t"] and order["start"] == 0
        assert supervisor.state()["worker_deaths"] == 1
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines if line.get("targets")] == [7]


def test_the_spare_worker_takes_the_place_of_a_dead_one(tmp_path: Path) -> None:
    config = config_of(2, tmp_path, workers=WorkersConfig(spare=True))
    with supervised(config, workers=1) as (supervisor, puppets):
        until(lambda: len(puppets) == 2 and any(w["spare"] and w["ready"] for w in supervisor.state()["workers"]))
        assert len(puppets[0].streams) == 2 and not puppets[1].streams
        began = time.monotonic()
        puppets[0].kill()
        until(lambda: len(puppets[1].streams) == 2)
        assert time.monotonic() - began < 2
        until(lambda: len(puppets) == 3)  # and there is a new spare one


def test_a_worker_that_comes_late_gets_live_streams_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "SETTLE", 0.1)
    puppets: list[Puppet] = []

    def hire() -> Puppet:
        puppets.append(Puppet(len(puppets), ready=not puppets))
        return puppets[-1]

    config = config_of(4, tmp_path)
    supervisor, over = Supervisor(config, hire, 2, Results(config.results), lambda *news: None), threading.Event()
    thread = threading.Thread(target=supervisor.run, args=(over,))
    thread.start()
    try:
        until(lambda: len(puppets) == 2 and len(puppets[0].streams) == 4)
        puppets[1].say("ready", {"model": "m", "engine": "e", "device": "cpu", "host": "there", "pid": 1})
        until(lambda: len(puppets[0].streams) == len(puppets[1].streams) == 2)
    finally:
        over.set()
        thread.join(30)


def test_a_file_goes_on_after_its_last_result(tmp_path: Path) -> None:
    config = config_of(1, tmp_path)
    with supervised(config, workers=1) as (supervisor, puppets):
        until(lambda: puppets and puppets[0].streams)
        live = {"stream": "s0", "about": "state", "state": "live", "text": "x", "width": 9, "height": 9, "live": False}
        puppets[0].say("event", live)
        puppets[0].say("saved", {"stream": "s0", "targets": {"t": {}}, "begun": ["t"], "frame": 0}, {"t": b""})
        puppets[0].result("s0", 5, [1, 2, 3, 4])
        until(lambda: supervisor.entries["s0"].saved.frame == 5)
        puppets[0].kill()
        until(lambda: len(puppets) > 1 and puppets[1].streams)
        assert puppets[1].streams["s0"]["start"] == 6


def test_a_stream_that_kills_its_workers_is_named_and_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever worker gets s1 dies; the others go on."""
    monkeypatch.setattr(worker_pool, "TRIAL", 0.5)
    config = config_of(3, tmp_path, limits=LimitsConfig(poison_wait=1000))
    with supervised(config, workers=1) as (supervisor, puppets):
        end = time.monotonic() + 60
        while supervisor.entries["s1"].state != "poisoned":
            assert time.monotonic() < end
            for puppet in puppets:
                if "s1" in puppet.streams:
                    puppet.streams.clear()
                    puppet.kill()
            time.sleep(0.02)
        until(lambda: {"s0", "s2"} <= set(puppets[-1].streams), 30)
        assert "kept out for 1000 s" in supervisor.entries["s1"].text
        assert "s1" not in puppets[-1].streams


def test_control_changes_what_workers_do(tmp_path: Path) -> None:
    with supervised(config_of(1, tmp_path, stay=True), workers=1) as (supervisor, puppets):
        until(lambda: puppets and puppets[0].streams)
        supervisor.put_target("s0", "new", TargetConfig([1, 2, 3, 4]))
        supervisor.remove_target("s0", "t")
        supervisor.put_stream("more", parse_stream("more", "tcp://h:9", "a test"))
        until(lambda: "more" in puppets[0].streams)
        supervisor.remove_stream("s0")
        assert puppets[0].orders[:5] == ["add", "add_target", "remove_target", "add", "remove"]
        with pytest.raises(SiamTrackError, match="Did you mean 'more'"):
            supervisor.remove_stream("mor")
        with pytest.raises(SiamTrackError, match="has no target 'x'"):
            supervisor.remove_target("more", "x")


def test_the_state_file_holds_what_was_added_at_run_time(tmp_path: Path) -> None:
    config = config_of(0, tmp_path, stay=True, state=StateConfig(str(tmp_path / "state"), 0.05))
    with supervised(config, workers=1) as (supervisor, puppets):
        supervisor.put_stream(
            "more", parse_stream("more", {"source": "tcp://h:9", "targets": {"t": [1, 2, 3, 4]}}, "a test")
        )
        until(lambda: puppets and "more" in puppets[0].streams)
        puppets[0].say(
            "saved", {"stream": "more", "targets": {"t": {"age": 4}}, "begun": ["t"], "frame": 0}, {"t": b"views"}
        )
        until(lambda: "more" in read_state(tmp_path / "state") and read_state(tmp_path / "state")["more"].targets)
    with supervised(config, workers=1) as (supervisor, puppets):
        until(lambda: puppets and "more" in puppets[0].streams)
        assert puppets[0].streams["more"]["saved"] == {"t": {"age": 4}}


def test_a_worker_that_says_nothing_is_gone(tmp_path: Path) -> None:
    config = config_of(1, tmp_path, workers=WorkersConfig(spare=False, gone_seconds=0.3))
    with supervised(config, workers=1) as (_, puppets):
        until(lambda: len(puppets) > 1 and puppets[1].streams)


def test_a_model_that_cannot_be_loaded_ends_it(tmp_path: Path) -> None:
    puppet = Puppet(0, ready=False)
    puppet.say("unable", {"text": "no such model"})
    config = config_of(1, tmp_path)
    supervisor = Supervisor(config, lambda: puppet, 1, Results(config.results), lambda *news: None)
    supervisor.run(threading.Event())
    assert supervisor.failed == "no such model"


def test_a_supervisor_that_was_held_up_blames_no_worker() -> None:
    pool = WorkerPool(lambda: Puppet(1), 1, WorkersConfig(spare=False, gone_seconds=2.0))
    pool.fill()
    (post,) = pool.posts.values()
    post.ready = True
    pool.silent()
    post.heard -= 60.0
    pool._looked -= 60.0  # as if this process had not run for a minute
    assert not pool.silent()
    post.heard -= 60.0
    assert pool.silent()[0][0] is post, "here only the worker was silent"


def test_a_fresh_start_ignores_the_state_file(tmp_path: Path) -> None:
    state = StateConfig(str(tmp_path / "state"), 0.05)
    stream = {"source": "file.mp4", "targets": {"t": [1, 2, 3, 4]}}
    config = ServeConfig(
        streams={"f": parse_stream("f", stream, "the test")}, state=state, results=ResultsConfig(stdout=False)
    )
    write_state(tmp_path / "state", {"f": Saved(frame=7, live=False, config=stream, begun=["t"])})
    for fresh, frame in ((False, 7), (True, None)):
        supervisor = Supervisor(config, lambda: None, 1, Results(config.results), lambda *news: None, fresh=fresh)
        assert supervisor.entries["f"].saved.frame == frame
