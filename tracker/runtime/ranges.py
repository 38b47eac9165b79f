"""The calibrated ranges of a model's layers: what int8 needs beside the weights, in a small file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tracker.errors import WeightsError, reading
from tracker.files import write_atomic
from tracker.model.checkpoint import fingerprint
from tracker.runtime.onnx.network import Ranges

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel

SUFFIX = ".int8.json"


def ranges_file(model: LoadedModel) -> Path | None:
    """Path of a model's ranges: NAME.int8.json beside NAME.safetensors; None for a model without a file."""
    return None if model.path is None else model.path.with_suffix(SUFFIX)


def load_ranges(model: LoadedModel) -> Ranges | None:
    """The ranges of a model's layers, or None where it was not calibrated for int8.

    Raises:
        WeightsError: The file is damaged, or belongs to other weights.
    """
    path = ranges_file(model)
    if path is None or not path.is_file():
        return None
    damaged = f"The int8 ranges {path} can't be read"
    with reading(
        lambda why: WeightsError(
            f"{damaged} ({why}); calibrate again with siamtrack export --int8, or remove the file."
        )
    ):
        stored = json.loads(path.read_text(encoding="utf-8"))
        digest = str(stored["weights"])
        ranges = Ranges(
            {str(layer): (float(low), float(high)) for layer, (low, high) in stored["ranges"].items()},
            {str(layer): np.array(values, np.float64) for layer, values in stored["means"].items()},
            {str(block): np.array(values, np.float64) for block, values in stored["frames"].items()},
        )
        _check(ranges)
    if digest != fingerprint(model):
        raise WeightsError(
            f"The int8 ranges {path} were calibrated on other weights; calibrate again with "
            "siamtrack export --int8, or remove the file."
        )
    return ranges


def int8_cost(model: LoadedModel) -> float | None:
    """The loss of accuracy by int8 (mean overlap or AUC) according to the file of ranges; None if it was not measured.

    Raises:
        WeightsError: The file is damaged, or belongs to other weights.
    """
    path = ranges_file(model)
    if path is None or load_ranges(model) is None:
        return None
    cost = json.loads(path.read_text(encoding="utf-8")).get("cost")
    return float(cost) if isinstance(cost, int | float) and math.isfinite(cost) else None


def save_ranges(
    path: Path, model: LoadedModel, ranges: Ranges, notes: Mapping[str, Any], cost: float | None = None
) -> None:
    """Writes the ranges of a model's layers, atomically.

    Args:
        path: NAME.int8.json.
        model: The model that they belong to.
        ranges: Lowest and highest value of each layer.
        notes: How they were determined.
        cost: The loss of accuracy by int8, or None if it was not measured.
    """
    content = {
        "weights": fingerprint(model),
        "cost": cost,
        "notes": dict(notes),
        "ranges": {layer: _rounded(pair) for layer, pair in ranges.limits.items()},
        "means": {layer: _rounded(values) for layer, values in ranges.means.items()},
        "frames": {block: [_rounded(row) for row in rows] for block, rows in ranges.frames.items()},
    }
    # One line per entry: can be read and compared by eye, without thousands of lines.
    parts = [
        f" {json.dumps(key)}: "
        + (
            "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "\n }"
            if isinstance(value, dict) and key != "notes"
            else json.dumps(value)
        )
        for key, value in content.items()
    ]
    write_atomic(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _check(ranges: Ranges) -> None:
    """Raises ValueError unless the numbers are usable."""
    if not all(map(math.isfinite, (value for pair in ranges.limits.values() for value in pair))):
        raise ValueError("a range is not finite")
    if not all(mean.ndim == 1 and np.isfinite(mean).all() for mean in ranges.means.values()):
        raise ValueError("a mean is not finite")
    if not all(
        frame.ndim == 2 and len(frame) == 2 and np.isfinite(frame).all() and (frame[1] > 0).all()
        for frame in ranges.frames.values()
    ):
        raise ValueError("a frame is not a shift and a positive scale for each channel")
