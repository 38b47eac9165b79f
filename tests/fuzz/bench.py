"""What every room of the fuzz has at hand: a folder, pictures, small models, trackers; and what a track must be."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np


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


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """A bench in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        yield Bench(Path(folder))
