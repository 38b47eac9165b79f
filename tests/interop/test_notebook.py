"""Tracks in a notebook: what IPython shows of them, without IPython being needed."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.annotate.clips import truth, walk
from tracker import SiamTrackError, Track, TrackState
from tracker.annotate.clip import Clip, new_target
from tracker.interop.notebook import show


def tracks(frames: int = 60) -> list[Track]:
    return [
        Track(
            np.array(truth(n, k)),
            0.9 - 0.01 * k,
            TrackState.LOST if n and k > 40 else TrackState.TRACKING,
            k,
            target_id=n,
        )
        for k in range(frames)
        for n in (0, 1)
    ]


def test_the_picture_shows_frames_with_boxes_and_scores(tmp_path: Path) -> None:
    sheet = show(walk(tmp_path / "walk.mp4"), tracks())
    assert sheet.caption == "2 targets, frames 0 to 59, mean score 0.61, lost in 19 of 120"
    assert sheet.image.shape == (2 * 244 + 2 * 48, 3 * 320 + 8, 3)
    decoded = cv2.imdecode(np.frombuffer(sheet._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, sheet.image)
    # The second target's line ends where it is lost, two thirds of the way.
    strip = sheet.image[2 * 244 + 48 :].astype(int)
    coloured = np.flatnonzero((strip.max(axis=2) - strip.min(axis=2) > 40).any(axis=0))
    assert 0.6 < coloured.max() / sheet.image.shape[1] < 0.75
    found = re.search(r"base64,([A-Za-z0-9+/=]+)", sheet._repr_html_())
    assert found and base64.b64decode(found.group(1)) == sheet._repr_png_()
    sheet.save(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == sheet._repr_png_()
    with pytest.raises(SiamTrackError, match="no tracks"):
        show(tmp_path / "walk.mp4", [])
    with pytest.raises(SiamTrackError, match="none of the frames 999"):
        show(tmp_path / "walk.mp4", [Track(np.array(truth(0, 0)), 1.0, index=999)])


def test_an_annotated_clip_shows_itself(tmp_path: Path) -> None:
    path = walk(tmp_path / "walk.mp4")
    target = new_target(1, 60, "car <1>")
    clip = Clip("walk <b>", 320, 240, 60, None, [target], str(path))
    assert "no boxes" in clip._repr_html_() and "<b>" not in clip._repr_html_()
    target.boxes[10:20], target.scores[10:20] = truth(0, 10), 1.0
    assert "frames 10 to 19" in clip._repr_html_() and "base64," in clip._repr_html_()


def test_ipython_takes_them(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    walk(tmp_path / "walk.mp4")
    script = """
from IPython.core.formatters import DisplayFormatter
from tests.interop.test_notebook import show, tracks
formats, _ = DisplayFormatter().format(show("walk.mp4", tracks()))
print(sorted(formats), formats["image/png"][:4], DisplayFormatter().format(tracks()[1])[0]["text/html"])
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": root},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "['image/png', 'text/html', 'text/plain']" in done.stdout and "<td>0.90</td><td>tracking</td>" in done.stdout


def test_no_package_for_notebooks_is_needed() -> None:
    script = "import sys; sys.modules['IPython'] = None; import tracker.interop.notebook, tracker.types"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
