"""Where the numbers of a run go: csv files that can be cut back to a step, and TensorBoard beside them."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import OutputError
from tracker.files import write_atomic

log = logging.getLogger(__name__)


class CsvLog:
    """A csv file with one line per logged step, each on disk before the next step starts.

    Args:
        path: The file; its first column is `step`.
        columns: The other columns.
        step: Lines after this step are cut off first: they belong to a run that was interrupted after its last
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
        # The last line may be torn where the power failed.
        return [row for row in rows[1:] if len(row) == len(self.columns) and row[0].isdigit() and int(row[0]) <= step]

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a line; floats are written so that they read back the same."""
        csv.writer(self._file).writerow([step, *(repr(float(values[name])) for name in self.columns[1:])])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Board:
    """TensorBoard, or nothing where it is switched off or not installed (which is said once).

    Args:
        folder: Of the event files.
        step: Where a resumed run goes on; later events of the interrupted one are hidden.
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
        """One point for each value."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{prefix}/{name}", value, step)

    def image(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """A BGR uint8 picture."""
        if self._writer is not None:
            self._writer.add_image(name, picture[..., ::-1].copy(), step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is pending."""
        if self._writer is not None:
            self._writer.close()
