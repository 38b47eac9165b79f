"""streams.yaml: what it may say, and how it answers to what it may not."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from tests.cli.helpers import write_video
from tests.conftest import moving_square
from tracker.cli import serve as command
from tracker.cli.common import run
from tracker.errors import BoxError, ConfigError, SiamTrackError
from tracker.serve.config import ServeConfig, stream_to_dict
from tracker.serve.config_file import load_serve_config, parse_stream
from tracker.serve.detections import fresh, read_detections
from tracker.serve.messages import Plan, is_kind, pack, plan_of, unpack
from tracker.serve.metrics import Counters
from tracker.serve.state import Saved, read_state, write_state


def yaml(folder: Path, text: str) -> Path:
    path = folder / "streams.yaml"
    path.write_text(text)
    return path


def test_a_full_file_is_read_with_its_types(tmp_path: Path) -> None:
    config = load_serve_config(
        yaml(
            tmp_path,
            """
model: siamtrack-n
tracking: {redetection: {tiles: 1}}
batch: {crops: 16, wait_ms: 2}
results: {stdout: false, mqtt: {host: broker, qos: 1}}
streams:
  gate:
    source: rtsp://user:secret@host/path
    live: yes
    targets: {car: [1, 2, 30, 40], dog: {box: [5, 6, 7, 8], frame: 3}}
    detections: {url: "http://127.0.0.1:1/boxes"}
    lost: drop
    record: {video: gate.mp4}
  camera: 0
  clip: clip.mp4
""",
        )
    )
    gate = config.streams["gate"]
    assert gate.live == "yes" and gate.targets["dog"].frame == 3 and gate.targets["car"].box == [1, 2, 30, 40]
    assert gate.detections is not None and gate.detections.every == 1.0
    assert config.streams["camera"].source == "0" and config.streams["clip"].source == "clip.mp4"
    assert config.results.mqtt is not None and config.results.mqtt.port == 1883 and config.results.mqtt.qos == 1
    assert plan_of(config).overrides == ["tracking.redetection.tiles=1"]
    assert Plan.from_dict(plan_of(config).to_dict()) == plan_of(config)
    assert parse_stream("gate", stream_to_dict(gate), "a message") == gate


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("streams: {a: {sorce: x.mp4}}", "Did you mean 'source'?"),
        ("streams: {a: {source: x.mp4, lost: serach}}", "Did you mean 'search'?"),
        ("streams: {a: {source: x.mp4, targets: {t: {bx: [1, 2, 3, 4]}}}}", "Did you mean 'box'?"),
        ("batch: {crop: 3}", "Did you mean 'batch.crops'?"),
        ("results: {mqtt: {hots: x}}", "Did you mean 'host'?"),
        ("streams: {a: {source: x.mp4, targets: {t: [1, 2, 3]}}}", "not x, y, w, h"),
        ("streams: {a: {source: x.mp4, targets: {t: {frame: 2}}}}", "one of `box"),
        ("streams: {a: {targets: {t: [1, 2, 3, 4]}}}", "needs `source"),
        ("streams: {'a b': x.mp4}", "letters, digits"),
        ("streams: {a: {source: x.mp4, detections: {every: 2}}}", "either `file` or `url`"),
        ("streams: {a: {source: x.mp4, detections: {url: 'file:///etc/passwd'}}}", "must begin with http"),
        ("streams: {a: {source: x.mp4, record: {boxes: x.txt}}}", ".csv or .jsonl"),
        ("batch: {crops: 0}", "batch.crops is 0; it must be a whole number from 1"),
        ("batch: {wait_ms: -1}", "batch.wait_ms is -1; it must be a finite number from 0"),
        ("batch: {crops: many}", "batch.crops is 'many', and must be a whole number, for example 64"),
        ("workers: {spare: }", "workers.spare has no value; write true or false behind it, for example true"),
        ("streams: {a: {source: x.mp4, targets: {t: [1, 2, 3, x]}}}", "box[3] is 'x', and must be a number"),
        ("results: {when_full: sometimes}", "results.when_full is 'sometimes'; it must be drop or wait"),
    ],
)
def test_what_is_wrong_is_said_with_the_next_step(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(ConfigError, match="In ") as error:
        load_serve_config(yaml(tmp_path, text))
    assert part in str(error.value)


def test_check_opens_every_source_and_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "a.mp4", moving_square(5)[0])
    path = yaml(
        tmp_path,
        f"""
streams:
  good: {{source: {tmp_path}/a.mp4, targets: {{t: [20, 30, 28, 28]}}}}
  outside: {{source: {tmp_path}/a.mp4, targets: {{t: [500, 500, 28, 28]}}}}
  dead: "tcp://127.0.0.1:9"
""",
    )
    assert run(command.main, [str(path), "--check"]) == 2
    said = capsys.readouterr().out
    assert "good: " in said and "160 x 120, 25 fps, 5 frames; every frame; 1 target" in said
    assert "outside: WRONG" in said and "dead: WRONG" in said


def test_a_missing_file_is_named_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command.main, [str(yaml(tmp_path, f"streams: {{a: {tmp_path}/none.mp4}}"))]) == 2
    assert "Stream 'a'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("workers: {decode: cudda}\nstreams: {a: 'rtsp://host/x'}", "workers.decode is 'cudda'"),
        ("engine: onxruntime\nstreams: {a: 'rtsp://host/x'}", "Did you mean 'onnxruntime'?"),
        ("streams: {}", "nothing to serve"),
        ("control: {address: 'x:y'}", "not an address to listen on"),
        ("results: {mqtt: {port: 99999}}", "from 1 to 65535"),
        ("model: siamtrack-x\nstreams: {a: 'rtsp://host/x'}", "Did you mean 'siamtrack-"),
        ("tracking: {redetect_tile: 1}\nstreams: {a: 'rtsp://host/x'}", "Did you mean 'tracking.redetection.tiles'"),
    ],
)
def test_what_only_shows_when_all_is_read_is_said_too(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(SiamTrackError) as error:
        command.main([str(yaml(tmp_path, text)), "--check"])
    assert part in str(error.value)


def test_messages_and_state_survive_the_way(tmp_path: Path) -> None:
    message = pack("add", {"x": [1, None, "é"]}, {"a": b"\x00\xff", "b": b""})
    assert unpack(message) == ("add", {"x": [1, None, "é"]}, {"a": b"\x00\xff", "b": b""})
    assert is_kind(message, "add") and not is_kind(message, "added")
    saved = {
        "gate": Saved(
            {"car": {"centre": [1.0, 2.0]}}, {"car": b"views"}, ["car", "gone"], 7, False, {"source": "x"}, True
        )
    }
    write_state(tmp_path / "state", saved)
    assert read_state(tmp_path / "state") == saved
    assert read_state(tmp_path / "absent") == {}
    for damaged in (b"", b"\x00\x00\x00\x05{", b"\xff" * 40, (tmp_path / "state").read_bytes()[:-3][:50]):
        (tmp_path / "state").write_bytes(damaged)
        with pytest.raises(Exception, match="can't be read"):
            read_state(tmp_path / "state")


def test_a_saved_target_is_moved_to_its_last_result() -> None:
    saved = Saved({"car": {"centre": [1.0, 2.0], "size": [3.0, 4.0], "age": 9}, "far": {"centre": [0.0, 0.0]}})
    moved = saved.moved_to({"car": [10.0, 20.0, 4.0, 6.0]})
    assert moved["car"]["centre"] == [12.0, 23.0] and moved["car"]["size"] == [4.0, 6.0] and moved["car"]["age"] == 9
    assert moved["far"] == {"centre": [0.0, 0.0]} and saved.targets["car"]["centre"] == [1.0, 2.0]


def test_detections_are_read_and_left_out_where_a_target_is(tmp_path: Path) -> None:
    lines = (
        '{"frame": 0, "box": [1, 2, 3, 4], "score": 0.9}\n{"frame": 0, "box": [9, 9, 3, 4], "score": '
        '0.1}\n{"frame": 2, "box": null}\n'
    )
    (tmp_path / "d.jsonl").write_text(lines)
    assert read_detections(tmp_path / "d.jsonl", 0.5) == {0: [[1, 2, 3, 4]]}
    (tmp_path / "d.txt").write_text("1,-1,11,21,30,40,0.8,-1,-1,-1\n3,-1,1,1,0,5,0.9\n")
    assert read_detections(tmp_path / "d.txt", 0.5) == {0: [[10, 20, 30, 40]]}
    (tmp_path / "d.txt").write_text("1,-1,11,21\n")
    with pytest.raises(BoxError, match="line 1"):
        read_detections(tmp_path / "d.txt", 0.5)
    assert fresh([[0, 0, 10, 10], [1, 1, 10, 10], [50, 50, 5, 5]], [[51, 50, 5, 5]], 0.3, 9) == [[0, 0, 10, 10]]
    assert fresh([[0, 0, 10, 10], [90, 0, 10, 10]], [[50, 50, 5, 5]], 0.3, 2) == [[0, 0, 10, 10]]


def test_counters_give_quantiles() -> None:
    counters = Counters(frames=3)
    assert counters.as_dict()["latency_ms"] == {"p50": None, "p95": None}
    counters.latencies.extend([0.01] * 99 + [1.0])
    assert counters.as_dict()["latency_ms"] == {"p50": 10.0, "p95": 10.0}


def test_every_field_is_explained() -> None:
    """docs/serve.md names each key of streams.yaml."""
    text = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
    values = asdict(ServeConfig())
    keys = {*values, *(key for part in values.values() if isinstance(part, dict) for key in part)}
    keys |= set(stream_to_dict(parse_stream("a", "x.mp4", "a test")))
    missing = sorted(key for key in keys if f"`{key}`" not in text)
    assert not missing
