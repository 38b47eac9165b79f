"""How many files see the picture between `update()` and the box; docs/architecture.md draws the same."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tracker
from tests.tracking.standin import pixel_tracker

PACKAGE = Path(tracker.__file__).parent
TRACKING = ["tracking/tracker.py", "media/images.py", "tracking/lifecycle.py", "tracking/motion.py"]
TRACKING += ["tracking/observer.py", "crops.py"]
IN_DOUBT = ["tracking/redetection.py", "tracking/identity.py"]


def seen_by(one: Any, image: NDArray[np.uint8]) -> list[str]:
    """The files of functions that get the whole picture as an argument, in the order of their first calls."""
    files: dict[str, None] = {}

    def called(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(PACKAGE):
            return
        given = (frame.f_locals.get(name) for name in frame.f_code.co_varnames[: frame.f_code.co_argcount])
        if any(isinstance(value, np.ndarray) and value.base is None and value is image for value in given):
            files.setdefault(path.relative_to(PACKAGE).as_posix())

    sys.setprofile(called)
    try:
        one.update(image)
    finally:
        sys.setprofile(None)
    return list(files)


def test_a_frame_crosses_six_files_and_two_more_in_doubt() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    one = pixel_tracker()
    one.init(first, (60, 40, 24, 24))
    assert seen_by(one, first.copy()) == TRACKING
    gray = np.full_like(first, 128)
    for _ in range(40):
        one.update(gray)
    assert one.target.lost
    lost = set(seen_by(one, first.copy()))
    assert "tracking/redetection.py" in lost and lost <= {*TRACKING, *IN_DOUBT}
