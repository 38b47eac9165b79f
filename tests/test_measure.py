"""Measurements, calm boxes, other libraries' shapes, and many clips in one command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.helpers import tiny_model, tool
from tests.conftest import moving_square
from tracker.errors import BoxError, SiamTrackError
from tracker.geometry import iou
from tracker.interop.detections import detect, read_detections
from tracker.interop.mot_metrics import sequence_data
from tracker.interop.table import by_target, read_tracks
from tracker.measure import FixedLag, Zone, jitter, smooth, time_in_zones
from tracker.measure.zones import parse_zone
from tracker.types import Track, TrackState


def tracks(frames: int = 20, noise: float = 0.0) -> list[Track]:
    """Two targets; the second is lost in some frames."""
    rng = np.random.default_rng(0)
    out = []
    for k in range(frames):
        out.append(
            Track(
                np.array([10.0 + 4 * k, 20, 30, 20]) + noise * rng.standard_normal(4),
                0.9,
                TrackState.TRACKING,
                k,
                k / 10,
                0,
            )
        )
        state = TrackState.LOST if 5 <= k < 8 else TrackState.TRACKING
        out.append(Track(np.array([200.0, 20 + 2 * k, 30, 20]), 0.5, state, k, k / 10, 1))
    return out


def write_csv(path: Path, rows: list[Track]) -> Path:
    from tracker.media.sinks.boxes import CSV_HEADER, csv_lines
    from tracker.types import Frame

    lines = [line for t in rows for line in csv_lines(Frame(np.zeros((1, 1, 3), np.uint8), t.index, t.timestamp), [t])]
    path.write_text("\n".join([CSV_HEADER, *lines]) + "\n")
    return path


def test_a_still_box_is_calm_and_a_moving_one_is_not_left_behind() -> None:
    rng = np.random.default_rng(1)
    still = np.array([50.0, 60, 40, 30]) + 0.6 * rng.standard_normal((200, 4))
    assert jitter(smooth(still)) < 0.3 * jitter(still)
    k = np.arange(200)[:, None]
    path = np.concatenate(
        [100 + 80 * np.sin(k / 15), 100 + 60 * np.cos(k / 20), 40 + 10 * np.sin(k / 30), 30 + 0 * k], axis=1
    )
    assert iou(smooth(path), path).min() > 0.9
    assert (
        iou(smooth(path + 0.6 * rng.standard_normal(path.shape)), path).mean()
        > iou(path + 0.6 * rng.standard_normal(path.shape), path).mean()
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.tuples(*[st.integers(1, 500)] * 4)), max_size=30), st.integers(0, 9))
def test_every_box_comes_out_once_and_gaps_stay(boxes: list[tuple[int, ...] | None], lag: int) -> None:
    out = smooth([None if b is None else np.array(b, float) for b in boxes], lag)
    assert np.isfinite(out).all(axis=1).tolist() == [b is not None for b in boxes]
    assert (out[np.isfinite(out).all(axis=1)][:, 2:] > 0).all()
    smoother, late = FixedLag(lag), 0
    for k, box in enumerate(boxes):
        late += len(smoother.push(None if box is None else np.array(box, float)))
        assert k + 1 - late <= lag


def test_zones() -> None:
    zone = parse_zone("door=0,0,100,0,100,100,0,100")
    points = np.array([(50, 50), (150, 50), (50, 99), (np.nan, np.nan), (10, 10)], dtype=float)
    assert zone.holds(points).tolist() == [True, False, True, False, True]
    (row,) = time_in_zones(points, np.arange(5) / 5, [zone])
    assert row == {"zone": "door", "frames": 3.0, "seconds": pytest.approx(0.6), "entries": 3, "first": 0.0}
    hollow = Zone(
        "c", np.array([(0, 0), (100, 0), (100, 100), (60, 100), (60, 40), (40, 40), (40, 100), (0, 100)], dtype=float)
    )
    assert hollow.holds(np.array([(50.0, 80), (20, 80)])).tolist() == [False, True]
    for wrong in ("door", "door=1,2,3,4", "=1,2,3,4,5,6", "a=x,y,1,2,3,4"):
        with pytest.raises(SiamTrackError, match="not a zone"):
            parse_zone(wrong)


def test_the_report_of_a_csv(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", tracks())
    done = tool(
        "report", "t.csv", "--length", "0,0,100,0=2m", "--zone", "left=0,0,60,0,60,100,0,100", "--smooth", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "jitter" in done.stdout
    folder = tmp_path / "t-report"
    rows = list(csv.DictReader((folder / "measurements.csv").open()))
    assert len(rows) == 40 and float(rows[10]["speed_m_per_s"]) == pytest.approx(4 * 10 * 0.02, rel=0.05)
    summary = list(csv.DictReader((folder / "summary.csv").open()))
    assert float(summary[0]["path_m"]) == pytest.approx(19 * 4 * 0.02, rel=0.05) and summary[1]["seen"] == "17"
    zones = list(csv.DictReader((folder / "zones.csv").open()))
    assert zones[0]["zone"] == "left" and float(zones[0]["frames"]) == 9 and float(zones[1]["frames"]) == 0
    page = (folder / "report.html").read_text()
    assert "<svg" in page and "data:image/jpeg" in page and "<script" not in page
    again = tool("report", "t.csv", cwd=tmp_path)
    assert again.returncode == 2 and "there already" in again.stderr
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert "must name frame" in tool("report", "bad.csv", cwd=tmp_path).stderr


def test_supervision_there_and_back() -> None:
    pytest.importorskip("supervision")
    from tracker.interop.supervision import from_detections, to_detections

    rows = [t for t in tracks() if t.index == 6]
    found = to_detections(rows)
    assert len(found) == 1 and found.tracker_id.tolist() == [0] and found.xyxy.tolist() == [[34, 20, 64, 40]]
    (back,) = from_detections(found)
    assert back.box.tolist() == rows[0].box.tolist() and back.index == 6 and back.state is TrackState.TRACKING
    assert len(to_detections([])) == 0 and from_detections(to_detections([])) == []


def test_pandas_there_and_back(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    from tracker.interop.table import from_pandas, to_pandas

    rows = tracks()
    back = from_pandas(to_pandas(rows))
    read = read_tracks(write_csv(tmp_path / "t.csv", rows))
    for got in (back, read):
        assert [(t.index, t.target_id, t.state) for t in got] == [(t.index, t.target_id, t.state) for t in rows]
        assert all(np.allclose(a.box, b.box) for a, b in zip(got, rows, strict=True) if b.visible)
    assert {k: len(v) for k, v in by_target(read).items()} == {0: 20, 1: 20}


def test_mot_metrics_by_trackeval() -> None:
    truth = tracks()
    data = sequence_data(truth, truth[:-1])
    assert (data["num_gt_dets"], data["num_tracker_dets"], data["num_gt_ids"]) == (37, 36, 2)
    pytest.importorskip("trackeval")
    from tracker.interop.mot_metrics import mot_metrics

    perfect = mot_metrics(truth, truth)
    assert (
        perfect["hota"] == pytest.approx(1)
        and perfect["idf1"] == 1
        and perfect["mota"] == 1
        and perfect["switches"] == 0
    )
    swapped = [
        t if t.index < 10 else Track(t.box, t.score, t.state, t.index, t.timestamp, 1 - t.target_id) for t in truth
    ]
    worse = mot_metrics(truth, swapped)
    assert worse["switches"] == 2 and worse["idf1"] < 0.7 and worse["deta"] == pytest.approx(1)


def test_detections_pick_the_targets(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("frame,x1,y1,x2,y2,score\n0,10,20,40,60,0.9\n0,1,1,5,5,0.2\n1,7,7,9,9,0.9\n")
    assert [b.tolist() for b in read_detections(tmp_path / "d.csv")] == [[10, 20, 30, 40], [1, 1, 4, 4]]
    assert [b.tolist() for b in read_detections(tmp_path / "d.csv", 0, 0.5)] == [[10, 20, 30, 40]]
    (tmp_path / "r.json").write_text(
        json.dumps([{"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}])
    )
    assert read_detections(tmp_path / "r.json")[0].tolist() == [1, 2, 3, 4]
    with pytest.raises(BoxError, match="no box in frame 5"):
        read_detections(tmp_path / "d.csv", 5)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BoxError, match="Can't read detections"):
        read_detections(tmp_path / "x.json")
    image = np.zeros((9, 9, 3), np.uint8)
    assert len(detect(lambda _: [(0, 0, 5, 5, 0.9), (0, 0, 5, 5, 0.1)], image, 0.5)) == 1
    with pytest.raises(BoxError, match="found nothing"):
        detect(lambda _: [], image)


def test_track_takes_detections_and_calms_boxes(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny.safetensors")
    images, _ = moving_square(6)
    folder = tmp_path / "frames"
    folder.mkdir()
    for k, image in enumerate(images):
        cv2.imwrite(str(folder / f"{k}.png"), image)
    (tmp_path / "d.csv").write_text("frame,x,y,w,h\n0,20,30,28,28\n0,60,60,20,20\n")
    done = tool(
        "track",
        "frames",
        "--detections",
        "d.csv",
        "--save-boxes",
        "o.csv",
        "--smooth",
        2,
        "--model",
        model,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = read_tracks(tmp_path / "o.csv")
    assert [(t.index, t.target_id) for t in rows] == [(k, n) for k in range(6) for n in range(2)]
