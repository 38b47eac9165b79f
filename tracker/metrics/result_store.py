"""Storage of an evaluation: tables as json without NaN, boxes of each sequence as npz; and access to the frames of a
result."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import ImageError, SourceError, reading, shown
from tracker.files import write_atomic
from tracker.media.containers import VIDEO_SUFFIXES
from tracker.metrics.bootstrap import Interval
from tracker.metrics.results import (
    ARRAYS,
    METRICS,
    OPTIONAL,
    TEXTS,
    Curve,
    Evaluation,
    SequenceMetrics,
    SequenceResult,
    TrackerMetrics,
)
from tracker.types import Image

logger = logging.getLogger(__name__)

FORMAT = 1


def _numbers(table: Mapping[str, Any]) -> dict[str, float]:
    return {_text(k): _number(v) for k, v in table.items()}


def _number(value: Any) -> float:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{shown(value)} stands where a number is expected")
    return math.nan if value is None else float(value)


def _curve(table: Mapping[str, Any]) -> Curve:
    thresholds, values = tuple(map(_number, table["thresholds"])), tuple(map(_number, table["values"]))
    if len(thresholds) != len(values):
        raise ValueError(f"a curve has {len(thresholds)} thresholds for {len(values)} values")
    return Curve(thresholds, values)


def save_result(path: str | Path, result: SequenceResult) -> None:
    """Writes one `SequenceResult` as a compressed npz, atomically (numbers and text only, no pickles)."""
    meta = {k: getattr(result, k) for k in (*TEXTS, "size", "frames")}
    arrays = {k: getattr(result, k) for k in ARRAYS}
    for name in ("codes", "polygons"):
        if getattr(result, name) is not None:
            arrays[name] = getattr(result, name)
    meta["attributes"] = list(result.attributes)
    for k, mask in enumerate(result.attributes.values()):
        arrays[f"attribute_{k}"] = mask
    meta["format"] = FORMAT
    buffer = io.BytesIO()
    np.savez_compressed(buffer, meta=np.array(json.dumps(plain(meta))), **arrays)
    write_atomic(path, buffer.getvalue())


def load_result(path: str | Path) -> SequenceResult:
    """Reads a file of `save_result`.

    Raises:
        SourceError: The file is absent, damaged or of another format.
    """
    with reading(lambda why: SourceError(f"Can't read the result {path}: {why}. Delete it and evaluate again.")):
        with np.load(path, allow_pickle=False) as data:
            meta = json.loads(str(data["meta"]))
            if meta["format"] != FORMAT:
                raise SourceError(f"{path} was written by another version of this program; evaluate again.")
            arrays = {k: data[k] for k in data.files if k != "meta"}
        texts: dict[str, Any] = {k: _text(meta.get(k, "")) for k in TEXTS}
        count = len(arrays["boxes"])
        rows: dict[str, Any] = {k: _rows(arrays[k], k, (count, *row)) for k, row in ARRAYS.items()}
        more: dict[str, Any] = {k: _rows(arrays[k], k, (count, *row)) for k, row in OPTIONAL.items() if k in arrays}
        attributes = {
            _text(name): _rows(arrays[f"attribute_{k}"], name, (count,)) for k, name in enumerate(meta["attributes"])
        }
        width, height = (int(v) for v in meta["size"])
        frames = tuple(map(_text, meta["frames"]))
        return SequenceResult(attributes=attributes, size=(width, height), frames=frames, **texts, **rows, **more)


def _rows(array: NDArray[Any], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array, if it has the expected shape and is numeric."""
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise ValueError(f"its array {name} is {array.dtype} of shape {array.shape}, not numbers of shape {shape}")
    return array


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} stands where a text is expected")
    return value


def record_path(folder: str | Path, tracker: str, fingerprint: str, sequence: str) -> Path:
    """Path of one result in an evaluation's folder; a different fingerprint gives a different path, so that no stale
    result is used."""
    name = f"{tracker}@{fingerprint[:12]}" if fingerprint else tracker
    return Path(folder) / "records" / name / f"{sequence}.npz"


def save_evaluation(folder: str | Path, evaluation: Evaluation, *, records: bool = True) -> Path:
    """Writes `evaluation.json` and, with `records`, the results it is computed from.

    Returns:
        Path of evaluation.json.
    """
    folder = Path(folder)
    table: dict[str, Any] = {
        "format": FORMAT,
        "dataset": evaluation.dataset,
        "protocol": evaluation.protocol,
        "primary": evaluation.primary,
        "provenance": dict(evaluation.provenance),
        "trackers": [asdict(t) for t in evaluation.trackers],
        "records": [],
    }
    if records:
        for result in evaluation.results:
            path = record_path(folder, result.tracker, result.fingerprint, result.sequence)
            if (
                result.error or not result.fingerprint or not path.is_file()
            ):  # otherwise it was written as soon as it was complete
                save_result(path, result)
            table["records"].append(path.relative_to(folder).as_posix())
    target = folder / "evaluation.json"
    write_atomic(target, json.dumps(plain(table), indent=1, allow_nan=False) + "\n")
    return target


def load_evaluation(folder: str | Path, *, records: bool = True) -> Evaluation:
    """Reads a folder of `save_evaluation` (or its evaluation.json); without `records`, the tables alone.

    Raises:
        SourceError: There is no evaluation, or it has another format.
    """
    path = Path(folder)
    path = path / "evaluation.json" if path.is_dir() else path
    hint = f"Run `siamtrack evaluate --output {path.parent}` first."
    with reading(lambda why: SourceError(f"Can't read an evaluation from {path}: {why}. {hint}")):
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != FORMAT:
            raise SourceError(f"{path} was written by another version of this program; evaluate again.")
        trackers = tuple(map(_tracker, table["trackers"]))
        names = [_text(name) for name in table["records"]]
        primary = tuple(map(_text, table["primary"]))
        provenance = {_text(k): _text(v) for k, v in table["provenance"].items()}
        unknown = next((name for name in primary if name not in METRICS), None)
        if unknown is not None:
            raise ValueError(f"its metric {shown(unknown)} is unknown")
        if not primary or any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
            raise ValueError("it names no metric, or records outside of its folder")
        results = tuple(load_result(path.parent / name) for name in names) if records else ()
        return Evaluation(_text(table["dataset"]), _text(table["protocol"]), primary, trackers, results, provenance)


def _tracker(table: Mapping[str, Any]) -> TrackerMetrics:
    sequences = (
        SequenceMetrics(_text(s["sequence"]), int(s["frames"]), _numbers(s["values"]), _text(s["error"]))
        for s in table["sequences"]
    )
    return TrackerMetrics(
        tracker=_text(table["tracker"]),
        overall=_numbers(table["overall"]),
        curves={_text(k): _curve(c) for k, c in table["curves"].items()},
        sequences=tuple(sequences),
        attributes={_text(k): _numbers(v) for k, v in table["attributes"].items()},
    )


def plain(value: Any) -> Any:
    """Converts numpy values and intervals to plain json values: NaN and infinity become null, because NaN isn't valid
    json."""
    if isinstance(value, Interval):
        return plain(value.facts)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_frame(result: SequenceResult, index: int) -> Image | None:
    """Frame `index` (0-based) of a result as BGR uint8 H x W x 3, or None if the frames are not available any more."""
    from tracker.media.images import read_image
    from tracker.media.sources.video import VideoFileSource

    if not result.frames or not 0 <= index < len(result):
        return None
    try:
        if Path(result.frames[0]).suffix.lower() not in VIDEO_SUFFIXES:
            return read_image(result.frames[index])
        with VideoFileSource(Path(result.frames[0]), index) as clip:
            return next(clip).image
    except (ImageError, SourceError) as error:
        logger.warning("Frame %d of %s can't be shown: %s", index, result.sequence, error)
        return None
