"""Box files: what each sink writes, that it survives a kill, and that everything is read back."""

from __future__ import annotations

import json
import os
import signal
import string
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.errors import BoxError, OutputError
from tracker.media.box_files import init_boxes, read_all_boxes, read_boxes
from tracker.media.sinks.base import Sink, check_writable
from tracker.media.sinks.open import BOX_FORMATS, TEXT_FORMATS, box_format, open_boxes_sink
from tracker.types import Frame, Track, TrackState

IMAGE = np.zeros((48, 64, 3), np.uint8)


def track(box: Sequence[float], state: TrackState = TrackState.TRACKING, target: int = 0, score: float = 0.75) -> Track:
    return Track(np.asarray(box, dtype=np.float64), score, state, target_id=target)


def frame(index: int, timestamp: float | None = None) -> Frame:
    return Frame(IMAGE, index, timestamp)


def write(path: Path, rows: Sequence[Sequence[Track]], format: str | None = None, **options: bool) -> str:  # noqa: A002
    with open_boxes_sink(path, format, **options) as sink:
        assert isinstance(sink, Sink)
        for k, tracks in enumerate(rows):
            sink.write(frame(k, k / 25), tracks)
    return path.read_text()


THREE = [
    [track((1, 2, 30, 40))],
    [track((5, 6, 7, 8), TrackState.LOST, score=0.1)],
    [track((1.5, 2.25, 30, 40), TrackState.UNCERTAIN)],
]


def test_csv(tmp_path: Path) -> None:
    assert write(tmp_path / "o.csv", THREE).splitlines() == [
        "frame,timestamp,id,x,y,w,h,score,state",
        "0,0.000000,0,1.000,2.000,30.000,40.000,0.7500,tracking",
        "1,0.040000,0,,,,,0.1000,lost",
        "2,0.080000,0,1.500,2.250,30.000,40.000,0.7500,uncertain",
    ]


def test_jsonl(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in write(tmp_path / "o.jsonl", THREE).splitlines()]
    assert rows[0] == {"frame": 0, "timestamp": 0.0, "id": 0, "box": [1, 2, 30, 40], "score": 0.75, "state": "tracking"}
    assert rows[1]["box"] is None and rows[1]["state"] == "lost"


def test_text_formats(tmp_path: Path) -> None:
    assert write(tmp_path / "g.txt", THREE).split() == [
        "1.000,2.000,30.000,40.000",
        "0.000,0.000,0.000,0.000",
        "1.500,2.250,30.000,40.000",
    ]
    assert write(tmp_path / "o.txt", THREE, "otb").split() == [
        "1.00,2.00,30.00,40.00",
        "0.00,0.00,0.00,0.00",
        "1.50,2.25,30.00,40.00",
    ]
    assert write(tmp_path / "v.txt", THREE, "vot").split() == ["1", "0", "1.5000,2.2500,30.0000,40.0000"]
    assert write(tmp_path / "m.txt", [*THREE, [track((0, 0, 3, 4), target=4)]], "mot").split() == [
        "1,1,2.000,3.000,30.000,40.000,0.7500,-1,-1,-1",
        "3,1,2.500,3.250,30.000,40.000,0.7500,-1,-1,-1",
        "4,5,1.000,1.000,3.000,4.000,0.7500,-1,-1,-1",
    ]


def test_got10k_toolkit_reads_the_file(tmp_path: Path) -> None:
    write(tmp_path / "g.txt", THREE)
    assert np.loadtxt(tmp_path / "g.txt", delimiter=",").shape == (3, 4)


def test_several_targets(tmp_path: Path) -> None:
    two = [[track((1, 2, 3, 4)), track((5, 6, 7, 8), target=1)], [], [track((5, 6, 7, 9), target=1)]]
    for name, format in (("o.csv", None), ("o.jsonl", None), ("o.txt", "mot")):  # noqa: A001
        write(tmp_path / name, two, format)
        boxes = read_all_boxes(tmp_path / name)
        assert list(boxes) == [0, 1]
        np.testing.assert_array_equal(boxes[0], [[1, 2, 3, 4]])
        np.testing.assert_array_equal(boxes[1], [[5, 6, 7, 8], [np.nan] * 4, [5, 6, 7, 9]], "row k is frame k")
    with pytest.raises(OutputError, match="holds one target"):
        write(tmp_path / "got.txt", two)
    assert write(tmp_path / "one.txt", [[], [track((1, 2, 3, 4))]]).split()[0] == "0.000,0.000,0.000,0.000"


coordinate = st.floats(-5000, 5000, allow_nan=False)
size = st.floats(0.01, 5000, allow_nan=False)
states = st.sampled_from(TrackState)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(coordinate, coordinate, size, size, states), min_size=1, max_size=6),
    st.sampled_from(BOX_FORMATS),
)
def test_round_trip(rows: list[tuple[float, float, float, float, TrackState]], format: str) -> None:  # noqa: A002
    tracks = [[track(row[:4], row[4])] for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("o.txt" if format in TEXT_FORMATS else f"o.{format}")
        write(path, tracks, format)
        if format == "mot" and not any(row[4] is not TrackState.LOST for row in rows):
            with pytest.raises(BoxError, match="empty"):
                read_boxes(path)
            return
        got = read_boxes(path)
    expected = np.array([row[:4] for row in rows])
    lost = np.array([row[4] is TrackState.LOST for row in rows])
    expected[lost] = 0 if format in ("got10k", "otb") else np.nan
    if format == "mot":
        expected = expected[: np.flatnonzero(~lost)[-1] + 1]  # no line after the last one in which it is seen
    if format == "vot":
        expected[0] = np.nan  # its first line is the code for "initialised"
    np.testing.assert_allclose(got, expected, atol=0.00501)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("10,20,30,40\n1,1,1,1", (10, 20, 30, 40)),
        ("10\t20\t30\t40\n", (10, 20, 30, 40)),
        ("10 20  30 40\n", (10, 20, 30, 40)),
        ("10; 20; 30; 40\n", (10, 20, 30, 40)),
        ("\ufeff1e1, 2E+1 ,30.5,40.\n", (10, 20, 30.5, 40)),
        ("# x y w h\n\n10,20,30,40,\n", (10, 20, 30, 40)),
        ("10,20,40,20,40,60,10,60\n", (10, 20, 30, 40)),
        ("1,1,11,21,30,40,1,-1,-1,-1\n", (10, 20, 30, 40)),
        ("1,-1,11,21,30,40,0.9\n", (10, 20, 30, 40)),
        ('{"box": [10, 20, 30, 40]}\n', (10, 20, 30, 40)),
        ("id,left,top,width,height\n3,10,20,30,40\n", (10, 20, 30, 40)),
        ('"x","y","w","h"\n"10","20","30","40"\n', (10, 20, 30, 40)),
    ],
)
def test_formats_of_others(tmp_path: Path, text: str, box: tuple[float, ...]) -> None:
    (tmp_path / "b.txt").write_text(text, encoding="utf-8")
    (found,) = init_boxes(tmp_path / "b.txt")[0].values()
    assert found.tolist() == list(box)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("hello world\n", "line 1"),
        ("1,2,3\n", "3 values"),
        ("1,2,3,4\n1,2,3,four\n", "line 2"),
        ("x,y,w,h\n", "no row"),
        ("x,y,w,h\n1,2,3\n", "line 2"),
        ("a,b,c,d\n1,2,3,4\n", "header"),
        ('{"box": [1, 2]}\n', "2 values"),
        ('{"bx": 1}\n', "object"),
        ("{broken\n", "object"),
        ("m1,2,3,4 something\n", "line 1"),
        ("\x00\x01", "line 1"),
    ],
)
def test_anything_else_is_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "b.txt").write_text(text)
    with pytest.raises(BoxError, match=says) as caught:
        read_boxes(tmp_path / "b.txt")
    assert "b.txt" in str(caught.value)


@given(st.text(string.printable, max_size=80))
@settings(max_examples=60, deadline=None)
def test_no_text_gives_another_exception(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "b.txt").write_text(text, encoding="utf-8", errors="replace")
        try:
            assert read_boxes(Path(folder) / "b.txt").shape[1] == 4
        except BoxError as error:
            assert str(error)


def test_init_box_needs_an_area(tmp_path: Path) -> None:
    for text in ("0,0,0,0\n", "nan,nan,nan,nan\n", "1\n1,2,3,4\n"):
        (tmp_path / "b.txt").write_text(text)
        with pytest.raises(BoxError, match="first line"):
            init_boxes(tmp_path / "b.txt")
    with pytest.raises(BoxError, match="No such file"):
        init_boxes(tmp_path / "none.txt")
    (tmp_path / "b.bin").write_bytes(bytes(range(128, 256)))
    with pytest.raises(BoxError, match="not a text file"):
        init_boxes(tmp_path / "b.bin")


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        open_boxes_sink(path)
    assert path.read_text() == "precious"
    assert write(path, THREE, overwrite=True).startswith("frame,")


def test_check_writable(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("")
    assert check_writable(tmp_path / "new.csv") == tmp_path / "new.csv"
    assert not (tmp_path / "new.csv").exists()
    for path, says in (
        (tmp_path, "folder"),
        (tmp_path / "no" / "o.csv", "does not exist"),
        (tmp_path / "there.csv", "exists"),
        ("", "empty"),
    ):
        with pytest.raises(OutputError, match=says):
            check_writable(path)
    with pytest.raises(OutputError, match="input itself"):
        check_writable(tmp_path / "there.csv", overwrite=True, source=tmp_path / "there.csv")
    if os.geteuid() != 0:
        (tmp_path / "shut").mkdir(mode=0o500)
        with pytest.raises(OutputError, match="permission"):
            check_writable(tmp_path / "shut" / "o.csv")


@pytest.mark.parametrize(
    ("name", "format", "says"),
    [
        ("o.xml", None, "Can't tell"),
        ("o.txt", "xml", "not known"),
        ("o.csv", "mot", "ends in .csv"),
        ("o.txt", "csv", "ends in .txt"),
    ],
)
def test_format_choice(name: str, format: str | None, says: str) -> None:  # noqa: A002
    with pytest.raises(OutputError, match=says):
        box_format(name, format)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "o.txt").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "o.txt", THREE, overwrite=True)


KILLED = """
import sys, time
import numpy as np
from tracker.media.sinks.open import open_boxes_sink
from tracker.types import Frame, Track
sink = open_boxes_sink(sys.argv[1])
for k in range(10000):
    sink.write(Frame(np.zeros((4, 4, 3), np.uint8), k), [Track(np.array([1.0, 2, 3, k + 1]), 0.5)])
    print(k, flush=True)
    time.sleep(0.002)
"""


@pytest.mark.parametrize("name", ["o.csv", "o.jsonl", "o.txt"])
def test_a_killed_writer_leaves_every_frame(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(40)][-1]
    process.send_signal(signal.SIGKILL)
    process.wait()
    boxes = read_boxes(path)
    assert len(boxes) > seen and boxes[:, 3].tolist() == list(range(1, len(boxes) + 1))


def test_a_mistyped_box_file_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "boxes.txt").write_text("1,2,30,40\n")
    with pytest.raises(BoxError, match=r"Did you mean .*boxes\.txt\?"):
        init_boxes(tmp_path / "boxs.txt")
