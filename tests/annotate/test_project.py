"""The project file: append-only, whole after any end, undo, two writers; and what the machine fills in between key
boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.annotate.clips import boxes
from tests.annotate.standin import Slowed
from tracker.annotate import AnnotationError, Conflict, Project, annotate
from tracker.annotate.clip import AnnotatedTarget
from tracker.annotate.frames import open_frames
from tracker.annotate.page_backend import PageBackend
from tracker.annotate.retrack import Pass, join
from tracker.annotate.stretches import Stretch, StretchTracker, stretches
from tracker.annotate.worker import RetrackWorker
from tracker.errors import BoxError
from tracker.geometry import iou
from tracker.media.sources.open import open_source

BOX = (10.0, 20.0, 30.0, 40.0)


def begun(path: Path) -> tuple[Project, AnnotatedTarget]:
    project = Project(path)
    return project, project.add_target(project.add_clip("clip.mp4", 320, 240, 50), "car", "vehicle")


def picture(project: Project) -> list[tuple[object, ...]]:
    """All that a project says, to compare."""
    return [
        (
            t.id, t.name, t.label, t.colour, {k: None if b is None else tuple(b) for k, b in t.keys.items()},
            t.approved.tolist(),
            np.nan_to_num(t.boxes, nan=-1).tolist(), np.nan_to_num(t.scores, nan=-1).tolist(), t.occluded.tolist(),
            [(s.start, s.end) for s in project.pending(t)],
        )
        for clip in project.clips
        for t in clip.targets
    ]  # fmt: skip


def test_a_project_is_read_back_as_it_was_left_and_is_readable(tmp_path: Path) -> None:
    project, car = begun(tmp_path / "p.jsonl")
    project.set_key(car, 5, BOX)
    project.set_key(car, 9, None)
    project.write_track(
        car, Stretch(5, 9, 6, 8), 6, np.tile(BOX, (3, 1)), np.full(3, 0.7), np.array([False, True, False])
    )
    project.approve(car, 0, 20)
    before = picture(project)
    project.close()
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert lines[3] == {"do": "key", "target": 1, "frame": 5, "box": list(BOX)}
    with Project(tmp_path / "p.jsonl") as again:
        assert picture(again) == before


@pytest.mark.parametrize("tail", [b'{"do": "key", "tar', b"\x00\x00\x00", b'{"do": "key"\n'])
def test_a_damaged_last_line_is_left_out_and_the_file_goes_on(tmp_path: Path, tail: bytes) -> None:
    project, car = begun(tmp_path / "p.jsonl")
    project.set_key(car, 5, BOX)
    project.close()
    with open(tmp_path / "p.jsonl", "ab") as file:
        file.write(tail)
    with Project(tmp_path / "p.jsonl") as again:
        assert list(again.target(1).keys) == [5]
        again.set_key(again.target(1), 7, BOX)
    with Project(tmp_path / "p.jsonl") as third:
        assert sorted(third.target(1).keys) == [5, 7]


def test_damage_in_the_middle_other_files_and_a_second_program_are_said(tmp_path: Path) -> None:
    project, car = begun(tmp_path / "p.jsonl")
    project.set_key(car, 5, BOX)
    with pytest.raises(AnnotationError, match="open in another program"):
        Project(tmp_path / "p.jsonl")
    project.close()
    lines = (tmp_path / "p.jsonl").read_text().splitlines()
    (tmp_path / "q.jsonl").write_text("\n".join([*lines[:2], "rubbish", *lines[2:]]) + "\n")
    with pytest.raises(AnnotationError, match="line 3"):
        Project(tmp_path / "q.jsonl")
    for text in ("hello", "hello\nworld\n", '{"a": 1}\n'):
        (tmp_path / "other.txt").write_text(text)
        with pytest.raises(AnnotationError):
            Project(tmp_path / "other.txt")
        assert (tmp_path / "other.txt").read_text() == text
    (tmp_path / "new.jsonl").write_text('{"project": "siamtrack annotate", "version": 9}\n')
    with pytest.raises(AnnotationError, match="later version"):
        Project(tmp_path / "new.jsonl")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["key", "out", "unkey", "approve", "track", "undo", "edit", "new", "drop"]),
            st.integers(0, 49),
        ),
        max_size=15,
    )
)
def test_whatever_is_done_the_file_gives_it_back_and_undo_goes_back_to_the_start(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("p") / "p.jsonl"
    project, _ = begun(path)
    for what, frame in steps:
        targets = project.clips[0].targets
        if what == "undo":
            project.undo()
        elif what == "new" or not targets:
            project.add_target(project.clips[0])
        else:
            one = targets[frame % len(targets)]
            if what in ("key", "out"):
                project.set_key(one, frame, (frame, 1, 5, 5) if what == "key" else None)
            elif what == "unkey" and one.keys:
                project.remove_key(one, min(one.keys))
            elif what == "approve":
                project.approve(one, frame // 2, frame)
            elif what == "edit":
                project.edit_target(one, name=f"n{frame}")
            elif what == "drop":
                project.drop_target(one)
            elif what == "track" and (todo := project.pending(one)):
                s = todo[0]
                project.write_track(
                    one, s, s.first, np.tile(BOX, (s.length, 1)), np.full(s.length, 0.5), np.zeros(s.length, bool)
                )
    before = picture(project)
    project.close()
    with Project(path) as again:
        assert picture(again) == before
        while again.undo():
            pass
        assert again.clips[0].targets == []


def test_approved_frames_are_left_alone_by_the_machine_until_a_person_corrects_them(tmp_path: Path) -> None:
    project, car = begun(tmp_path / "p.jsonl")
    project.set_key(car, 0, BOX)
    (rest,) = project.pending(car)
    project.write_track(car, rest, 1, np.tile(BOX, (49, 1)), np.full(49, 0.9), np.zeros(49, bool))
    assert project.pending(car) == []
    project.approve(car, 0, 30)
    project.write_track(car, rest, 1, np.tile((1.0, 1, 9, 9), (49, 1)), np.full(49, 0.2), np.zeros(49, bool))
    assert car.boxes[30].tolist() == list(BOX) and car.boxes[31].tolist() == [1, 1, 9, 9]
    project.set_key(car, 40, BOX)
    assert not car.approved[1:].any() and [(s.start, s.end) for s in project.pending(car)] == [(0, 40), (40, None)]
    project.undo()
    assert car.approved[:31].all() and project.pending(car) == []
    project.close()


def test_two_windows_lose_no_box_in_silence(tmp_path: Path) -> None:
    project, car = begun(tmp_path / "p.jsonl")
    desk = PageBackend(project, RetrackWorker(project, Slowed))
    desk.command({"do": "key", "target": 1, "frame": 4, "box": [1, 1, 9, 9], "seen": 0})
    with pytest.raises(Conflict, match="another window"):
        desk.command({"do": "key", "target": 1, "frame": 4, "box": [2, 2, 9, 9], "seen": 0})
    assert car.keys[4].tolist() == [1, 1, 9, 9]  # type: ignore[union-attr]
    seen = desk.state()["clips"][0]["targets"][0]["keys"][0][2]
    desk.command({"do": "key", "target": 1, "frame": 4, "box": [2, 2, 9, 9], "seen": seen})
    with pytest.raises(Conflict):
        desk.command({"do": "unkey", "target": 1, "frame": 4, "seen": seen})
    for wrong in (
        {"do": "kye"},
        {"do": "key"},
        {"do": "key", "target": 9, "frame": 0, "box": None},
        {"do": "new", "clip": 0, "colour": "red"},
    ):
        with pytest.raises(AnnotationError):
            desk.command(wrong)
    with pytest.raises(BoxError, match="no area"):
        desk.command({"do": "key", "target": 1, "frame": 0, "box": [1, 1, 0, 5]})
    project.close()


def test_any_frame_by_number_is_the_frame_that_reading_through_gives(clip_file: Path, image_folder: Path) -> None:
    for spec in (clip_file, image_folder):
        with open_source(spec) as source:
            images = [frame.image for frame in source]
        frames = open_frames(spec)
        assert len(frames) == len(images)
        for k in (5, 0, len(images) - 1, 3, 4, len(images) // 2, 1):
            assert (frames[k] == images[k]).all()
        assert [k for k, _ in frames.walk(7, 2)] == [7, 6, 5, 4, 3, 2]
        assert all((image == images[k]).all() for k, image in frames.walk(9, 0))
        frames.close()


def test_forward_and_backward_meet_and_an_occlusion_is_bridged(clip_file: Path) -> None:
    keys = {0: boxes(0)[0], 59: boxes(0)[59]}
    clip = annotate(clip_file, {"car:vehicle": keys, "back": {40: boxes(1)[40]}}, tracker=Slowed())
    car, back = clip.targets
    assert (car.name, car.label) == ("car", "vehicle")
    overlap = iou(car.boxes, boxes(0))
    assert overlap.min() > 0.8, "behind the pillar the box goes on in a straight line"
    assert car.occluded[28:33].all() and not car.occluded[:20].any() and car.doubtful()[28:33].all()
    assert iou(back.boxes, boxes(1)).min() > 0.9, "from one box in the midst to both ends"


def test_a_correction_tracks_only_what_it_touches(clip_file: Path) -> None:
    frames = open_frames(clip_file)
    machine = StretchTracker(frames, Slowed())
    keys = {0: boxes(2)[0], 40: boxes(2)[40]}
    for stretch in stretches(keys, 60):
        machine.track(keys, stretch)
    before = machine.tracked
    keys[20] = boxes(2)[20]
    for stretch in stretches(keys, 60):
        machine.track(keys, stretch)
    assert machine.tracked - before == 40, (
        "forward and backward from the new box; what came from its neighbours is known"
    )
    frames.close()


def test_leaving_the_picture_is_no_box_until_the_next(clip_file: Path) -> None:
    clip = annotate(clip_file, {0: boxes(2)[0], 20: None, 30: boxes(2)[30]}, tracker=Slowed())
    assert clip.targets[0].present.tolist() == [True] * 20 + [False] * 10 + [True] * 30


def test_passes_that_never_meet_are_doubtful() -> None:
    still = np.tile((10.0, 10, 20, 20), (11, 1))
    away = np.tile((200.0, 10, 20, 20), (11, 1))
    ones, none = np.ones(11), np.zeros(11, bool)
    joined, scores, _ = join(Pass(0, still, ones, none), Pass(0, away, ones, none))
    assert joined[0].tolist() == still[0].tolist() and joined[-1].tolist() == away[0].tolist()
    assert (scores[1:-1] < 0.5).all()
