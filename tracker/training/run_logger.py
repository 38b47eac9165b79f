"""Logging of a run: means over some steps to log.csv, TensorBoard and a progress bar; validations; images."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import OutputError
from tracker.files import write_atomic
from tracker.training import distributed
from tracker.training.config import TrainConfig
from tracker.training.data.batch import Match, PairBatch
from tracker.training.visualize.pairs import draw_pairs

log = logging.getLogger(__name__)


class RunLogger:
    """The log of a run; inactive on all ranks but 0.

    Args:
        folder: Folder of the run.
        keys: Names of the losses.
        config: Logging intervals.
    """

    def __init__(self, folder: Path, keys: Sequence[str], config: TrainConfig) -> None:
        self.folder, self.keys, self.config = folder, list(keys), config
        self.sums: dict[str, float] = {}
        self.count = 0
        self._csv: CsvLog | None = None
        self._validation: CsvLog | None = None
        self._board: Board | None = None
        self._bar: Any = None
        self._start = 0
        self._clock = 0.0
        self._pairs = 0

    def open(self, step: int, steps: int, progress: bool) -> None:
        """Opens the files; lines after `step` are removed.

        Args:
            step: Steps done.
            steps: Steps of the run.
            progress: Whether to draw a progress bar.
        """
        self._clock, self._start = time.monotonic(), step
        if distributed.rank() != 0:
            return
        losses = list(dict.fromkeys(["loss", *self.keys]))
        self._csv = CsvLog(
            self.folder / "log.csv", [*losses, "learning_rate", "gradient_norm", "pairs", "pairs_per_second"], step
        )
        self._board = Board(self.folder / "tensorboard", step, self.config.tensorboard)
        if progress:
            from tqdm import tqdm

            self._bar = tqdm(total=steps, initial=step, unit="step", dynamic_ncols=True, smoothing=0.05)

    def add(self, step: int, losses: Mapping[str, float], rate: float, norm: float, pairs: int) -> None:
        """Adds the numbers of one step; every `log_every` steps their means are written.

        Args:
            step: Steps done, including this one.
            losses: Value of each loss and "loss", their weighted sum.
            rate: Learning rate of the first group.
            norm: Norm of the gradient before clipping.
            pairs: Pairs in the step, all processes together.
        """
        self.count += 1
        self._pairs += pairs
        for name, value in {**losses, "gradient_norm": norm, "pairs": pairs}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if step % self.config.log_every:
            self._advance(1)
            return
        now = time.monotonic()
        means = {name: value / self.count for name, value in self.sums.items()}
        speed = self._pairs / max(now - self._clock, 1e-9)
        means.update(pairs=self.sums["pairs"], learning_rate=rate, pairs_per_second=round(speed, 2))
        self.sums, self.count, self._clock, self._pairs = {}, 0, now, 0
        if self._csv is not None and self._board is not None:
            self._csv.write(step, means)
            self._board.scalars(step, means, "train")
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {means['loss']:.4f}, {speed:.0f} pairs/s", refresh=False)
        self._advance(1)

    def _advance(self, steps: int) -> None:
        if self._bar is not None:
            self._bar.update(steps)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """A line of validation.csv."""
        if distributed.rank() != 0:
            return
        if self._validation is None:
            self._validation = CsvLog(self.folder / "validation.csv", list(metrics), self._start)
        self._validation.write(step, metrics)
        if self._board is not None:
            self._board.scalars(step, metrics, "validation")

    def picture(self, step: int, batch: PairBatch, output: Match) -> None:
        """Logs the first pairs of a batch with their responses to TensorBoard."""
        if self._board is not None:
            self._board.image(step, "responses", draw_pairs(batch, output, limit=8))

    def state_dict(self) -> dict[str, Any]:
        """Sums over the steps since the last line, so that a checkpoint between two lines loses nothing."""
        return {"sums": dict(self.sums), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.sums, self.count = dict(state["sums"]), int(state["count"])

    def close(self) -> None:
        """Closes the files."""
        for item in (self._csv, self._validation, self._board, self._bar):
            if item is not None:
                item.close()
        self._csv = self._validation = self._board = self._bar = None


class CsvLog:
    """A csv file with one line per logged step, each written to disk before the next step starts.

    Args:
        path: The file; its first column is `step`.
        columns: The other columns.
        step: Lines after this step are removed first: they belong to a run that was interrupted after its last
            checkpoint.

    Raises:
        OutputError: The file exists with other columns.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        self.columns = ["step", *columns]
        kept = self._kept(path, step) if step > 0 and path.exists() else []
        text = io.StringIO(newline="")
        csv.writer(text).writerows([self.columns, *kept])
        write_atomic(path, text.getvalue())
        self._file = open(path, "a", newline="", encoding="utf-8", buffering=1)

    def _kept(self, path: Path, step: int) -> list[list[str]]:
        with open(path, newline="", encoding="utf-8") as source:
            rows = list(csv.reader(source))
        if not rows or rows[0] != self.columns:
            raise OutputError(
                f"The log {path} has other columns than this run's ({', '.join(self.columns)}); train into a new "
                "folder."
            )
        # The last line may be incomplete after a power failure.
        return [row for row in rows[1:] if len(row) == len(self.columns) and row[0].isdigit() and int(row[0]) <= step]

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a line; floats are written without loss of precision."""
        csv.writer(self._file).writerow([step, *(repr(float(values[name])) for name in self.columns[1:])])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Board:
    """TensorBoard, or nothing if it is switched off or not installed (which is logged once).

    Args:
        folder: Folder of the event files.
        step: First step of a resumed run; later events of the interrupted one are hidden.
        enabled: False: nothing is written.
    """

    def __init__(self, folder: Path, step: int, enabled: bool) -> None:
        self._writer: Any = None
        if not enabled:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.warning("TensorBoard is not installed (pip install tensorboard); the numbers go to log.csv alone.")
            return
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def scalars(self, step: int, values: Mapping[str, float], prefix: str) -> None:
        """Adds a point for each value."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{prefix}/{name}", value, step)

    def image(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Adds a BGR uint8 image."""
        if self._writer is not None:
            self._writer.add_image(name, picture[..., ::-1].copy(), step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is pending."""
        if self._writer is not None:
            self._writer.close()
