"""Tables of frame ranges and splits from the got10k package, and the check that frames and boxes are equally many."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracker.errors import SourceError


def package_table(name: str) -> Any:
    """A table (frame ranges, splits) from the installed got10k package, read without importing it.

    Importing got10k requires `six` and `wget`, which are not needed here; its json files can be read without them.

    Raises:
        SourceError: The package isn't installed.
    """
    spec = importlib.util.find_spec("got10k")
    path = (
        Path(spec.submodule_search_locations[0]) / "datasets" / name
        if spec and spec.submodule_search_locations
        else None
    )
    if path is None or not path.is_file():
        raise SourceError(
            f"The table {name} of the got10k package is needed for this data set; `pip install got10k` adds it."
        )
    return json.loads(path.read_text(encoding="utf-8"))


def check_counts(frames: Sequence[str], truth: np.ndarray, where: Path) -> None:
    if len(frames) != len(truth):
        raise SourceError(f"{where} has {len(truth)} lines for {len(frames)} images; they must be as many.")
