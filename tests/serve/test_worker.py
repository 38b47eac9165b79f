"""A worker in this process: what it makes of files, of several streams at once, of a stream that breaks, and of what
it saved."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.helpers import write_video
from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.geometry import iou
from tracker.media.sources.open import open_source
from tracker.serve.config import BatchConfig, LimitsConfig
from tracker.serve.messages import Plan, pack, unpack
from tracker.serve.worker import StreamWorker
from tracker.tracking.multi import MultiTracker


def pictures(frames: int = 12, seed: int = 1, gone_from: int = 10_000) -> list[np.ndarray]:
    """Two things that move over a ground; the first is gone from a frame on."""
    back, one, two = ground(seed=seed), thing(seed=seed + 10), thing(seed=seed + 20)
    out = []
    for k in range(frames):
        image = put(back, two, 200 - 2 * k, 40 + 2 * k)
        out.append(put(image, one, 60 + 2 * k, 90) if k < gone_from else image)
    return out


BOXES = {"one": [60, 90, 28, 28], "two": [200, 40, 28, 28]}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for k in range(3):
        write_video(folder / f"{k}.mp4", pictures(seed=k))
    write_video(folder / "gone.mp4", pictures(30, gone_from=6))
    return folder


@contextmanager
def running(**plan: Any) -> Iterator[StreamWorker]:
    worker = StreamWorker(Plan(save_every=0.2, **plan), pixel_tracker())
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(20)
        assert worker.over


def add(worker: StreamWorker, name: str, source: object, targets: dict[str, Any] | None = None, **more: Any) -> None:
    order = {k: more.pop(k) for k in ("start", "saved", "begun") if k in more}
    parts = more.pop("parts", {})
    worker.handle(
        pack(
            "add", {"stream": name, "config": {"source": str(source), "targets": targets or {}, **more}, **order}, parts
        )
    )


def until(
    worker: StreamWorker, done: Callable[[str, dict[str, Any]], bool], seconds: float = 60
) -> list[tuple[str, dict[str, Any], dict[str, bytes]]]:
    """Messages up to the first for which `done` holds."""
    out, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            out.append(unpack(worker.outbox.get(timeout=1)))
        except queue.Empty:
            continue
        if done(*out[-1][:2]):
            return out
    raise AssertionError(f"it did not come; what came: {[m[:2] for m in out][-5:]}")


def results(messages: list[tuple[str, dict[str, Any], dict[str, bytes]]], stream: str) -> list[dict[str, Any]]:
    lines = [
        line
        for kind, values, _ in messages
        if kind == "results"
        for line in values["lines"]
        if line["stream"] == stream
    ]
    return [{k: v for k, v in line.items() if k not in ("time", "latency_ms", "waited_ms")} for line in lines]


def all_ended(count: int) -> Callable[[str, dict[str, Any]], bool]:
    ended: set[str] = set()

    def done(kind: str, values: dict[str, Any]) -> bool:
        if kind == "event" and values.get("state") in ("ended", "failed"):
            ended.add(values["stream"])
        return len(ended) == count

    return done


def test_files_give_what_the_tracker_gives_alone(clips: Path) -> None:
    with running() as worker:
        for k in range(3):
            add(worker, f"s{k}", clips / f"{k}.mp4", BOXES)
        messages = until(worker, all_ended(3))
    for k in range(3):
        alone = MultiTracker(pixel_tracker())
        with open_source(clips / f"{k}.mp4") as source:
            frames = list(source)
        alone.init(frames[0].image, list(BOXES.values()))
        got = results(messages, f"s{k}")
        assert [line["frame"] for line in got] == list(range(12))
        for line, frame in zip(got[1:], frames[1:], strict=True):
            tracks = alone.update(frame.image, index=frame.index, timestamp=frame.timestamp)
            assert [t["box"] for t in line["targets"]] == [[round(float(v), 3) for v in t.box] for t in tracks]
            assert [t["score"] for t in line["targets"]] == [round(float(t.score), 4) for t in tracks]


@pytest.mark.parametrize(
    "plan", [{"batch": BatchConfig(crops=3, wait_ms=0)}, {"batch": BatchConfig(call_crops=1)}, {"threads": 2}]
)
def test_settings_of_the_batch_change_no_result(clips: Path, plan: dict[str, Any]) -> None:
    def of(**settings: Any) -> list[list[dict[str, Any]]]:
        with running(**settings) as worker:
            for k in range(3):
                add(worker, f"s{k}", clips / f"{k}.mp4", BOXES)
            messages = until(worker, all_ended(3))
        return [results(messages, f"s{k}") for k in range(3)]

    assert of() == of(**plan)


@pytest.mark.parametrize("action", ["drop", "restart", "search"])
def test_what_becomes_of_a_lost_target(clips: Path, action: str) -> None:
    with running() as worker:
        add(worker, "s", clips / "gone.mp4", BOXES, lost=action, lost_seconds=0.3)
        messages = until(worker, all_ended(1))
    lines = results(messages, "s")
    states = {one["id"]: one["state"] for one in lines[-1]["targets"]}
    assert any(t["id"] == "one" and t["state"] == "lost" for line in lines for t in line["targets"])
    told = [values["text"] for kind, values, _ in messages if kind == "event" and values["about"] == "target"]
    if action == "search":
        assert states["one"] == "lost" and not told
    elif action == "drop":
        assert "one" not in states and "two" in states and "lost for 0.3 s: drop" in told[0]
    else:
        assert "lost for 0.3 s: restart" in told[0]
        assert any(
            t["id"] == "one" and t["box"] == BOXES["one"] and t["score"] == 1
            for line in lines[6:]
            for t in line["targets"]
        )


def test_a_restart_goes_on_where_a_file_was(clips: Path) -> None:
    with running() as worker:
        add(worker, "s", clips / "0.mp4", {**BOXES, "gone": {"box": [10, 10, 20, 20], "frame": 2}})
        messages = until(worker, lambda kind, values: kind == "results" and values["lines"][-1]["frame"] >= 5)
        worker.handle(pack("remove_target", {"stream": "s", "target": "gone"}))
        worker.handle(pack("remove", {"stream": "s", "keep": True}))
        messages += until(worker, lambda kind, values: kind == "saved" and "gone" not in values["targets"])
    _, saved, parts = messages[-1]
    last = max(line["frame"] for line in results(messages, "s"))
    assert saved["begun"] == ["one", "two"] or "gone" in saved["begun"]
    with running() as worker:
        add(
            worker, "s", clips / "0.mp4", {**BOXES, "gone": {"box": [10, 10, 20, 20], "frame": 2}},
            start=last + 1, saved=saved["targets"], begun=[*saved["begun"], "gone"], parts=parts,
        )  # fmt: skip
        after = results(until(worker, all_ended(1)), "s")
    assert [line["frame"] for line in after] == list(range(last + 1, 12))
    for line in after:
        k = line["frame"]
        truth = {"one": [60 + 2 * k, 90, 28, 28], "two": [200 - 2 * k, 40 + 2 * k, 28, 28]}
        assert {one["id"] for one in line["targets"]} == set(truth)
        assert all(iou(one["box"], truth[one["id"]]) > 0.6 for one in line["targets"])


def test_a_stream_that_breaks_takes_no_other_along(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(4000))
    limits = LimitsConfig(first_wait=0.05, pixels=320 * 240)
    with running(limits=limits) as worker:
        add(worker, "bad", tmp_path / "garbage.mp4", BOXES)
        add(worker, "dead", "tcp://127.0.0.1:9", BOXES, timeout=1)
        add(worker, "good", clips / "1.mp4", BOXES)
        over, waits = all_ended(2), list[str]()

        def done(kind: str, values: dict[str, Any]) -> bool:
            waits.extend(re.findall(r"tried again in (\S+) s", values.get("text", "")))
            return over(kind, values) and len(waits) >= 3

        messages = until(worker, done)
    assert [float(wait) for wait in waits] == sorted(float(wait) for wait in waits) and float(waits[-1]) >= 0.2
    states = [
        (values["stream"], values["state"])
        for kind, values, _ in messages
        if kind == "event" and values["about"] == "state"
    ]
    assert ("bad", "failed") in states and ("dead", "down") in states and ("good", "ended") in states
    assert len(results(messages, "good")) == 12


def test_a_picture_too_large_is_refused_and_named(clips: Path) -> None:
    with running(limits=LimitsConfig(pixels=1000)) as worker:
        add(worker, "big", clips / "0.mp4", BOXES)
        *_, (_, values, _) = until(worker, lambda kind, values: values.get("state") == "refused")
    assert "320 x 240 pixels, more than limits.pixels (1000)" in values["text"]


def test_detections_of_a_file_start_targets(clips: Path, tmp_path: Path) -> None:
    lines = [
        {"frame": 2, "box": [64, 90, 28, 28]},
        {"frame": 4, "box": [68, 90, 28, 28]},
        {"frame": 4, "box": [192, 48, 28, 28]},
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with running() as worker:
        add(worker, "s", clips / "0.mp4", detections={"file": str(tmp_path / "d.jsonl")})
        got = results(until(worker, all_ended(1)), "s")
    assert [line["frame"] for line in got] == list(range(2, 12))
    assert [[t["id"] for t in line["targets"]] for line in (got[0], got[2])] == [["d0"], ["d0", "d1"]]


@contextmanager
def detector(answer: Callable[[bytes], bytes]) -> Iterator[dict[str, Any]]:
    """The settings of a stream whose boxes come from an HTTP endpoint that answers a picture so."""

    class Detector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Detector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {"detections": {"url": f"http://127.0.0.1:{server.server_port}/", "every": 0.01}, "live": "yes"}
    finally:
        server.shutdown()
        server.server_close()


def test_detections_of_an_endpoint_start_targets(clips: Path) -> None:
    def answer(picture: bytes) -> bytes:
        assert picture[:2] == b"\xff\xd8"
        return json.dumps({"boxes": [[60, 90, 28, 28, 0.9], [0, 0, 5, 5, 0.1]]}).encode()

    with detector(answer) as settings, running() as worker:
        add(worker, "s", clips / "gone.mp4", **settings)
        messages = until(worker, lambda kind, values: kind == "results")
    assert [t["id"] for t in results(messages, "s")[0]["targets"]] == ["d0"]


def test_a_detector_that_does_not_answer_is_named_and_asked_again(clips: Path) -> None:
    answers = iter([b"nonsense", b'{"boxes": [[1, 2]]}'])
    with detector(lambda _: next(answers, b'{"boxes": [[60, 90, 28, 28]]}')) as settings, running() as worker:
        add(worker, "s", clips / "gone.mp4", **settings)
        messages = until(worker, lambda kind, values: kind == "results")
    told = [values["text"] for kind, values, _ in messages if values.get("about") == "detections"]
    assert "gave no boxes" in told[0] and told[-1] == "detections: answers again"


def test_a_picture_can_be_asked_for(clips: Path) -> None:
    with running() as worker:
        add(worker, "s", clips / "gone.mp4", BOXES, live="yes")
        until(worker, lambda kind, values: kind == "results")
        worker.handle(pack("picture", {"stream": "s", "number": 7}))
        *_, (_, values, parts) = until(worker, lambda kind, values: kind == "picture")
    assert values["number"] == 7 and parts["jpeg"][:2] == b"\xff\xd8"
