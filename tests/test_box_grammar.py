"""The grammar of box files: frames that rows name, every target, and what can be read in two ways."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.datasets.clips import read_clip
from tracker.datasets.registry import load_dataset
from tracker.datasets.tracks import DataError
from tracker.errors import BoxError
from tracker.media.box_files import init_boxes, read_all_boxes, read_box_file, read_boxes

NO = [np.nan] * 4
HEAD = "frame,timestamp,id,x,y,w,h,score,state\n"


def file(folder: Path, text: str | bytes, name: str = "b.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (HEAD + "2,,0,1,2,3,4,1,tracking\n4,,0,5,6,7,8,1,tracking\n", {2: [1, 2, 3, 4], 4: [5, 6, 7, 8]}),
        ('{"frame": 2, "box": [1, 2, 3, 4]}\n{"frame": 4, "box": [5, 6, 7, 8]}\n', {2: [1, 2, 3, 4], 4: [5, 6, 7, 8]}),
        ("3,1,2,3,3,4,1,-1,-1,-1\n\n5,1,6,7,7,8,1,-1,-1,-1\n", {2: [1, 2, 3, 4], 4: [5, 6, 7, 8]}),
        ("5,1,6,7,7,8,1,-1,-1,-1\n3,1,2,3,3,4,1,-1,-1,-1\n", {2: [1, 2, 3, 4], 4: [5, 6, 7, 8]}),
        ("frame;x;y;w;h\r\n2;1,5;2;3;4\r\n", {2: [1.5, 2, 3, 4]}),
        ("frame\txmin\tymin\txmax\tymax\n2\t1\t2\t4\t6\n", {2: [1, 2, 3, 4]}),
        ("1,2,3,4\n\n5,6,7,8\n", {0: [1, 2, 3, 4], 2: [5, 6, 7, 8]}),
        ("\n\n1,2,3,4\n", {2: [1, 2, 3, 4]}),
        ("x,y,w,h\n1,2,3,4\n\n5,6,7,8\n\n", {0: [1, 2, 3, 4], 2: [5, 6, 7, 8]}),
        ("1,2,3,4\n,,,\nnan,nan,nan,nan\n5,6,7,8 # seen again\n", {0: [1, 2, 3, 4], 3: [5, 6, 7, 8]}),
        ("1,2,3,4\r\r\n5,6,7,8\r\r\n", {0: [1, 2, 3, 4], 1: [5, 6, 7, 8]}),
        ("1,5;2;3;4;\n", {0: [1.5, 2, 3, 4]}),
        ("1,5\t2,5\t3,0\t4,0\n", {0: [1.5, 2.5, 3, 4]}),
        ("1,2,3,4\n".encode("utf-16"), {0: [1, 2, 3, 4]}),
        ("1,2,3,4\n".encode("utf-8-sig"), {0: [1, 2, 3, 4]}),
        ("1,1,10,20,30,40,1,1\n2,1,11,20,30,40,1,1\n", {0: [9, 19, 30, 40], 1: [10, 19, 30, 40]}),
    ],
)
def test_each_row_is_for_its_frame(tmp_path: Path, text: str | bytes, rows: dict[int, list[float]]) -> None:
    expected = np.array([rows.get(k, NO) for k in range(max(rows) + 1)])
    np.testing.assert_array_equal(read_boxes(file(tmp_path, text)), expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10,5 20,5 30,0 40,0\n", "line 1 .*one separator"),
        ("1,2,3,4\n1,2,3,4,5,6\n", "line 2 .*alike"),
        ("0,1,10,20,30,40,1,-1,-1,-1\n", "line 1 .*frames from 1"),
        ("10,20,30,40,0.9,1\n", "line 1 .*--init-format"),
        ("1,5,10,20,30,40\n1,5,11,20,30,40\n", "Lines 1 and 2 .*frame 1 of target 5"),
        (HEAD + "3,,0,1,2,3,4,1,tracking\n3,,0,1,2,3,4,1,tracking\n", "Lines 2 and 3"),
        (HEAD + "-3,,0,1,2,3,4,1,tracking\n", "line 2 .*frame"),
        (HEAD + "3.5,,0,1,2,3,4,1,tracking\n", "line 2 .*frame"),
        (HEAD + "99999999999,,0,1,2,3,4,1,tracking\n", "line 2 .*frame"),
        (HEAD + "3,,car,1,2,3,4,1,tracking\n", "line 2 .*id 'car'"),
        (HEAD + "3,,0,1,,3,4,1,tracking\n", "line 2 .*not a number"),
        ("x,x,y,w,h\n1,1,2,3,4\n", "twice"),
        ("1,2,3,1e400\n", "too large"),
        ("1,2,,4\n", "missing between"),
        ("1_0,2,3,4\n", "not a number"),
        ('{"frame": 1, "box": [1,2,3,4]}\n{"box": [1,2,3,4]}\n', "Line 2 .*no frame"),
        ('[{"box": [1,2,3,4]}]\n', "one object a line"),
        ("5,-1,10,20,30,40\n5,2,10,20,30,40\n", "Line 1 .*-1"),
        ("1,2,3,4\n".encode("utf-16-le"), "UTF-16 without"),
        (b"1,2,3,4\n\xff\xe9,2\n", "line 2"),
        ("10,20;40,20;40,60;10,60\n", "decimal commas"),
    ],
)
def test_what_is_wrong_or_ambiguous_is_refused_with_its_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(BoxError, match=says):
        read_all_boxes(file(tmp_path, text))


def test_the_option_decides(tmp_path: Path) -> None:
    path = file(tmp_path, "10,20,30,40,0.9,1\n")
    assert list(read_box_file(path, "mot").targets) == [19]
    with pytest.raises(BoxError, match="format boxes has 4"):
        read_box_file(path, "boxes")
    rows = file(tmp_path, "1,2,3,4\n5,6,7,8\n")
    with pytest.raises(BoxError, match="--first-row-frame 0 or --first-row-frame 1"):
        init_boxes(rows, 1)
    assert init_boxes(rows, 1, first=0)[0][0].tolist() == [5, 6, 7, 8]
    assert init_boxes(rows, 1, first=1)[0][0].tolist() == [1, 2, 3, 4]
    assert init_boxes(file(tmp_path, "1,2,3,4\n"), 40)[0][0].tolist() == [1, 2, 3, 4], (
        "a single row is for the first frame"
    )


def test_every_target_is_there(tmp_path: Path) -> None:
    mot = file(tmp_path, "1,0,11,21,30,40,1\n1,1,51,61,30,40,1\n9,7,51,61,30,40,1\n")
    boxes, left = init_boxes(mot, 0)
    assert {k: v.tolist() for k, v in boxes.items()} == {0: [10, 20, 30, 40], 1: [50, 60, 30, 40]} and left
    assert list(read_all_boxes(mot)) == [0, 1, 7]
    assert init_boxes(file(tmp_path, "1,1,11,21,30,40\n1,2,51,61,30,40\n"), 0)[0].keys() == {1, 2}, "ids as in the file"
    with pytest.raises(BoxError, match="targets"):
        read_boxes(mot)


def test_a_frame_without_a_box_names_those_with_one(tmp_path: Path) -> None:
    path = file(tmp_path, HEAD + "".join(f"{k},,0,{k},2,3,4,1,tracking\n" for k in range(60, 70)), "b.csv")
    assert init_boxes(path, 65)[0][0].tolist() == [65, 2, 3, 4]
    with pytest.raises(BoxError, match=r"frames 60 to 69: try --start-frame 60"):
        init_boxes(path, 0)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 300), st.integers(0, 5)),
        st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(2, 90), st.integers(2, 90)),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["csv", "jsonl", "mot"]),
    st.randoms(),
)
def test_any_order_and_gaps(rows: dict[tuple[int, int], tuple[int, ...]], kind: str, rng: object) -> None:
    """Whatever the order of the rows: the same boxes in the same frames."""
    items = list(rows.items())
    rng.shuffle(items)  # type: ignore[attr-defined]
    shift = 0 if min(target for _, target in rows) == 0 else -1  # MOT ids count from 1, unless one of them is 0
    text = {
        "csv": "id,frame,x,y,w,h\n" + "".join(f"{t},{f},{x},{y},{w},{h}\n" for (f, t), (x, y, w, h) in items),
        "jsonl": "".join(f'{{"id": {t}, "frame": {f}, "box": {list(box)}}}\n' for (f, t), box in items),
        "mot": "".join(f"{f + 1},{t},{x + 1},{y + 1},{w},{h},1,-1,-1,-1\n" for (f, t), (x, y, w, h) in items),
    }[kind]
    with tempfile.TemporaryDirectory() as folder:
        got = read_box_file(file(Path(folder), text)).targets
    for (frame, target), box in rows.items():
        assert got[target + (shift if kind == "mot" else 0)].at(frame).tolist() == list(box)  # type: ignore[union-attr]
    assert sum(len(t.frames) for t in got.values()) == len(rows)


def pictures(folder: Path, count: int) -> Path:
    import cv2

    folder.mkdir(parents=True)
    for k in range(count):
        cv2.imwrite(str(folder / f"{k:03d}.png"), np.full((60, 80, 3), k, np.uint8))
    return folder


def test_training_and_evaluation_take_the_same_frames(tmp_path: Path) -> None:
    clip = pictures(tmp_path / "clip", 8)
    boxes = file(tmp_path, HEAD + "".join(f"{k},,3,{k},2,30,40,1,tracking\n" for k in (5, 6)), "b.csv")
    (track,) = read_clip(clip, boxes, tmp_path / "store")
    assert track.present.tolist() == [5, 6] and track.boxes[5].tolist() == [5, 2, 30, 40]
    (clip / "boxes.csv").write_text(
        HEAD + "".join(f"{k},,{t},{k},2,30,40,1,tracking\n" for k in (0, 6) for t in (1, 2))
    )
    data = load_dataset("folder", tmp_path)
    assert data.names == ["clip.1", "clip.2"] and np.flatnonzero(data.sequences[0].valid).tolist() == [0, 6]


def test_fewer_lines_than_frames_are_refused_unless_told(tmp_path: Path) -> None:
    clip, boxes = pictures(tmp_path / "clip", 8), file(tmp_path, "1,2,30,40\n" * 5)
    with pytest.raises(DataError, match=r"5 lines for 8 frames.*--first-row-frame"):
        read_clip(clip, boxes, tmp_path / "store")
    (track,) = read_clip(clip, boxes, tmp_path / "store", first=3)
    assert track.present.tolist() == [3, 4, 5, 6, 7]
