"""What is tried: for each room that reads something of a user's, a function that makes one hostile input and gives it
in."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.hostile import (
    Rng,
    anything,
    box,
    damaged_arrays,
    damaged_bytes,
    damaged_json,
    damaged_text,
    number,
    picture,
    word,
)
from tracker.settings import changed


class InvalidBox(AssertionError):
    """A tracker gave a box that is none."""


def check_track(track: Any) -> None:
    """Raises `InvalidBox` for a track that says nothing: not finite, no area, or a score outside of [0, 1]."""
    values = np.asarray(track.box, dtype=np.float64)
    if values.shape != (4,) or not np.isfinite(values).all() or not (values[2:] > 0).all() or not 0 <= track.score <= 1:
        raise InvalidBox(f"box {track.box} score {track.score}")


class Bench:
    """What the rooms share: a folder, a tracker, and whole files to damage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def tracker(self) -> Any:
        from tracker import SiamTracker

        return SiamTracker.from_pretrained("siamtrack-n", "cpu", engine="onnxruntime")

    @cached_property
    def classic(self) -> Any:
        from tracker import SiamTracker

        return SiamTracker.from_pretrained("siamfc-alexnet", "cpu", engine="onnxruntime")

    @cached_property
    def multi(self) -> Any:
        from tracker.tracking.multi import MultiTracker

        return MultiTracker(self.tracker, threads=1)

    @cached_property
    def frames(self) -> list[np.ndarray]:
        from tests.conftest import moving_square

        return moving_square(6)[0]

    @cached_property
    def target(self) -> dict[str, np.ndarray]:
        self.tracker.init(self.frames[0], (20, 30, 28, 28))
        self.tracker.save_target(self.folder / "target.npz")
        with np.load(self.folder / "target.npz") as data:
            return {key: data[key] for key in data.files}

    @cached_property
    def checkpoint(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        from tests.cli.helpers import tiny_model
        from tracker.model.checkpoint import HEADER, read_safetensors

        metadata, state = read_safetensors(tiny_model(self.folder / "tiny.safetensors"))
        return state, json.loads(metadata[HEADER])

    @cached_property
    def record(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        n = 5
        arrays = {
            "boxes": np.ones((n, 4)),
            "truth": np.ones((n, 4)),
            "valid": np.ones(n, bool),
            "lost": np.zeros(n, bool),
        }
        arrays |= {name: np.ones(n) for name in ("times", "decode_times", "scores")} | {"attribute_0": np.ones(n, bool)}
        meta = {
            "tracker": "t",
            "dataset": "d",
            "sequence": "s",
            "size": [9, 9],
            "object_class": "",
            "frames": ["a.jpg"],
            "error": "",
        }
        return arrays, {**meta, "fingerprint": "f", "content": "c", "attributes": ["fast"], "format": 1}

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        curve = {"success": {"thresholds": [0.0, 0.5], "values": [1.0, None]}}
        sequence = {"sequence": "s", "frames": 3, "values": {"auc": 0.5}, "error": ""}
        table = {
            "tracker": "t",
            "overall": {"auc": 0.5},
            "curves": curve,
            "sequences": [sequence],
            "attributes": {"a": {"auc": 0.1}},
        }
        facts = {"format": 1, "dataset": "d", "protocol": "ope", "primary": ["auc"], "provenance": {"date": "today"}}
        return {**facts, "records": [], "trackers": [table]}

    @cached_property
    def shard(self) -> dict[str, np.ndarray]:
        labels = {
            "targets": np.ones((2, 1, 2), np.float32),
            "boxes": np.ones((2, 2, 4), np.float32),
            "tracks": np.arange(2),
        }
        labels |= {"kinds": np.zeros(2, np.int64), "present": np.ones((2, 2), bool)}
        return {
            **labels,
            "templates": np.zeros((2, 1, 4, 3, 3), np.float16),
            "searches": np.zeros((2, 2, 4, 5, 5), np.float16),
        }


Room = Callable[[Bench, Rng], None]


def api(bench: Bench, rng: Rng) -> None:
    """init, update, find, several targets and the loop, with anything as arguments."""
    from tracker import track
    from tracker.tracking.adapters import OpenCVTracker

    tracker = bench.tracker
    kind = int(rng.integers(8))
    if kind == 0:
        tracker.init(picture(rng), box(rng))
        check_track(tracker.update(picture(rng)))
    elif kind == 1:
        tracker.init(bench.frames[0], (20, 30, 28, 28))
        for index in (1, 2):
            given = (
                {"index": anything(rng)}
                if rng.random() < 0.3
                else {"timestamp": anything(rng)}
                if rng.random() < 0.3
                else {}
            )
            check_track(tracker.update(picture(rng) if rng.random() < 0.8 else bench.frames[index], **given))
    elif kind == 2:
        tracker.init(bench.frames[0], box(rng))
        for frame in bench.frames[1:3]:
            check_track(tracker.update(frame))
    elif kind == 3:
        before = list(bench.multi.targets)
        try:
            bench.multi.init(picture(rng), [box(rng), box(rng)] if rng.random() < 0.6 else anything(rng))
        except Exception:
            if list(bench.multi.targets) != before:
                raise InvalidBox("a refused init changed the targets") from None
            raise
        for one in bench.multi.update(picture(rng)):
            check_track(one)
    elif kind == 4:
        bench.multi.init(bench.frames[0], [(20, 30, 28, 28)])
        if rng.random() < 0.7:
            bench.multi.add(picture(rng), box(rng))
        else:
            bench.multi.drop(anything(rng))
    elif kind == 5:
        frames = [picture(rng) if rng.random() < 0.5 else f for f in bench.frames[:3]]
        source = frames if rng.random() < 0.7 else anything(rng)
        if not isinstance(source, int) or isinstance(source, bool):  # a number is a camera
            for one in track(source, box(rng), tracker=tracker, start=anything(rng) if rng.random() < 0.3 else 0):
                check_track(one)
    elif kind == 6:
        tracker.find(picture(rng), anything(rng))
    else:
        outside = OpenCVTracker(tracker)
        outside.init(picture(rng), box(rng))
        outside.update(picture(rng))


def settings(bench: Bench, rng: Rng) -> None:
    """One setting of any section with any value; if it is taken, two frames are tracked with it."""
    from tracker import SiamTracker
    from tracker.cli.settings import sections
    from tracker.settings import fields_of

    cls = sections()[int(rng.integers(len(sections())))] if rng.random() < 0.4 else sections()[2]
    names = fields_of(cls)  # type: ignore[arg-type]
    given = {}
    for _ in range(int(rng.integers(1, 4))):
        name, _, facts = names[int(rng.integers(len(names)))]
        edge = [v for v in (facts.low, facts.high) if v is not None]
        given[name] = edge[int(rng.integers(len(edge)))] if edge and rng.random() < 0.4 else anything(rng)
        if (
            facts.low is not None
            and float(facts.low).is_integer()
            and isinstance(given[name], float)
            and rng.random() < 0.5
        ):
            with contextlib.suppress(ValueError, OverflowError):
                given[name] = int(given[name])
    made = cls(**given)
    if cls.__name__ == "TrackingConfig":
        base = bench.tracker if rng.random() < 0.7 else bench.classic
        if not made.calibration.confidence:
            made = changed(
                made,
                {
                    "calibration.confidence": base.config.calibration.confidence,
                    "calibration.verification": made.calibration.verification or base.config.calibration.verification,
                },
            )
        tracker = SiamTracker(base.model, base.engine, made)
        tracker.init(bench.frames[0], (20, 30, 28, 28))
        for frame in (*bench.frames[1:3], np.zeros_like(bench.frames[0]), bench.frames[3]):
            check_track(tracker.update(frame))


def overrides(bench: Bench, rng: Rng) -> None:
    """`--set` texts."""
    from tracker.config import load_config
    from tracker.training.config import train_config
    from tracker.training.data.build import pair_config

    keys = (
        "tracking.scales",
        "tracking.context",
        "model.energy",
        "name",
        "train",
        "train.losses.0.weight",
        "train.data",
        "tracking",
        "",
        "x",
    )
    keys += (
        "tracking.calibration.confidence",
        "model",
        "train.optim.learning_rate",
        ".",
        "a.b.c",
        "tracking..x",
        "train.data.material.sources",
    )
    text = keys[int(rng.integers(len(keys)))] + "=" + (word(rng) if rng.random() < 0.7 else str(rng.normal()))
    texts = [damaged_text(text, rng) if rng.random() < 0.4 else text for _ in range(int(rng.integers(1, 3)))]
    config = load_config(None, texts if rng.random() < 0.95 else anything(rng))
    if config.train:
        train_config(config.train)
        pair_config(config.train.get("data", {}))


def yaml(bench: Bench, rng: Rng) -> None:
    """A recipe with lines that are no yaml, or no recipe."""
    from tracker.config import load_config
    from tracker.training.config import train_config
    from tracker.training.data.build import pair_config

    path = bench.folder / "recipe.yaml"
    recipes = sorted((Path(__file__).parents[2]).glob("**/siamtrack-n.yaml"))
    text = recipes[0].read_text()
    if rng.random() < 0.8:
        path.write_bytes(damaged_text(text, rng).encode("utf-8", "surrogatepass"))
    else:
        path.write_bytes(damaged_bytes(text.encode(), rng))
    config = load_config(path if rng.random() < 0.95 else anything(rng))
    train_config(config.train)
    pair_config(config.train.get("data", {}))


def checkpoints(bench: Bench, rng: Rng) -> None:
    """A checkpoint with another header, other arrays or damaged bytes."""
    from safetensors.numpy import save_file

    from tracker import SiamTracker
    from tracker.model.checkpoint import HEADER

    state, header = bench.checkpoint
    path = bench.folder / "model.safetensors"
    kind = int(rng.integers(4))
    if kind == 0:
        path.write_bytes(damaged_bytes((bench.folder / "tiny.safetensors").read_bytes(), rng))
    else:
        arrays = damaged_arrays(state, rng) if kind == 1 else state
        arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items() if value.dtype.kind in "fiub"}
        text = damaged_json(header, rng) if kind == 2 else word(rng) if kind == 3 else json.dumps(header)
        save_file(arrays, path, metadata={HEADER: text.encode("utf-8", "replace").decode()})
    tracker = SiamTracker.from_pretrained(path, "cpu", engine="onnxruntime")
    tracker.init(bench.frames[0], (20, 30, 28, 28))
    check_track(tracker.update(bench.frames[1]))


def train_checkpoints(bench: Bench, rng: Rng) -> None:
    """last.pt of a training run, and state dicts of others."""
    import torch

    from tracker.model.checkpoint import load_model
    from tracker.training.checkpoint import read_checkpoint

    path = bench.folder / "last.pt"
    buffer = io.BytesIO()
    torch.save(
        {"format": 1, "backbone.conv1.0.weight": [5, "x", torch.zeros(2)][int(rng.integers(3))], "step": 3}, buffer
    )
    path.write_bytes(damaged_bytes(buffer.getvalue(), rng))
    (read_checkpoint if rng.random() < 0.5 else load_model)(path)


def targets(bench: Bench, rng: Rng) -> None:
    """Saved targets."""
    arrays = bench.target
    path = bench.folder / "hostile.npz"
    kind = int(rng.integers(3))
    if kind == 0:
        path.write_bytes(damaged_bytes((bench.folder / "target.npz").read_bytes(), rng))
    else:
        if kind == 1:
            arrays = damaged_arrays(arrays, rng)
        else:
            text = damaged_json(json.loads(bytes(arrays["header"])), rng)
            arrays = {**arrays, "header": np.frombuffer(text.encode(), np.uint8)}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    check_track(bench.tracker.find(bench.frames[0], path))
    check_track(bench.tracker.update(bench.frames[1]))


def shards(bench: Bench, rng: Rng) -> None:
    """Shards of a training cache."""
    from tracker.training.data.shards import Shard

    buffer = io.BytesIO()
    np.savez(buffer, **(damaged_arrays(bench.shard, rng) if rng.random() < 0.5 else bench.shard))  # type: ignore[arg-type]
    data = buffer.getvalue()
    path = bench.folder / "shard.npz"
    path.write_bytes(data if rng.random() < 0.5 else damaged_bytes(data, rng))
    shard = Shard(path)
    for group in range(shard.samples):
        shard.view("searches", group, shard.views[1] - 1)


def records(bench: Bench, rng: Rng) -> None:
    """Records of an evaluation."""
    from tracker.metrics.result_store import load_result

    arrays, meta = bench.record
    kind = int(rng.integers(3))
    text = damaged_json(meta, rng) if kind == 0 else json.dumps(meta)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, meta=np.array(text), **(damaged_arrays(arrays, rng) if kind == 1 else arrays))  # type: ignore[arg-type]
    path = bench.folder / "record.npz"
    path.write_bytes(damaged_bytes(buffer.getvalue(), rng) if kind == 2 else buffer.getvalue())
    len(load_result(path))


def evaluations(bench: Bench, rng: Rng) -> None:
    """evaluation.json, read and printed."""
    from tracker.evaluation.summary import text_table
    from tracker.metrics.result_store import load_evaluation

    path = bench.folder / "evaluation.json"
    text = damaged_json(bench.evaluation, rng)
    path.write_bytes(damaged_bytes(text.encode(), rng) if rng.random() < 0.2 else text.encode())
    text_table(load_evaluation(path), attributes=True, sequences=True)


def datasets(bench: Bench, rng: Rng) -> None:
    """Folders of data sets with damaged annotations and lists."""
    from tracker.datasets.registry import load_dataset

    root = bench.folder / "data"
    shutil.rmtree(root, ignore_errors=True)
    rows = "\n".join(f"{k},2,30,40" for k in range(1, 4)) + "\n"
    eight = "\n".join("1,1,9,1,9,9,1,9" for _ in range(3)) + "\n"
    layouts: dict[str, dict[str, str]] = {
        "otb": {"A/groundtruth_rect.txt": rows, "attributes.json": '{"A": ["IV"]}'},
        "vot": {"list.txt": "A\n", "A/groundtruth.txt": eight, "A/occlusion.tag": "0\n1\n0\n"},
        "got10k": {
            "val/list.txt": "A\n",
            "val/A/groundtruth.txt": rows,
            "val/A/cover.label": "8\n8\n0\n",
            "val/A/meta_info.ini": "resolution: (9, 9)\n",
        },
        "nfs": {"A/30/A.txt": "0 1 2 30 40\n" * 3},
        "tcolor128": {"A/A_gt.txt": rows, "A/A_frames.txt": "1,3"},
        "trackingnet": {"TEST/anno/A.txt": "1,2,30,40\n"},
        "folder": {"A/boxes.txt": rows},
        "dtb70": {"A/groundtruth_rect.txt": rows},
    }
    pictures = {
        "otb": "A/img",
        "vot": "A",
        "got10k": "val/A",
        "nfs": "A/30/A",
        "tcolor128": "A/img",
        "trackingnet": "TEST/frames/A",
    }
    key = list(layouts)[int(rng.integers(len(layouts)))]
    files = {name: text.encode() for name, text in layouts[key].items()}
    name = list(files)[int(rng.integers(len(files)))]
    changed = damaged_text(files[name].decode(), rng).encode("utf-8", "surrogatepass")
    files[name] = changed if rng.random() < 0.7 else damaged_bytes(files[name], rng)
    odd = ["\u00b2.jpg", "9" * 200 + ".jpg", "x.jpg"] if rng.random() < 0.2 else []
    places = [pictures.get(key, "A/img" if key == "dtb70" else "A")]
    for path in [f"{p}/{n}" for p in places for n in ("0001.jpg", "0002.jpg", "0003.jpg", *odd)]:
        files[path] = b"x"
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    pattern = None if rng.random() < 0.8 else word(rng)
    data = load_dataset(key, root, "2018" if key == "vot" else None, pattern)
    for sequence in data.sequences:
        sequence.content()


def box_files(bench: Bench, rng: Rng) -> None:
    """Box files of every kind."""
    from tracker.media.box_files import read_all_boxes

    rows = "\n".join(f"{k},2.5,30,40" for k in range(4)) + "\n"
    csv = "frame,time,x,y,w,h,score,state\n" + "\n".join(f"{k},0.1,1,2,3,4,0.9,tracking" for k in range(3)) + "\n"
    mot = "\n".join(f"{k},1,10,20,30,40,1,-1,-1,-1" for k in range(1, 4)) + "\n"
    jsonl = "\n".join(json.dumps({"frame": k, "box": [1, 2, 3, 4]}) for k in range(3)) + "\n"
    text, suffix = ((rows, ".txt"), (csv, ".csv"), (mot, ".txt"), (jsonl, ".jsonl"), (rows, ".csv"))[
        int(rng.integers(5))
    ]
    path = bench.folder / f"boxes{suffix}"
    damaged = damaged_text(text, rng).encode("utf-8", "surrogatepass")
    path.write_bytes(damaged if rng.random() < 0.7 else damaged_bytes(text.encode(), rng))
    read_all_boxes(path)


COMMANDS = (
    "track",
    "live",
    "train",
    "prepare",
    "finetune",
    "ablate",
    "evaluate",
    "report",
    "tune",
    "export",
    "benchmark",
    "verify",
    "calibrate",
)
COMMANDS += ("stress", "settings", "doctor")
OPTIONS = (
    "--box",
    "--model",
    "--config",
    "--set",
    "--device",
    "--engine",
    "--start-frame",
    "--max-frames",
    "--output",
    "--save-boxes",
)
OPTIONS += (
    "--dataset",
    "--root",
    "--subset",
    "--sequences",
    "--workers",
    "--tracker",
    "--init-file",
    "--find",
    "--steps",
    "--seed",
    "--help",
)
OPTIONS += ("--version", "--results", "--resume", "--check-zip", "--markdown", "--nonsense", "-x", "--")


def command_line(rng: Rng) -> list[str]:
    """The words of a command line that nobody could mean."""
    name = COMMANDS[int(rng.integers(len(COMMANDS)))] if rng.random() < 0.95 else word(rng)
    values = (
        "clip.mp4",
        "1,2,3,4",
        "1,2,3",
        "nan,0,0,0",
        "no/such/file",
        "siamtrack-n",
        "otb",
        "got10k",
        ".",
        "/dev/null",
        "-5",
        "tracking.scales=[",
    )
    words = [name]
    for _ in range(int(rng.integers(0, 6))):
        words.append(OPTIONS[int(rng.integers(len(OPTIONS)))])
        if rng.random() < 0.8:
            words.append(values[int(rng.integers(len(values)))] if rng.random() < 0.6 else word(rng))
    # What would look for cameras, draw windows or measure this machine for minutes is another matter than a wrong word.
    if name in ("live", "benchmark", "doctor"):
        words.append("--nonsense")
    return [w.replace("\x00", "").encode("utf-8", "replace").decode() for w in words]


def commands(bench: Bench, rng: Rng) -> None:
    """`siamtrack COMMAND ...` in this process."""
    import sys

    from tracker.cli.__main__ import main

    words = command_line(rng)
    argv, out = sys.argv, io.StringIO()
    with contextlib.chdir(bench.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            sys.argv = ["siamtrack", *words]
            code: Any = main(words)
        except SystemExit as stop:
            code = stop.code
        finally:
            sys.argv = argv
    if code not in (0, 1, 2):
        raise AssertionError(f"exit code {code} of {words}")


ROOMS: dict[str, tuple[Room, float]] = {
    "api": (api, 1.0),
    "settings": (settings, 0.5),
    "overrides": (overrides, 2.0),
    "yaml": (yaml, 0.3),
    "checkpoints": (checkpoints, 0.1),
    "train checkpoints": (train_checkpoints, 0.3),
    "targets": (targets, 0.3),
    "shards": (shards, 4.0),
    "records": (records, 4.0),
    "evaluations": (evaluations, 4.0),
    "data set folders": (datasets, 2.0),
    "box files": (box_files, 2.0),
    "command lines": (commands, 0.1),
}
"""Name -> what makes one input, and its share of them: the dearer ones get fewer."""


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """A bench in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        yield Bench(Path(folder))


__all__ = ["ROOMS", "Bench", "InvalidBox", "bench", "check_track", "command_line", "number"]
