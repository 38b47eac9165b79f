"""The got10k package's own report code on the same result files, to compare numbers; and our tracker inside its
experiments.

The package is imported only here, and only its report code runs. Its data set classes and downloads aren't used,
because several can't be constructed with current packages, or download from the network without asking
(docs/protocol.md lists them).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tracker.datasets.base import Dataset
from tracker.errors import ConfigError
from tracker.evaluation.specs import TrackerSpec, parse_model, parse_tracker

COVERED = ("got10k", "otb")
# Our metric names -> the package's, by rules.
NAMES = {
    "got10k": {"ao": "ao", "sr50": "sr"},
    "otb": {"auc": "success_score", "precision20": "precision_score", "success50": "success_rate"},
}


class _View:
    """A `Dataset` with the interface that the package's experiments iterate over."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.seq_names = dataset.names
        self.return_meta = True

    def __len__(self) -> int:
        return len(self.seq_names)

    def __getitem__(self, key: int | str) -> tuple[Any, ...]:
        index = self.seq_names.index(key) if isinstance(key, str) else key
        if index >= len(self):
            raise IndexError(index)
        sequence = self._dataset.sequences[index]
        frames, truth = list(sequence.frames), sequence.truth.copy()
        if self._dataset.rules != "got10k" or not self.return_meta:
            return frames, truth
        cover = np.where(sequence.valid, 1.0, 0.0)
        return frames, truth, {"cover": cover, "resolution": str(sequence.frame_size())}

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return (self[k] for k in range(len(self)))


def toolkit_report(results: Path, dataset: Dataset, trackers: list[str]) -> dict[str, dict[str, float]]:
    """Runs the got10k package's report on result folders; the package prints lines of its own.

    Args:
        results: Folder that holds `dataset.results_folder` (the package's result_dir).
        dataset: GOT-10k with truth, or a data set that is measured as OTB is.
        trackers: Names of the folders.

    Returns:
        tracker -> our metric names -> its value ("fps" too).

    Raises:
        ConfigError: The package can't be imported, or has no code for this data set.
    """
    if dataset.rules not in COVERED or dataset.truth_withheld:
        raise ConfigError(
            f"The got10k package can't measure {dataset.title} on current Python packages; it can GOT-10k val and "
            "OTB-like sets."
        )
    try:
        from got10k.experiments import ExperimentGOT10k, ExperimentOTB, ExperimentUAV123
    except ImportError as error:
        raise ConfigError(
            f"The got10k package can't be imported ({error}); `pip install got10k six` mends that."
        ) from None
    base = (
        ExperimentGOT10k
        if dataset.rules == "got10k"
        else ExperimentUAV123
        if dataset.key.startswith("uav")
        else ExperimentOTB
    )

    class Report(base):  # type: ignore[misc, valid-type]
        def __init__(
            self, report_dir: str
        ) -> None:  # the package's own constructors require complete data sets, and download them
            self.dataset = _View(dataset)
            self.subset = "val"
            self.result_dir = str(results / dataset.results_folder)
            self.report_dir = report_dir
            self.nbins_iou = 101 if dataset.rules == "got10k" else 21
            self.nbins_ce = 51

        def plot_curves(self, *args: Any, **kwargs: Any) -> None:
            """Disabled: plots are drawn by our report."""

    with tempfile.TemporaryDirectory() as folder:
        table = Report(folder).report(trackers)
    names = NAMES[dataset.rules]
    return {
        tracker: {
            ours: float(table[tracker]["overall"][theirs]) for ours, theirs in {**names, "fps": "speed_fps"}.items()
        }
        for tracker in trackers
    }


def _spec_of(text: str, options: dict[str, str]) -> TrackerSpec:
    """Parses and checks the name of a model or tracker."""
    unknown = next((name for name in options if name not in ("device", "engine")), None)
    if unknown is not None:
        raise ConfigError(f"as_toolkit_tracker has no option {unknown!r}; it has device and engine.")
    if text == "still" or text.partition(":")[0] in ("opencv", "python"):
        spec = parse_tracker(text, None)
    else:
        spec = parse_model(text, {"device": "auto", "engine": "auto", **options})
    spec.check()
    return spec


def as_toolkit_tracker(spec: TrackerSpec | str | Path = "siamtrack-s", **options: str) -> Any:
    """A `got10k.trackers.Tracker` of ours, for `ExperimentX(...).run(tracker)`; takes the package's RGB PIL images.

    Args:
        spec: A model's name or file, such as "siamtrack-s"; what `siamtrack evaluate --tracker` takes, such as "still"
            or "opencv:mil"; or a `TrackerSpec`.
        options: For a model: device and engine, both "auto" by default.

    Raises:
        ConfigError: The package can't be imported, or an option is unknown.
        WeightsError: There is no such model.

    Examples:
        >>> from got10k.experiments import ExperimentOTB                                # doctest: +SKIP
        >>> ExperimentOTB("OTB", version=2013).run(as_toolkit_tracker("siamtrack-s"))    # doctest: +SKIP
    """
    what = spec if isinstance(spec, TrackerSpec) else _spec_of(str(spec), options)
    try:
        from got10k.trackers import Tracker
    except ImportError as error:
        raise ConfigError(
            f"The got10k package can't be imported ({error}); `pip install got10k six` mends that."
        ) from None

    class Adapter(Tracker):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=what.label, is_deterministic=True)
            self._tracker = what.build()

        def init(self, image: Any, box: Any) -> None:
            self._tracker.init(np.ascontiguousarray(np.asarray(image)[..., ::-1]), np.asarray(box, dtype=np.float64))

        def update(self, image: Any) -> Any:
            value = self._tracker.update(np.ascontiguousarray(np.asarray(image)[..., ::-1]))
            return getattr(value, "box", value)

    return Adapter()
