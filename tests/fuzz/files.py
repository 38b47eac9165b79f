"""Rooms that read a file of a user: checkpoints, targets, shards, results, data sets, boxes."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np

from tests.fuzz.bench import Bench, check_track
from tests.fuzz.hostile import (
    Rng,
    damaged_arrays,
    damaged_bytes,
    damaged_json,
    damaged_text,
    word,
)


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
