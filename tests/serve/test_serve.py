"""`siamtrack serve` as a user runs it: results, ends, a killed worker, control over HTTP, listeners that are slow or
absent."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import ROOT, environment, frames_in, tiny_model, write_video
from tests.conftest import moving_square
from tracker.serve import failover

BOX = [20, 30, 28, 28]
TOKEN = "a token that nobody guesses"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model and five clips."""
    folder = tmp_path_factory.mktemp("serve")
    tiny_model(folder / "tiny.safetensors")
    for k in range(5):
        write_video(folder / f"{k}.mp4", moving_square(12, seed=k)[0])
    write_video(folder / "long.mp4", moving_square(30, width=240, height=180)[0] * 40)
    return folder


class Service:
    """A running `siamtrack serve`; its results are read by a thread."""

    def __init__(self, folder: Path, config: dict[str, Any], *options: str) -> None:
        (folder / "streams.yaml").write_text(
            json.dumps({"model": str(folder / "tiny.safetensors"), **config})
        )  # JSON is yaml
        command = [sys.executable, "-m", "tracker.cli", "serve", str(folder / "streams.yaml"), *options]
        env = environment(
            PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), SIAMTRACK_SERVE_TOKEN=TOKEN
        )
        self.process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[dict[str, Any]] = []
        self.said = ""
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            self._news.put(None)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            self._news.put(None)

    def until(self, done: Callable[[], Any], seconds: float = 120) -> Any:
        """Waits until something holds."""
        end = time.monotonic() + seconds
        while not (answer := done()):
            if time.monotonic() > end or (self.process.poll() is not None and self._news.empty()):
                raise AssertionError(f"it did not come; exit code {self.process.poll()}; said: {self.said[-2000:]}")
            try:
                self._news.get(timeout=0.2)
            except queue.Empty:
                continue
        return answer

    def results(self, stream: str) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line["stream"] == stream and "targets" in line]

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Any:
        """A request to the control address; JSON or bytes."""
        base = self.until(lambda: re.search(r"status page: (http://\S+?/)\?token=", self.said)).group(1)
        data = None if body is None else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers}
        with urllib.request.urlopen(
            urllib.request.Request(base + path, data, given, method=method), timeout=30
        ) as answer:
            raw = answer.read()
            return json.loads(raw) if answer.headers["Content-Type"].startswith("application/json") else raw


@contextmanager
def serving(folder: Path, config: dict[str, Any], *options: str) -> Iterator[Service]:
    service = Service(folder, config, *options)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.terminate()
            try:
                service.process.wait(60)
            except subprocess.TimeoutExpired:
                service.process.kill()


@contextmanager
def live_stream(rate: int = 25) -> Iterator[int]:
    """A small synthetic live stream; its port."""
    command = [sys.executable, "-m", "tracker.cli.synthetic", "--width=320", "--height=192", f"--rate={rate}"]
    env = environment(PYTHONPATH=str(ROOT))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline().split()[0])
        finally:
            server.kill()


def test_five_files_as_streams(place: Path, tmp_path: Path) -> None:
    streams = {f"s{k}": {"source": str(place / f"{k}.mp4"), "targets": {"t": BOX}} for k in range(5)}
    streams["s0"]["record"] = {"video": str(tmp_path / "rec/s0.mp4"), "boxes": str(tmp_path / "rec/s0.csv")}
    shutil.copy(place / "tiny.safetensors", tmp_path)
    with serving(tmp_path, {"streams": streams, "workers": {"count": 2, "spare": False}}) as service:
        assert service.process.wait(180) == 0
        service.until(lambda: all(len(service.results(name)) == 12 for name in streams), 10)
    for name in streams:
        lines = service.results(name)
        assert [line["frame"] for line in lines] == list(range(12))
        assert lines[0]["targets"] == [{"id": "t", "box": BOX, "score": 1.0, "state": "tracking"}]
    assert frames_in(tmp_path / "rec/s0.mp4") == 12
    assert len((tmp_path / "rec/s0.csv").read_text().splitlines()) == 13


@pytest.mark.slow
def test_a_worker_that_is_killed_and_sigterm(place: Path, tmp_path: Path) -> None:
    """kill -9 of the worker: live and file go on, each file frame has its result; SIGTERM finishes recordings and
    writes the state."""
    shutil.copy(place / "tiny.safetensors", tmp_path)
    with live_stream() as port:
        config = {
            "workers": {"count": 1},
            "state": {"file": str(tmp_path / "state"), "every": 0.3},
            "control": {"address": "127.0.0.1:0"},
            "streams": {
                "live": {
                    "source": f"tcp://127.0.0.1:{port}",
                    "targets": {"t": [100, 60, 40, 40]},
                    "record": {"video": "live.mp4"},
                },
                "file": {"source": str(place / "long.mp4"), "targets": {"t": BOX}},
            },
        }
        with serving(tmp_path, config) as service:
            service.until(lambda: len(service.results("live")) > 10 and len(service.results("file")) > 10)
            state = service.ask("api/state")
            service.until(lambda: any(w["spare"] and w["ready"] for w in service.ask("api/state")["workers"]))
            (worker,) = [w for w in state["workers"] if not w["spare"]]
            os.kill(worker["pid"], signal.SIGKILL)
            before = len(service.results("live")), len(service.results("file"))
            service.until(
                lambda: len(service.results("live")) > before[0] + 10 and len(service.results("file")) > before[1] + 10
            )
            state = service.ask("api/state")
            assert state["worker_deaths"] == 1 and all(s["moves"] == 1 for s in state["streams"])
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(90) == 143
        frames = [line["frame"] for line in service.results("file")]
        assert frames == list(range(len(frames))), "no frame of a file is left out or told twice"
        assert frames_in(tmp_path / "live.mp4") > 0 and frames_in(tmp_path / "live-2.mp4") > 0
        with serving(tmp_path, config) as service:
            first = service.until(lambda: service.results("file"))[0]
        assert first["frame"] == frames[-1] + 1


def test_control_over_http(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "tiny.safetensors", tmp_path)
    config = {"workers": {"count": 1, "spare": False}, "control": {"address": "127.0.0.1:0"}, "stay": True}
    with serving(tmp_path, config) as service:
        stream = {"source": str(place / "long.mp4"), "targets": {"a": BOX}, "live": "yes"}
        assert service.ask("api/streams/one", "PUT", stream) == {"stream": "one", "done": "put"}
        service.until(lambda: service.results("one"))
        service.ask("api/streams/one/targets/b", "PUT", {"box": [40, 50, 20, 20]})
        service.until(lambda: {t["id"] for t in service.results("one")[-1]["targets"]} == {"a", "b"})
        service.ask("api/streams/one/targets/a", "DELETE")
        service.until(lambda: {t["id"] for t in service.results("one")[-1]["targets"]} == {"b"})
        assert service.ask("api/streams/one/picture")[:2] == b"\xff\xd8"
        service.until(lambda: service.ask("api/streams/one")["frames"] > 0)
        state = service.ask("api/streams/one")
        assert state["state"] == "live" and state["width"] == 240 and state["frames"] > 0
        page = service.ask("")
        assert b"<title>SiamTrack: streams</title>" in page and b"api/state" in service.ask("static/status.js")
        try:
            import prometheus_client  # noqa: F401

            assert b'siamtrack_stream_tracked_total{stream="one"}' in service.ask("metrics", Authorization="")
        except ImportError:
            pass
        wrong = {
            (401, "token"): ("api/state", "GET", None, {"Authorization": "Bearer guess"}),
            (403, "page"): ("api/streams/one", "DELETE", None, {"Origin": "http://elsewhere"}),
            (400, "Did you mean 'source'"): ("api/streams/two", "PUT", {"sourc": "x"}, {}),
            (400, "no such file"): ("api/streams/two", "PUT", {"source": "none.mp4"}, {}),
            (400, "below the folder"): ("api/streams/two", "PUT", {**stream, "record": {"video": "/etc/x.mp4"}}, {}),
            (404, "Did you mean 'one'"): ("api/streams/onee", "GET", None, {}),
            (409, "no target"): ("api/streams/one/targets/zz", "DELETE", None, {}),
        }
        for (status, part), (path, method, body, headers) in wrong.items():
            with pytest.raises(urllib.error.HTTPError) as error:
                service.ask(path, method, body, **headers)
            assert error.value.code == status and part in json.loads(error.value.read())["error"]
        service.ask("api/streams/one", "DELETE")
        assert service.ask("api/state")["streams"] == []


def test_a_reader_that_goes_away_ends_it(place: Path, tmp_path: Path) -> None:
    """`siamtrack serve streams.yaml | head -1` ends by itself, without a word of complaint."""
    config = {
        "model": str(place / "tiny.safetensors"),
        "workers": {"count": 1, "spare": False},
        "streams": {"one": {"source": str(place / "long.mp4"), "targets": {"a": BOX}}},
    }
    (tmp_path / "streams.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "tracker.cli", "serve", "streams.yaml", "--quiet"]
    env = environment(PYTHONPATH=str(ROOT))
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    assert json.loads(process.stdout.readline())["stream"] == "one"
    process.stdout.close()
    assert process.wait(120) == 0
    assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
def test_what_a_killed_worker_costs_its_streams(place: Path) -> None:
    """The bound is generous, for busy machines; `python -m tracker.cli.failover` prints what it is."""
    with live_stream() as port:
        (gaps,) = failover.measure(port, 2, 1, 1, str(place / "tiny.safetensors"))
    assert set(gaps) == {"s0", "s1"} and max(gaps.values()) < 20
    sys.stderr.write(f"without a result: {gaps}\n")
