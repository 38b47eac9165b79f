"""The project file: append-only, whole after any end, undo, two writers; and what the machine fills in between key
boxes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.annotate.clips import boxes, walk
from tests.annotate.standin import Slowed
from tracker.annotate import AnnotationError, Conflict, Project, annotate
from tracker.annotate.boxes_csv import read_keys
from tracker.annotate.clip import Target
from tracker.annotate.frames import open_frames
from tracker.annotate.machine import Machine, Stretch, stretches
from tracker.annotate.retrack import Pass, join
from tracker.annotate.simulate import annotate_like_a_person, by_interpolation, by_tracking
from tracker.annotate.views import Desk
from tracker.annotate.worker import Worker
from tracker.errors import BoxError
from tracker.geometry import iou
from tracker.media.sources.open import open_source

ROOT = Path(__file__).parents[2]
BOX = (10.0, 20.0, 30.0, 40.0)


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk(tmp_path_factory.mktemp("clip") / "walk.mp4")


def begun(path: Path) -> tuple[Project, Target]:
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
    desk = Desk(project, Worker(project, Slowed))
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
    machine = Machine(frames, Slowed())
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


def test_the_simulated_annotator_needs_fewer_boxes_with_a_tracker(clip_file: Path) -> None:
    truth = boxes(1) + np.array([[0, 12 * np.sin(k), 0, 0] for k in range(60)]) * 0
    truth = truth.copy()
    frames = open_frames(clip_file)
    bent = boxes(1).copy()
    bent[:, 1] += 30 * np.sin(np.arange(60) / 3)
    lines = annotate_like_a_person(bent, by_interpolation(60))
    assert lines.drawn is not None and lines.drawn > 4 and lines.curve[-1] >= 0.8
    fill, machine = by_tracking(frames, Slowed())
    outcome = annotate_like_a_person(truth, fill)
    assert outcome.drawn == 1 and machine.tracked == 59
    frames.close()


def test_key_files_are_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("frame,id,class,x,y,w,h\n0,1,car,1,2,3,4\n9,1,car,,,,\n")
    first, gone = read_keys(tmp_path / "k.csv")
    assert first.box is not None and first.box.tolist() == [1, 2, 3, 4] and gone.box is None and first.label == "car"
    for text, said in (
        ("x,y,w,h\n1,2,3,4\n", "no column 'frame'"),
        ("frame,x,y,w,h\nten,1,2,3,4\n", "not a whole number"),
        ("frame,x,y,w,h\n1,1,2,3\n", "four numbers"),
        ("frame,x,y,w,h\n", "no row"),
    ):
        (tmp_path / "k.csv").write_text(text)
        with pytest.raises(AnnotationError, match=said):
            read_keys(tmp_path / "k.csv")


def run(*args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests" / "annotate" / "standin.py"), *map(str, args)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1", **env}, capture_output=True, text=True, timeout=120
    )


def test_the_tool_from_files_to_files(clip_file: Path, tmp_path: Path) -> None:
    rows = [f"{k},{n},patch,{','.join(map(str, boxes(n)[k]))}" for n in (1, 2) for k in (0, 59)]
    (tmp_path / "keys.csv").write_text("\n".join(["frame,id,class,x,y,w,h", *rows]) + "\n")
    done = run(
        clip_file,
        "--headless",
        "keys.csv",
        "--export",
        "yolo=labels",
        "--export",
        "csv=all.csv",
        "--pictures",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "2 key boxes, boxes in 60 of 60 frames" in done.stdout and "no tracks" in done.stdout
    assert len(list((tmp_path / "labels" / "labels" / "train").glob("*.txt"))) == 60
    assert len(list((tmp_path / "labels" / "images" / "train").glob("*.jpg"))) == 60
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 121
    again = run(clip_file, "--headless", "keys.csv", "--export", "yolo=labels", cwd=tmp_path)
    assert again.returncode == 2 and "exists already" in again.stderr
    later = run("--project", "walk.annotations.jsonl", "--export", "cvat=a.xml", cwd=tmp_path)
    assert later.returncode == 0 and (tmp_path / "a.xml").exists()
    new = run(clip_file, "--project", "second.jsonl", "--import", "cvat=a.xml", "--export", "mot=m", cwd=tmp_path)
    assert new.returncode == 0 and "2 targets from a.xml" in new.stdout
    assert (tmp_path / "m" / "walk" / "gt" / "gt.txt").read_text().count("\n") == 120
    wrong = run("nothing.mp4", "--headless", "keys.csv", cwd=tmp_path)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr and "nothing.mp4" in wrong.stderr
    typo = run(clip_file, "--export", "yollo=x", cwd=tmp_path)
    assert typo.returncode == 2 and "Did you mean 'yolo'" in typo.stderr


def test_killed_at_any_moment_the_tool_goes_on_where_it_was(clip_file: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text(
        "frame,x,y,w,h\n" + "".join(f"{k},{','.join(map(str, boxes(2)[k]))}\n" for k in (10, 30, 50))
    )
    command = [
        sys.executable,
        str(ROOT / "tests" / "annotate" / "standin.py"),
        str(clip_file),
        "--headless",
        "keys.csv",
    ]
    for delay in (0.0, 0.25, 0.5):
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "STANDIN_DELAY": "0.01"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        until = time.monotonic() + 30
        while not (tmp_path / "walk.annotations.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run(clip_file, "--headless", "keys.csv", "--export", "otb=o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 key boxes, boxes in 60 of 60 frames" in done.stdout
    with Project(tmp_path / "walk.annotations.jsonl") as project:
        assert sorted(project.target(1).keys) == [10, 30, 50]
        assert iou(project.target(1).boxes, boxes(2)).min() > 0.9
