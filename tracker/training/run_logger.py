"""What a run tells: means over some steps into log.csv, TensorBoard and a progress bar; validations; pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracker.training import distributed
from tracker.training.config import TrainConfig
from tracker.training.data.batch import Match, PairBatchLike
from tracker.training.logging import Board, CsvLog
from tracker.training.visualize.pairs import draw_pairs


class RunLogger:
    """The numbers of a run; silent on all ranks but 0.

    Args:
        folder: Of the run.
        keys: Names of the losses.
        config: How often to write.
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
        """Opens the files; lines after `step` are cut off.

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
        """One step's numbers; every `log_every` steps their means are written.

        Args:
            step: Steps done, this one included.
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

    def picture(self, step: int, batch: PairBatchLike, output: Match) -> None:
        """The first pairs of a batch with their responses, for TensorBoard."""
        if self._board is not None:
            self._board.image(step, "responses", draw_pairs(batch, output, limit=8))

    def state_dict(self) -> dict[str, Any]:
        """Sums of the steps since the last line: a checkpoint between two lines loses nothing."""
        return {"sums": dict(self.sums), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.sums, self.count = dict(state["sums"]), int(state["count"])

    def close(self) -> None:
        """Closes the files."""
        for item in (self._csv, self._validation, self._board, self._bar):
            if item is not None:
                item.close()
        self._csv = self._validation = self._board = self._bar = None
