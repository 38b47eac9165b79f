"""Results of an evaluation: per-sequence results and metric tables, frozen.

A folder written by `save_evaluation` holds

    evaluation.json                       tables, curves and provenance (see `Evaluation`)
    records/<tracker>@<fingerprint>/<sequence>.npz      one `SequenceResult` each

and `load_evaluation` gives the same `Evaluation` back, so that reports can be drawn without tracking again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SKIPPED, INIT, FAILURE, TRACKED = 0, 1, 2, 3
"""Codes of the supervised VOT protocol: not tracked after a failure, (re-)initialised, failed here, tracked."""


@dataclass(frozen=True)
class SequenceResult:
    """The result of one tracker on one sequence. N frames; every array has N rows.

    Attributes:
        tracker, dataset, sequence: Display names.
        boxes: (N, 4) float64 xywh, pixels of the original frame; row 0 is the box that initialised the tracker. NaN
            where the tracker reported none (and, in the supervised protocol, wherever `codes` isn't TRACKED).
        truth: (N, 4) float64 xywh, NaN where the frame isn't annotated. Frames after the first are all NaN where the
            data set withholds the truth (GOT-10k test, TrackingNet test).
        valid: (N,) bool, the frames that count: annotated and, where the data set's protocol says so, target present.
        times: (N,) seconds in the tracker (row 0: init), NaN where unknown, without decoding.
        decode_times: (N,) seconds spent on reading and decoding the frame, NaN where unknown.
        scores: (N,) confidence in [0, 1], NaN where the tracker gives none.
        lost: (N,) bool, True where the tracker itself reported the target as lost.
        size: (width, height) of the frames in pixels; (0, 0) where unknown.
        attributes: name -> (N,) bool, the frames at which the attribute holds ("fast motion", "occlusion", ...).
        object_class: Class of the target (GOT-10k, LaSOT), "" where unknown; class-balanced means use it.
        frames: Paths of the N images, or one path of a video clip; see `read_frame`. Empty for results of external
            trackers without data.
        codes: (N,) int8, supervised VOT protocol only (SKIPPED, INIT, FAILURE, TRACKED), else None.
        polygons: (N, 8) float64 corner truth of VOT, else None.
        error: The message if the tracker crashed on this sequence, else "". The boxes from the crash on are NaN and
            count as misses.
        fingerprint: Key of model, configuration and code that produced it ("" for external results).
        content: Key of the annotation and images that it was computed from ("" for external results).
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
    """A curve of a plot: fraction of frames (0..1) against a threshold.

    Attributes:
        thresholds: (K,) overlap in [0, 1] for "success", pixels for "precision", relative distance for
            "norm_precision".
        values: (K,) fraction of frames.
    """

    thresholds: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class SequenceMetrics:
    """The metrics of one tracker on one sequence.

    Attributes:
        sequence: Name.
        frames: Number of frames that count.
        values: Metric name -> value (names as in `TrackerMetrics.overall`, if defined for a single sequence).
        error: As in `SequenceResult`.
    """

    sequence: str
    frames: int
    values: Mapping[str, float]
    error: str = ""


@dataclass(frozen=True)
class TrackerMetrics:
    """The metrics of one tracker on one data set.

    Attributes:
        tracker: Name.
        overall: Metric name -> value. Names are explained by `tracker.metrics.success.METRICS`.
        curves: "success", "precision", "norm_precision", "expected_overlap" (VOT) -> curve, as far as the protocol
            defines them.
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
    """All data of a report.

    Attributes:
        dataset: Name as shown ("GOT-10k val", "OTB (17 sequences)", ...).
        protocol: "ope" (one pass, first frame initialises) or "supervised" (VOT, re-initialised after failures).
        primary: Names of the headline metrics, most important first; trackers are sorted by the first.
        trackers: One table per tracker, best first.
        results: The per-sequence results (empty if only tables were stored).
        provenance: How it was produced: versions, machine, command, fingerprints, date; text -> text.
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


# Names and meanings of the metrics; formulas are in `success` and `vot`, the page in docs/protocol.md.
METRICS: dict[str, str] = {
    "ao": "average overlap: mean IoU over frames 2..N (GOT-10k: pooled over all sequences; elsewhere mean over "
    "sequences)",
    "sr50": "success rate: share of those frames with IoU > 0.5",
    "sr75": "share of those frames with IoU > 0.75",
    "mao": "class-balanced AO: mean over classes of the mean over the sequences of a class (GOT-10k paper)",
    "msr50": "class-balanced SR at 0.5",
    "msr75": "class-balanced SR at 0.75",
    "ao_exact": "AO with boxes clipped to the frame properly, where the got10k package shifts boxes with a negative "
    "corner",
    "ao_sequences": "mean over sequences of AO, instead of pooling frames (long sequences weigh no more than short "
    "ones)",
    "auc": "success AUC: mean of the success curve at 21 thresholds 0, 0.05, ..., 1, averaged over sequences",
    "precision20": "precision: share of frames whose centre is at most 20 px off, averaged over sequences",
    "norm_precision20": "normalised precision at 0.20 (pysot, pytracking): centre error over the true width and height",
    "norm_precision_auc": "normalised precision, mean of the curve at 51 thresholds 0, 0.01, ..., 0.5 (TrackingNet "
    "server, LaSOT paper)",
    "success50": "share of frames with IoU > 0.5, averaged over sequences",
    "auc_visible": "success AUC where a frame in which the tracker said LOST counts as a miss; AUC takes its best "
    "guess",
    "auc_tracked": "success AUC without the first frame, which toolkits count as a hit although it is given",
    "auc_all_frames": "success AUC where frames without a target count as misses (pysot and pytracking on UAV123; "
    "pytracking on LaSOT)",
    "accuracy": "VOT accuracy: mean overlap while tracking, first 10 frames after each initialisation left out, pooled",
    "robustness": "VOT robustness as pysot prints it: failures per 100 frames",
    "failures": "VOT: number of failures",
    "reliability30": "VOT: exp(-30 failures / frames), the chance to survive 30 frames",
    "eao": "VOT expected average overlap over the year's interval of sequence lengths",
    "accuracy_tags": "VOT accuracy, weighted by attribute tags as the got10k package does",
    "failures_tags": "VOT failures, weighted by attribute tags as the got10k package does",
    "fps": "speed, mean of rates: mean of 1/seconds over frames (GOT-10k, VOT: pooled; elsewhere mean over "
    "sequences); no decoding",
    "fps_total": "speed, updates over their total seconds: what a user waits for; no decoding, no initialisation",
    "decode_ms": "milliseconds to read and decode a frame, kept apart from the tracker's time",
}

PRIMARY: dict[str, tuple[str, ...]] = {
    "got10k": ("ao", "sr50", "sr75"),
    "otb": ("auc", "precision20", "norm_precision20"),
    "lasot": ("auc", "precision20", "norm_precision_auc"),
    "trackingnet": ("auc", "precision20", "norm_precision_auc"),
    "vot": ("eao", "accuracy", "robustness"),
}
