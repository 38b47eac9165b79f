"""`siamtrack serve --ray` on a local cluster of two nodes: the same results to the bit, and a node that dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import ROOT, environment, tiny_model, write_video
from tests.conftest import moving_square
from tests.serve.test_serve import BOX, live_stream, serving

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def ray_environment(folder: Path) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    more = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "ray-token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
    }
    return environment(PYTHONPATH=paths, **more)


class Nodes:
    """Nodes of a cluster, as `ray start --block` in process groups of their own."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._folder, self.processes = folder, []  # type: tuple[Path, list[subprocess.Popen[bytes]]]
        port, short = self.address.split(":")[1], tempfile.mkdtemp(prefix="r", dir="/tmp")  # sockets have short names
        self._start(
            "--head",
            f"--port={port}",
            "--node-ip-address=127.0.0.1",
            "--include-dashboard=false",
            f"--temp-dir={short}",
        )
        self._wait()

    def _start(self, *options: str) -> None:
        command = [
            *RAY,
            "start",
            "--block",
            "--num-cpus=1",
            "--object-store-memory=100000000",
            "--disable-usage-stats",
            *options,
        ]
        log = open(self._folder / f"ray-{len(self.processes)}.log", "wb")
        self.processes.append(
            subprocess.Popen(
                command, env=ray_environment(self._folder), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        )

    def add(self) -> None:
        """One more node."""
        self._start(f"--address={self.address}", "--node-ip-address=127.0.0.1")

    def _wait(self) -> None:
        host, port = self.address.split(":")
        end = time.monotonic() + 300
        while time.monotonic() < end:
            with socket.socket() as sock:
                if sock.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.2)
        raise AssertionError("the head node did not start")

    def kill(self, index: int) -> None:
        """kill -9 of a node with all that runs on it."""
        os.killpg(self.processes[index].pid, signal.SIGKILL)
        self.processes[index].wait()


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    (tmp_path / "ray-token").write_text("0123456789abcdef" * 4)
    for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(key, ray_environment(tmp_path)[key])
    cluster = Nodes(tmp_path)
    cluster.add()
    try:
        yield cluster
    finally:
        for k, process in enumerate(cluster.processes):
            if process.poll() is None:
                cluster.kill(k)


def plain(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in ("time", "latency_ms", "waited_ms")} for line in lines]


def test_the_same_to_the_bit_and_a_node_that_dies(tmp_path: Path, nodes: Nodes) -> None:
    tiny_model(tmp_path / "tiny.safetensors")
    streams = {}
    for k in range(3):
        write_video(tmp_path / f"{k}.mp4", moving_square(12, seed=k)[0])
        streams[f"s{k}"] = {"source": str(tmp_path / f"{k}.mp4"), "targets": {"t": BOX}}
    out = []
    for options in ([], ["--ray", nodes.address]):
        with serving(
            tmp_path, {"streams": streams, "workers": {"count": 2, "spare": False, "gone_seconds": 30}}, *options
        ) as service:
            assert service.process.wait(300) == 0, service.said
            service.until(lambda: all(len(service.results(name)) == 12 for name in streams), 10)
            out.append({name: plain(service.results(name)) for name in streams})
    assert json.dumps(out[0]) == json.dumps(out[1])

    with live_stream() as port:
        live = {f"v{k}": {"source": f"tcp://127.0.0.1:{port}", "targets": {"t": [100, 60, 40, 40]}} for k in range(2)}
        config = {"streams": live, "workers": {"count": 2, "gone_seconds": 30}, "control": {"address": "127.0.0.1:0"}}
        with serving(tmp_path, config, "--ray", nodes.address) as service:
            service.until(lambda: all(len(service.results(name)) > 10 for name in live), 300)
            until_spread = lambda: len({s["worker"] for s in service.ask("api/state")["streams"]}) == 2  # noqa: E731
            service.until(until_spread, 200)
            service.until(lambda: all(service.results(name)[-1]["time"] > time.time() - 5 for name in live), 100)
            placed = {one["name"]: one["worker"] for one in service.ask("api/state")["streams"]}
            assert len(set(placed.values())) == 2, "a stream on each node"
            nodes.kill(1)
            killed = time.time()
            service.until(lambda: service.ask("api/state")["worker_deaths"] > 0, 60)
            moved = service.until(
                lambda: next((s["name"] for s in service.ask("api/state")["streams"] if s["moves"]), None)
            )
            service.until(lambda: service.results(moved)[-1]["time"] > killed + 5)
            gap = next(line["time"] for line in service.results(moved) if line["time"] > killed + 0.5) - killed
            sys.stderr.write(f"the streams of the dead node went on after {gap:.1f} s\n")
            assert service.ask("api/state")["streams"][0]["worker"] == service.ask("api/state")["streams"][1]["worker"]
