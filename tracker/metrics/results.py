"""What an evaluation hands on: per-sequence results and metric tables, frozen, with save and load.

A folder written by `save_evaluation` holds

    evaluation.json                       tables, curves and provenance (see `Evaluation`)
    records/<tracker>@<fingerprint>/<sequence>.npz      one `SequenceResult` each

and `load_evaluation` gives the same `Evaluation` back, so that reports can be drawn without tracking again.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import SourceError, reading, shown
from tracker.metrics.files import atomic_write as atomic_write
from tracker.metrics.files import plain
from tracker.metrics.files import read_frame as read_frame
from tracker.metrics.names import METRICS

FORMAT = 1

SKIPPED, INIT, FAILURE, TRACKED = 0, 1, 2, 3
"""Codes of the supervised VOT protocol: not tracked after a failure, (re-)initialised, failed here, tracked."""


@dataclass(frozen=True)
class SequenceResult:
    """What one tracker did on one sequence. N frames; every array has N rows.

    Attributes:
        tracker, dataset, sequence: Names as they are shown.
        boxes: (N, 4) float64 xywh, pixels of the original frame; row 0 is the box that initialised the tracker. NaN where
            the tracker reported none (and, in the supervised protocol, wherever `codes` isn't TRACKED).
        truth: (N, 4) float64 xywh, NaN where the frame isn't annotated. Frames after the first are all NaN where the data
            set withholds the truth (GOT-10k test, TrackingNet test).
        valid: (N,) bool, the frames that count: annotated and, where the data set's protocol says so, target present.
        times: (N,) seconds in the tracker (row 0: init), NaN where unknown. Decoding of images isn't in it.
        decode_times: (N,) seconds spent on reading and decoding the frame, NaN where unknown.
        scores: (N,) confidence in [0, 1], NaN where the tracker gives none.
        lost: (N,) bool, True where the tracker itself said that it had lost the target.
        size: (width, height) of the frames in pixels; (0, 0) where unknown.
        attributes: name -> (N,) bool, the frames at which the attribute holds ("fast motion", "occlusion", ...).
        object_class: Class of the target (GOT-10k, LaSOT), "" where unknown; class-balanced means use it.
        frames: Paths of the N images, or one path of a video clip; see `read_frame`. Empty for results of others without data.
        codes: (N,) int8, supervised VOT protocol only (SKIPPED, INIT, FAILURE, TRACKED), else None.
        polygons: (N, 8) float64 corner truth of VOT, else None.
        error: The sentence that says how the tracker crashed on this sequence, "" where all went well. The rows from the
            crash on are NaN boxes and count as misses.
        fingerprint: Key of model, configuration and code that made it ("" for results of others).
        content: Key of the annotation and pictures that it was made on ("" for results of others).
    """

    tracker: str
    dataset: str
    sequence: str
    boxes: NDArray[np.float64] = field(repr=False)
    truth: NDArray[np.float64] = field(repr=False)
    valid: NDArray[np.bool_] = field(repr=False)
    times: NDArray[np.float64] = field(repr=False)
    decode_times: NDArray[np.float64] = field(repr=False)
    scores: NDArray[np.float64] = field(repr=False)
    lost: NDArray[np.bool_] = field(repr=False)
    size: tuple[int, int] = (0, 0)
    attributes: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict, repr=False)
    object_class: str = ""
    frames: tuple[str, ...] = field(default=(), repr=False)
    codes: NDArray[np.int8] | None = field(default=None, repr=False)
    polygons: NDArray[np.float64] | None = field(default=None, repr=False)
    error: str = ""
    fingerprint: str = ""
    content: str = ""

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Curve:
    """A plot's line: share of frames (0..1) against a threshold.

    Attributes:
        thresholds: (K,) overlap in [0, 1] for "success", pixels for "precision", relative distance for "norm_precision".
        values: (K,) share of frames.
    """

    thresholds: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class SequenceMetrics:
    """The numbers of one tracker on one sequence.

    Attributes:
        sequence: Name.
        frames: Frames that counted.
        values: Metric name -> value (same names as in `TrackerMetrics.overall` wherever it can be said of one sequence).
        error: As in `SequenceResult`.
    """

    sequence: str
    frames: int
    values: Mapping[str, float]
    error: str = ""


@dataclass(frozen=True)
class TrackerMetrics:
    """The numbers of one tracker on one data set.

    Attributes:
        tracker: Name.
        overall: Metric name -> value. Names are explained by `tracker.metrics.success.METRICS`.
        curves: "success", "precision", "norm_precision", "expected_overlap" (VOT) -> curve, as far as the protocol has them.
        sequences: One entry per sequence, in the data set's order.
        attributes: Attribute -> metric name -> value over the frames with that attribute; "frames" is their number.
    """

    tracker: str
    overall: Mapping[str, float]
    curves: Mapping[str, Curve] = field(default_factory=dict, repr=False)
    sequences: tuple[SequenceMetrics, ...] = field(default=(), repr=False)
    attributes: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report needs.

    Attributes:
        dataset: Name as shown ("GOT-10k val", "OTB (17 sequences)", ...).
        protocol: "ope" (one pass, first frame initialises) or "supervised" (VOT, re-initialised after failures).
        primary: Names of the headline metrics, most important first; trackers are sorted by the first.
        trackers: One table per tracker, best first.
        results: The per-sequence results behind them (may be empty when only tables were kept).
        provenance: What made it: versions, machine, command, fingerprints, date; text -> text.
    """

    dataset: str
    protocol: str
    primary: tuple[str, ...]
    trackers: tuple[TrackerMetrics, ...]
    results: tuple[SequenceResult, ...] = field(default=(), repr=False)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def results_of(self, tracker: str) -> dict[str, SequenceResult]:
        """Sequence name -> result of one tracker."""
        return {r.sequence: r for r in self.results if r.tracker == tracker}


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


TEXTS = ("tracker", "dataset", "sequence", "object_class", "error", "fingerprint", "content")
ARRAYS: dict[str, tuple[int, ...]] = {
    "boxes": (4,),
    "truth": (4,),
    "valid": (),
    "times": (),
    "decode_times": (),
    "scores": (),
    "lost": (),
}
"""Arrays of a record, and the shape of a row."""
OPTIONAL: dict[str, tuple[int, ...]] = {"codes": (), "polygons": (8,)}


def save_result(path: str | Path, result: SequenceResult) -> None:
    """Write one `SequenceResult` as a compressed npz, atomically (numbers and text only, no pickles)."""
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
    atomic_write(path, buffer.getvalue())


def load_result(path: str | Path) -> SequenceResult:
    """Read what `save_result` wrote.

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
    """An array, if it has the shape and holds numbers."""
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise ValueError(f"its array {name} is {array.dtype} of shape {array.shape}, not numbers of shape {shape}")
    return array


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} stands where a text is expected")
    return value


def record_path(folder: str | Path, tracker: str, fingerprint: str, sequence: str) -> Path:
    """Where one result lies in an evaluation's folder; another fingerprint is another place, so that nothing stale mixes in."""
    name = f"{tracker}@{fingerprint[:12]}" if fingerprint else tracker
    return Path(folder) / "records" / name / f"{sequence}.npz"


def save_evaluation(folder: str | Path, evaluation: Evaluation, *, records: bool = True) -> Path:
    """Write `evaluation.json` and, with `records`, the results behind it.

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
            ):  # else it was written as soon as it was there
                save_result(path, result)
            table["records"].append(path.relative_to(folder).as_posix())
    target = folder / "evaluation.json"
    atomic_write(target, json.dumps(plain(table), indent=1, allow_nan=False) + "\n")
    return target


def load_evaluation(folder: str | Path, *, records: bool = True) -> Evaluation:
    """Read what `save_evaluation` wrote (the folder, or its evaluation.json); without `records`, the tables alone.

    Raises:
        SourceError: No evaluation there, or of another format.
    """
    path = Path(folder)
    path = path / "evaluation.json" if path.is_dir() else path
    hint = f"Run tools/evaluate.py --output {path.parent} first."
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
