"""Annotation formats: what is written is read back, by us and by the formats' own libraries."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.annotate import readers
from tracker.annotate import AnnotationError, Clip
from tracker.annotate.clip import between_keyframes, keyframes, new_target
from tracker.annotate.formats import FORMATS, check_target, format_of, read, write
from tracker.errors import OutputError

FAST = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TRACKS = ("coco-video", "mot", "cvat", "label-studio")
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=8).map(
    lambda s: s.strip() or "x"
)


@st.composite
def clips(draw: st.DrawFn) -> Clip:
    """A clip of some frames with up to three targets; boxes in thousandths of a pixel, inside the picture, gaps in
    between."""
    frames = draw(st.integers(1, 12))
    clip = Clip("walk", 640, 360, frames, Fraction(30000, 1001))
    for number in range(1, draw(st.integers(1, 3)) + 1):
        target = new_target(number, frames, draw(NAMES), draw(st.sampled_from(["car", "person on bike", "Hündchen"])))
        for k in range(frames):
            if draw(st.integers(0, 3)):
                x, y = draw(st.integers(0, 500_000)) / 1000, draw(st.integers(0, 300_000)) / 1000
                target.boxes[k] = x, y, draw(st.integers(1000, 100_000)) / 1000, draw(st.integers(1000, 50_000)) / 1000
                target.scores[k] = draw(st.sampled_from([1.0, 0.25]))
                target.occluded[k] = draw(st.booleans())
        clip.targets.append(target)
    return clip


def boxes_in(clip: Clip) -> dict[tuple[int, str], list[tuple[float, ...]]]:
    """(frame, class) -> boxes, for formats without tracks."""
    out: dict[tuple[int, str], list[tuple[float, ...]]] = {}
    for target in clip.targets:
        for k in np.flatnonzero(target.present):
            out.setdefault((int(k), target.label), []).append(tuple(np.round(target.boxes[k], 2)))
    return {key: sorted(found) for key, found in out.items()}


def near(a: dict[tuple[int, str], list[tuple[float, ...]]], b: dict[tuple[int, str], list[tuple[float, ...]]]) -> bool:
    return a.keys() == b.keys() and all(np.allclose(a[k], b[k], atol=0.011) for k in a)


@pytest.mark.parametrize("name", TRACKS)
@FAST
@given(clip=clips())
def test_tracks_come_back(name: str, clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("f") / f"out{FORMATS[name].suffix}"
    write(name, [clip], path)
    (back,) = read(name, path)
    assert (back.width, back.height, back.frame_count) == (640, 360, clip.frame_count)
    if name != "cvat":
        assert back.rate == clip.rate
    shown = [t for t in clip.targets if t.present.any()]
    if name == "coco-video" or name == "mot":
        assert [t.id for t in sorted(back.targets, key=lambda t: t.id)] == [t.id for t in shown]
    for target in shown:
        got = back.target(id=target.id)
        assert got.label == target.label
        assert (got.present == target.present).all()
        assert np.allclose(np.nan_to_num(got.boxes), np.nan_to_num(target.boxes), atol=0.0011)
        if name != "mot":
            assert got.name == target.name
        if name != "label-studio":
            assert (got.occluded == (target.occluded & target.present)).all()
        if name == "coco-video":
            assert np.allclose(got.scores[got.present], target.scores[target.present])


@pytest.mark.parametrize("name", ["coco", "yolo", "voc"])
@FAST
@given(clip=clips())
def test_boxes_come_back(name: str, clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("f") / f"out{FORMATS[name].suffix}"
    lost = write(name, [clip], path)
    assert any("no tracks" in sentence for sentence in lost)
    if not boxes_in(clip):
        return
    (back,) = read(name, path)
    assert near(boxes_in(back), boxes_in(clip))


@pytest.mark.parametrize("name", ["lasot", "got10k", "otb"])
@FAST
@given(clip=clips())
def test_sequences_come_back(name: str, clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("f") / "out"
    write(name, [clip], path)
    back = read(name, path)
    assert len(back) == len(clip.targets)
    left = [t.targets[0] for t in back]
    for target in clip.targets:
        match = [g for g in left if np.allclose(np.nan_to_num(g.boxes), np.nan_to_num(target.boxes), atol=0.0011)]
        assert match, name
        if name != "otb":
            assert any(
                (g.occluded == target.occluded).all() or (g.occluded == (target.occluded & target.present)).all()
                for g in match
            )


@FAST
@given(clip=clips(), tolerance=st.sampled_from([0.0, 1.0, 20.0]))
def test_keyframes_give_the_track_back_within_the_tolerance(clip: Clip, tolerance: float) -> None:
    for target in clip.targets:
        marks = keyframes(target.boxes, target.occluded, (), tolerance)
        shapes = [(k, None if out else target.boxes[k], bool(target.occluded[k])) for k, out in marks]
        boxes, occluded = between_keyframes(clip.frame_count, shapes)
        assert (np.isfinite(boxes).all(1) == target.present).all()
        assert np.abs(np.nan_to_num(boxes) - np.nan_to_num(target.boxes)).max() <= tolerance + 1e-6
        assert (occluded == (target.occluded & target.present)).all()


def test_a_straight_walk_takes_two_keyframes() -> None:
    boxes = np.array([(10.0 + 2 * k, 5.0, 20.0, 10.0) for k in range(50)])
    assert keyframes(boxes, np.zeros(50, bool)) == [(0, False), (49, False)]


@pytest.fixture
def walk() -> Clip:
    clip = Clip("walk", 640, 360, 20, Fraction(25))
    for number, label in ((1, "car"), (2, "dog")):
        target = new_target(number, 20, f"the {label}", label)
        target.boxes[2:15] = [(40.5 + 7 * k * number, 30.25 + k, 50, 40 - k) for k in range(13)]
        target.scores[2:15] = 1.0
        target.keys = {2: target.boxes[2]}
        clip.targets.append(target)
    return clip


def test_every_format_says_what_it_cannot_hold(walk: Clip, tmp_path: Path) -> None:
    walk.targets[0].scores[5] = 0.4
    for name, kind in FORMATS.items():
        lost = write(name, [walk], tmp_path / name / f"x{kind.suffix}")
        assert all(sentence.endswith((".", ")", "keeps it).")) for sentence in lost)
        if name != "csv":
            assert any("person" in s for s in lost) or name == "label-studio"


@pytest.mark.parametrize("name", ["coco", "coco-video"])
def test_pycocotools_reads_coco(name: str, walk: Clip, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    write(name, [walk], tmp_path / "x.json")
    readers.check_pycocotools(tmp_path / "x.json", walk)


@pytest.mark.parametrize("name", ["yolo", "voc"])
def test_supervision_reads_yolo_and_voc(name: str, walk: Clip, tmp_path: Path) -> None:
    pytest.importorskip("supervision")
    from tests.media.clips import write_clip

    walk.path = str(write_clip(tmp_path / "walk.mp4", [np.full((360, 640, 3), 90, np.uint8)] * 20))
    write(name, [walk], tmp_path / "out", pictures=True)
    readers.check_supervision(tmp_path / "out", walk, name)


def test_trackeval_reads_mot(walk: Clip, tmp_path: Path) -> None:
    pytest.importorskip("trackeval")
    for target in walk.targets:
        target.label = "pedestrian"
    write("mot", [walk], tmp_path / "mot")
    readers.check_trackeval(tmp_path / "mot", walk, tmp_path / "results")


@pytest.mark.parametrize(("name", "folder"), [("yolo", "labels/train"), ("voc", "Annotations")])
def test_a_short_visit_in_a_long_clip_is_not_lost_among_empty_files(name: str, folder: str, tmp_path: Path) -> None:
    clip = Clip("long", 640, 360, 5000, Fraction(25))
    target = new_target(1, 5000, "a", "car")
    target.boxes[2000:2010], target.scores[:] = (10, 10, 50, 40), 1.0
    clip.targets.append(target)
    lost = write(name, [clip], tmp_path)
    frames = sorted(int(file.stem.split("_")[-1]) for file in (tmp_path / folder).iterdir())
    assert len(frames) == 20 and set(range(2000, 2010)) <= set(frames) and frames[0] == 0 and frames[-1] == 4999
    assert any("4980 of 5000 frames are left out" in sentence for sentence in lost)


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.read])
def test_our_readers_give_the_same_boxes(name: str, walk: Clip, tmp_path: Path) -> None:
    path = tmp_path / f"x{FORMATS[name].suffix}"
    write(name, [walk], path)
    readers.check_ours(name, path, walk)


def test_others_cvat_and_label_studio_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(
        """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
        <meta><task><id>7</id><name>street</name>
        <size>10</size><original_size><width>320</width><height>240</height></original_size></task></meta>
        <track id="0" label="car" source="manual">
        <box frame="0" outside="0" occluded="0" keyframe="1" xtl="10" ytl="20" xbr="30" ybr="50" z_order="0"></box>
        <box frame="4" outside="0" occluded="1" keyframe="1" xtl="50" ytl="20" xbr="70" ybr="50" z_order="0"></box>
        <box frame="6" outside="1" occluded="0" keyframe="1" xtl="50" ytl="20" xbr="70" ybr="50" z_order="0"></box>
        </track></annotations>"""
    )
    (clip,) = read("cvat", tmp_path / "a.xml")
    (car,) = clip.targets
    assert clip.name == "street" and car.label == "car" and clip.frame_count == 10
    assert car.boxes[2].tolist() == [30, 20, 20, 30] and car.present.tolist() == [True] * 6 + [False] * 4
    assert car.occluded.tolist() == [False] * 4 + [True] * 2 + [False] * 4
    task = {
        "data": {"video": "/data/upload/street.mp4"},
        "annotations": [{"result": [{
            "id": "x1", "type": "videorectangle", "original_width": 320, "original_height": 240, "value": {
                "framesCount": 8, "duration": 0.32, "labels": ["bike"], "sequence": [
                    {"frame": 1, "enabled": True, "rotation": 0, "x": 0, "y": 50,
                     "width": 10, "height": 20, "time": 0.04},
                    {"frame": 5, "enabled": False, "rotation": 0, "x": 40, "y": 50,
                     "width": 10, "height": 20, "time": 0.2},
                ]}}]}],
    }  # fmt: skip
    (tmp_path / "ls.json").write_text(json.dumps([task]))
    (clip,) = read("label-studio", tmp_path / "ls.json")
    assert clip.name == "street" and clip.targets[0].label == "bike"
    assert (
        clip.targets[0].boxes[2].tolist() == [64, 120, 32, 48]
        and clip.targets[0].present.tolist() == [True] * 5 + [False] * 3
    )


def test_mistakes_are_sentences(walk: Clip, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="Did you mean 'yolo'"):
        format_of("yollo")
    with pytest.raises(AnnotationError, match=r"ends in \.json"):
        check_target("coco", tmp_path / "x.txt")
    write("mot", [walk], tmp_path / "m")
    with pytest.raises(OutputError, match="exists already"):
        check_target("mot", tmp_path / "m")
    (tmp_path / "bomb.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>')
    with pytest.raises(AnnotationError, match="entities"):
        read("cvat", tmp_path / "bomb.xml")
    for name, kind in FORMATS.items():
        if kind.read is not None:
            bad = tmp_path / f"bad{kind.suffix}"
            bad.write_text("nonsense") if kind.suffix else bad.mkdir(exist_ok=True)
            with pytest.raises(AnnotationError):
                read(name, bad)
