"""How many files see the picture between `update()` and the box; docs/architecture.md draws the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tracker
from tests.tracking.standin import ground, pixel_tracker, put, thing

PACKAGE = Path(tracker.__file__).parent
CROSSED = ["tracking/tracker.py", "media/images.py", "tracking/lifecycle.py", "tracking/motion.py"]
CROSSED += ["tracking/observer.py", "crops.py"]
JUDGES = {"redetect_lost", "pass_over", "search", "is_distractor", "other_near"}
"""Functions that decide about a LOST target: they get numbers."""


def seen_by(one: Any, image: NDArray[np.uint8]) -> tuple[list[str], set[str]]:
    """The files of functions that get the whole picture as an argument, in the order of their first calls; and which of
    `JUDGES` ran."""
    files: dict[str, None] = {}
    ran: set[str] = set()

    def called(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(PACKAGE):
            return
        ran.update(JUDGES & {frame.f_code.co_name})
        given = (frame.f_locals.get(name) for name in frame.f_code.co_varnames[: frame.f_code.co_argcount])
        if any(isinstance(value, np.ndarray) and value.base is None and value is image for value in given):
            files.setdefault(path.relative_to(PACKAGE).as_posix())

    sys.setprofile(called)
    try:
        one.update(image)
    finally:
        sys.setprofile(None)
    return list(files), ran


def test_a_frame_crosses_six_files_and_no_more_when_lost() -> None:
    one, alone = pixel_tracker(), put(ground(), thing(), 250, 180)
    both = put(alone, thing(), 60, 50)
    one.init(both, (60, 50, 28, 28))
    for _ in range(3):
        files, ran = seen_by(one, both.copy())
        assert files == CROSSED and not ran
    judged: set[str] = set()
    for _ in range(20):  # its look-alike is found, and refused as one that was seen beside it
        files, ran = seen_by(one, alone.copy())
        judged |= ran
        assert set(files) <= set(CROSSED)
        if judged == JUDGES:
            break
    assert judged == JUDGES and one.target is not None and one.target.lost


def test_frames_that_points_may_carry_cross_no_others() -> None:
    one, still = pixel_tracker({"skip.mode": "auto", "skip.after": 0}), put(ground(), thing(), 60, 50)
    one.init(still, (60, 50, 28, 28))
    skipped = 0
    for _ in range(12):
        files, _ = seen_by(one, still.copy())
        skipped += "tracking/observer.py" not in files or "tracking/motion.py" not in files
        assert set(files) <= set(CROSSED)
    assert skipped


WITHOUT_TORCH = """
import sys
import numpy as np
sys.modules["torch"] = None
from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.tracking.multi import MultiTracker
one, several = pixel_tracker(), MultiTracker(pixel_tracker())
alone = put(ground(), thing(), 250, 180)
both = put(alone, thing(), 60, 50)
one.init(both, (60, 50, 28, 28))
several.init(both, [(60, 50, 28, 28), (250, 180, 28, 28)])
for image in [both] * 4 + [alone] * 12:
    one.update(image)
for step in range(0, 200, 10):  # they meet
    several.update(put(put(ground(), thing(), 60 + step, 90), thing(), 250 - step, 90))
assert one.target.lost
"""


def test_numbers_of_the_host_need_no_torch() -> None:
    """Its import takes a second of a frame, and 130 MB of each process that tracks."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
