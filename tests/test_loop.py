"""The video loop, with a tracker that only remembers what it was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.helpers import tiny_model
from tests.conftest import moving_square
from tracker.errors import BoxError, SourceError
from tracker.loop import track
from tracker.types import Frame, Track


class Still:
    """Says that the target stays where it was."""

    def __init__(self) -> None:
        self.box: Any = None
        self.updates = 0

    def init(self, image: Any, box: Any) -> None:
        self.box = np.asarray(box, dtype=np.float64)

    def update(self, image: Any, *, index: int = 0, timestamp: float | None = None) -> Track:
        self.updates += 1
        return Track(box=self.box, score=0.5, index=index, timestamp=timestamp)


def pictures(count: int) -> list[np.ndarray]:
    return [np.full((48, 64, 3), k, np.uint8) for k in range(count)]


def test_the_first_track_is_the_box_itself() -> None:
    tracks = list(track(pictures(4), (10, 12, 8, 6), tracker=Still()))
    assert [t.index for t in tracks] == [0, 1, 2, 3]
    assert tracks[0].score == 1.0
    assert [t.score for t in tracks[1:]] == [0.5] * 3
    np.testing.assert_array_equal(tracks[0].box, [10, 12, 8, 6])


def test_start_skips_frames_and_keeps_their_numbers() -> None:
    assert [t.index for t in track(pictures(6), (1, 1, 9, 9), tracker=Still(), start=4)] == [4, 5]


def test_frames_carry_their_own_index_and_time() -> None:
    frames = (Frame(image, index=10 + k, timestamp=k / 25) for k, image in enumerate(pictures(3)))
    assert [(t.index, t.timestamp) for t in track(frames, (1, 1, 9, 9), tracker=Still())] == [
        (10, 0.0),
        (11, 0.04),
        (12, 0.08),
    ]


def test_frames_are_read_one_at_a_time() -> None:
    read = []

    def source() -> Any:
        for k, image in enumerate(pictures(100)):
            read.append(k)
            yield image

    tracks = track(source(), (1, 1, 9, 9), tracker=Still())
    next(tracks)
    next(tracks)
    assert len(read) <= 3


def test_an_image_folder_is_read_in_natural_order(
    image_folder: Path, clip: tuple[list[np.ndarray], np.ndarray]
) -> None:
    tracks = list(track(image_folder, clip[1][0], tracker=Still()))
    assert [t.index for t in tracks] == list(range(12))


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.mp4"):
        next(track(tmp_path / "none.mp4", (1, 1, 9, 9), tracker=Still()))


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (100, 100, 5, 5), (1, 2, 3), "ab", (1, 2, float("nan"), 4), []])
def test_boxes_that_cannot_be_tracked(box: Any) -> None:
    with pytest.raises(BoxError):
        next(track(pictures(2), box, tracker=Still()))


def test_several_targets_share_a_tracker(tmp_path: Path) -> None:
    from tracker.tracking.tracker import SiamTracker

    single = SiamTracker.from_pretrained(tiny_model(tmp_path / "tiny.safetensors"), "cpu")
    frames = (Frame(image, index=5 + k) for k, image in enumerate(moving_square(4)[0]))
    tracks = list(track(frames, [(20, 30, 28, 28), (100, 60, 30, 30)], tracker=single))
    assert [(t.index, t.target_id) for t in tracks] == [(k, n) for k in range(5, 9) for n in (0, 1)]
    assert [t.box.tolist() for t in tracks[:2]] == [[20, 30, 28, 28], [100, 60, 30, 30]]
