"""Tracks the sequences of a data set: one function for one sequence, wherever it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tracker.datasets.annotation_text import has_area
from tracker.datasets.base import Dataset, SequenceData
from tracker.errors import SourceError
from tracker.evaluation.specs import TrackerSpec, digest
from tracker.metrics import result_files
from tracker.metrics.one_pass import OnePassTracker, Step, follow, step
from tracker.metrics.result_store import load_result, record_path, save_result
from tracker.metrics.results import FAILURE, INIT, SKIPPED, TRACKED, SequenceResult
from tracker.metrics.vot import RESTART, region_overlap
from tracker.types import Image

logger = logging.getLogger(__name__)

Protocol = Literal["ope", "supervised"]


@dataclass(frozen=True)
class EvaluationTask:
    """One tracker on one sequence; picklable.

    Attributes:
        spec: How to build the tracker.
        sequence: Its frames and the ground truth.
        dataset: Title, for the result.
        protocol: "ope" or "supervised".
        fingerprint: Key of tracker, settings, code and protocol.
        content: Key of the sequence's annotation and pictures.
    """

    spec: TrackerSpec
    sequence: SequenceData
    dataset: str
    protocol: Protocol
    fingerprint: str
    content: str = ""


_built: dict[TrackerSpec, OnePassTracker] = {}
"""The trackers of this process, cached: building one takes longer than a short sequence, and `init` resets it."""


def evaluate_sequence(task: EvaluationTask) -> SequenceResult:
    """Runs a tracker over a sequence. Never raises for what the tracker or the images do: see `SequenceResult.error`.

    Raises:
        SiamTrackError: The tracker can't be built.
    """
    tracker = _built.get(task.spec)
    if tracker is None:
        tracker = _built[task.spec] = task.spec.build()
    recorder = _Recorder(task)
    try:
        (_supervised if task.protocol == "supervised" else _one_pass)(tracker, task.sequence, recorder)
    except Exception as error:  # the tracker may be external code: report the error and go on with the next sequence
        logger.debug("%s crashed on %s", task.spec.label, task.sequence.name, exc_info=True)
        _built.pop(task.spec, None)  # its state is undefined after an exception
        who = "the data" if isinstance(error, SourceError) else type(error).__name__
        recorder.error = f"{who} in frame {recorder.frame}: {' '.join(str(error).split())}"
    return recorder.result()


def _one_pass(tracker: OnePassTracker, sequence: SequenceData, out: _Recorder) -> None:
    """One pass: the first box initialises, nothing is corrected afterwards.

    Frames before that (VOT, target not annotated) are skipped.
    """
    start = int(np.argmax(has_area(sequence.truth)))
    for one in follow(tracker, (image for _, image in out.frames(sequence)), sequence.init, start):
        if one.index == start:
            out.boxes[start], out.times[start] = sequence.init, one.seconds
        else:
            out.record(tracker, one)


def _supervised(tracker: OnePassTracker, sequence: SequenceData, out: _Recorder) -> None:
    """VOT: initialise, and re-initialise `RESTART` frames after a failure (overlap 0).

    Frames without a region (NaN, or no area) are ignored: no failure is counted there, and a restart waits for the next
    region.
    """
    regions = sequence.truth if sequence.polygons is None else sequence.polygons
    shown = has_area(sequence.truth)
    start = 0
    for k, image in out.frames(sequence):
        if k == start and not shown[k]:
            start += 1
        if k < start:
            out.codes[k] = SKIPPED
        elif k == start:
            out.times[k] = step(tracker, image, k, sequence.truth[k]).seconds
            out.codes[k] = INIT
        else:
            out.record(tracker, step(tracker, image, k))
            out.codes[k] = TRACKED
            if shown[k] and region_overlap(out.boxes[k], regions[k], out.size) <= 0:
                out.boxes[k] = np.nan
                out.codes[k] = FAILURE
                start = k + RESTART


class _Recorder:
    """Collects results frame by frame."""

    def __init__(self, task: EvaluationTask) -> None:
        count = len(task.sequence)
        self.task = task
        self.error = ""
        self.frame = 0
        self.size = (0, 0)
        self.boxes = np.full((count, 4), np.nan)
        self.times = np.full(count, np.nan)
        self.decode_times = np.full(count, np.nan)
        self.scores = np.full(count, np.nan)
        self.lost = np.zeros(count, dtype=bool)
        self.codes = np.zeros(count, dtype=np.int8)

    def frames(self, sequence: SequenceData) -> Iterator[tuple[int, Image]]:
        """(index, image), while recording the time of decoding."""
        images = sequence.images()
        for k in range(len(sequence)):
            self.frame = k
            begin = time.perf_counter()
            image = next(images)
            self.decode_times[k] = time.perf_counter() - begin
            if k == 0:
                self.size = (image.shape[1], image.shape[0])
            yield k, image

    def record(self, tracker: OnePassTracker, one: Step) -> None:
        """Records box, score, state and time of a frame."""
        k = one.index
        self.times[k] = one.seconds
        box = np.asarray(one.box, dtype=np.float64).reshape(-1)
        if box.shape != (4,) or not np.isfinite(box).all():
            raise ValueError(f"the tracker gave {box.tolist()}, which isn't a box of four finite numbers")
        self.boxes[k], self.scores[k] = box, one.score
        self.lost[k] = not one.visible or bool(getattr(tracker, "lost", False))

    def result(self) -> SequenceResult:
        """The result. Boxes and times are rounded as in the interchange files, so that both give the same numbers."""
        task, supervised = self.task, self.task.protocol == "supervised"
        return SequenceResult(
            tracker=task.spec.label,
            sequence=task.sequence.name,
            boxes=np.round(self.boxes, 4 if supervised else 3),
            times=np.round(self.times, 8),
            decode_times=np.round(self.decode_times, 8),
            scores=self.scores,
            lost=self.lost,
            size=self.size,
            codes=self.codes if supervised else None,
            error=self.error,
            fingerprint=task.fingerprint,
            content=task.content,
            **_truth_of(task),
        )


def _truth_of(task: EvaluationTask) -> dict[str, Any]:
    """The fields of a result that come from its data set."""
    names = ("truth", "valid", "attributes", "frames", "polygons", "object_class")
    return {"dataset": task.dataset, **{name: getattr(task.sequence, name) for name in names}}


def crashed(task: EvaluationTask, sentence: str) -> SequenceResult:
    """The result of a task whose process died: all boxes missing."""
    recorder = _Recorder(task)
    recorder.error, recorder.size = sentence, task.sequence.size
    return recorder.result()


def make_tasks(dataset: Dataset, specs: list[TrackerSpec], protocol: Protocol) -> list[EvaluationTask]:
    """One task per tracker and sequence, with the key of its result (model, configuration, code, protocol) and that of
    its data."""
    tasks = []
    contents = {sequence.name: sequence.content() for sequence in dataset.sequences}
    for spec in (one.resolved() for one in specs):
        key = digest([spec.fingerprint(), dataset.key, dataset.results_folder, protocol])
        tasks += [
            EvaluationTask(spec, sequence, dataset.title, protocol, key, contents[sequence.name])
            for sequence in dataset.sequences
        ]
    return tasks


@dataclass
class RunStore:
    """The folder of a run: stored results, and where new ones are written.

    Attributes:
        output: The evaluation's folder.
        dataset: Its data set.
    """

    output: Path
    dataset: Dataset

    def folder(self, label: str) -> Path:
        """A tracker's folder in the interchange layout."""
        return self.output / "results" / self.dataset.results_folder / label

    def load(self, task: EvaluationTask) -> SequenceResult | None:
        """The stored result of a task, or None if there is none from the same model, configuration, code and data."""
        path = record_path(self.output, task.spec.label, task.fingerprint, task.sequence.name)
        if not path.is_file():
            return None
        try:
            result = load_result(path)
        except SourceError as error:
            logger.warning("%s", error)
            return None
        sequence = task.sequence
        if result.content != task.content:  # images or boxes have changed, or the record is older than content keys
            return None
        same = result.fingerprint == task.fingerprint and len(result) == len(sequence) and not result.error
        if not same or not np.array_equal(result.truth[0], sequence.truth[0], equal_nan=True):
            return None
        return replace(result, **_truth_of(task))

    def save(self, result: SequenceResult) -> None:
        """Writes a result, both as a record and as interchange files; not one that ended in a crash, so that a second
        run tries again."""
        if result.error:
            return
        result_files.write(self.folder(result.tracker), self.dataset.layout, result)
        save_result(record_path(self.output, result.tracker, result.fingerprint, result.sequence), result)

    def restore(self, result: SequenceResult) -> None:
        """Writes the interchange files of a stored result again if they were removed."""
        folder = self.folder(result.tracker)
        if not all(path.is_file() for path in result_files.paths(folder, self.dataset.layout, result.sequence)):
            result_files.write(folder, self.dataset.layout, result)
