"""Who listens to the results of `serve`: slow ones, an MQTT broker."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tracker.serve import synthetic
from tracker.serve.config import MqttConfig, ResultsConfig
from tracker.serve.listeners import Listener, Results


def test_a_slow_listener_loses_lines_and_slows_nobody() -> None:
    gate = threading.Event()

    class Slow(Listener):
        def write(self, lines: list[tuple[str, bytes]]) -> None:
            gate.wait(20)

    results = Results(ResultsConfig(stdout=False))
    slow = Slow("slow", 5)
    slow.start()
    results.listeners.append(slow)
    began = time.monotonic()
    for k in range(1000):
        results.put({"stream": "a", "frame": k})
    assert time.monotonic() - began < 5
    assert results.counts()["slow"]["missed"] >= 1000 - 2 * 256
    gate.set()
    results.finish()
    counts = results.counts()["slow"]
    assert counts["written"] + counts["missed"] == 1000


def test_a_listener_that_waits_loses_nothing(tmp_path: Path) -> None:
    results = Results(ResultsConfig(stdout=False, file=str(tmp_path / "r.jsonl"), queue=2, when_full="wait"))
    for k in range(500):
        results.put({"stream": "a", "frame": k})
    results.finish()
    assert [json.loads(line)["frame"] for line in (tmp_path / "r.jsonl").read_text().splitlines()] == list(range(500))


@pytest.mark.skipif(
    shutil.which("mosquitto") is None and not Path("/usr/sbin/mosquitto").exists(), reason="needs mosquitto"
)
def test_an_mqtt_broker_that_dies_and_comes_back() -> None:
    mqtt = pytest.importorskip("paho.mqtt.client")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"

    def broker() -> subprocess.Popen[bytes]:
        return subprocess.Popen([program, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    got: list[tuple[str, int]] = []
    reader = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    reader.on_connect = lambda client, *rest: client.subscribe("cameras/#")
    reader.on_message = lambda client, data, message: got.append((message.topic, json.loads(message.payload)["frame"]))
    reader.reconnect_delay_set(1, 1)
    results = Results(ResultsConfig(stdout=False, mqtt=MqttConfig(port=port, topic="cameras")))
    frame = 0

    def until_more() -> None:
        nonlocal frame
        before, end = len(got), time.monotonic() + 60
        while len(got) == before and time.monotonic() < end:
            results.put({"stream": "gate", "frame": frame})
            frame += 1
            time.sleep(0.02)
        assert len(got) > before

    process = broker()
    try:
        reader.connect_async("127.0.0.1", port)
        reader.loop_start()
        until_more()
        assert got[0][0] == "cameras/gate"
        process.kill()
        process.wait()
        end = time.monotonic() + 30
        while not results.counts()["mqtt"]["problem"] and time.monotonic() < end:
            time.sleep(0.02)
        missed = results.counts()["mqtt"]["missed"]
        for _ in range(20):
            results.put({"stream": "gate", "frame": frame})
        while results.counts()["mqtt"]["missed"] < missed + 20 and time.monotonic() < end:
            time.sleep(0.02)
        assert results.counts()["mqtt"]["missed"] >= missed + 20 and "is lost" in results.counts()["mqtt"]["problem"]
        process = broker()
        until_more()
        assert results.counts()["mqtt"]["problem"] == ""
    finally:
        reader.loop_stop()
        results.finish()
        process.kill()
        process.wait()


def test_the_clock_in_a_synthetic_stream_can_be_read() -> None:
    import cv2
    import numpy as np

    image = np.full((192, 320, 3), 90, np.uint8)
    for number in (0, 1, 170, synthetic.LOOP - 1):
        synthetic.draw_clock(image, number)
        _, data = cv2.imencode(".jpg", image)
        assert synthetic.read_clock(cv2.imdecode(data, cv2.IMREAD_COLOR)) == number
