"""tools/verify.py, tools/calibrate.py and tools/stress.py as a user runs them, and the disturbed clips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.runtime.models import untrained_file
from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.datasets.base import SequenceData
from tracker.evaluation.robustness.footage import Footage, read_footage
from tracker.evaluation.robustness.perturb import KINDS, DisturbedClip, disturb
from tracker.evaluation.robustness.stress import ClipRun, count, markdown, track_clip
from tracker.model_config import ModelConfig
from tracker.settings import changed
from tracker.tracking.confidence import FEATURES

ROOT = Path(__file__).resolve().parents[2]


def footage(seed: int = 0, frames: int = 60) -> Footage:
    boxes = np.array([(40 + 2.0 * k, 60 + k, 28, 28) for k in range(frames)])
    images = [put(ground(seed=seed), thing(seed=seed + 1), x, y) for x, y, _, _ in boxes]
    return Footage(f"clip-{seed}", images, boxes, np.ones(frames, np.bool_))


@pytest.fixture(scope="module")
def two() -> tuple[Footage, Footage]:
    return footage(0), footage(5)


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_a_disturbed_clip_follows_from_its_seed(two: tuple[Footage, Footage], kind: str) -> None:
    first, again, other = disturb(*two, kind, 3), disturb(*two, kind, 3), disturb(*two, kind, 4)
    assert first is not None and again is not None and other is not None
    assert all(np.array_equal(a, b) for a, b in zip(first.images(), again.images(), strict=True))
    assert np.array_equal(first.truth, again.truth) and np.array_equal(first.absent, again.absent)
    same = all(np.array_equal(a, b) for a, b in zip(first.images(), other.images(), strict=True))
    assert same == (kind in ("none", "frozen"))  # on a short clip, all seeds freeze it until shortly before its end


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_called_absent_can_not_be_seen_and_the_rest_can(two: tuple[Footage, Footage], kind: str) -> None:
    clip = disturb(*two, kind, 1)
    assert clip is not None and not (clip.present & clip.absent).any() and clip.present[:4].all()
    assert (kind == "frozen") == (not clip.absent.any())
    patch = thing(seed=1).astype(np.int64)
    for image, (x, y, w, h), present, absent in zip(clip.images(), clip.truth, clip.present, clip.absent, strict=True):
        assert image.shape == (240, 320, 3) and image.dtype == np.uint8
        left, top = round(x), round(y)
        inside = left >= 0 and top >= 0 and left + w <= 320 and top + h <= 240
        if present and inside and not (kind == "leave" and (x % 1 or y % 1)):
            assert np.abs(image[top : top + 28, left : left + 28].astype(np.int64) - patch).mean() < 1
        if absent:
            found = cv2.matchTemplate(image, thing(seed=1), cv2.TM_SQDIFF_NORMED).min()
            assert found > 0.02


def test_a_target_that_leaves_comes_back_elsewhere(two: tuple[Footage, Footage]) -> None:
    clip = disturb(*two, "leave", 1)
    assert clip is not None
    for start, back in clip.absences():
        assert np.hypot(*(clip.truth[back, :2] - clip.footage.truth[start, :2])) > 10
        assert clip.present[back] and clip.absent[start:back].any()


def test_a_clip_that_is_too_short_is_left_out(two: tuple[Footage, Footage]) -> None:
    short = footage(0, 20)
    assert disturb(short, two[1], "cut") is None
    assert disturb(short, two[1], "none") is not None and disturb(two[1], short, "cut") is not None


def test_footage_is_read_from_a_sequence(tmp_path: Path, two: tuple[Footage, Footage]) -> None:
    paths = [str(tmp_path / f"{k}.png") for k in range(5)]
    for path, image in zip(paths, two[0].images, strict=False):
        cv2.imwrite(path, image)
    truth = two[0].truth[:5].copy()
    truth[3] = 0
    sequence = SequenceData("s", tuple(paths), truth, np.ones(5, np.bool_), truth[0])
    read = read_footage(sequence, 4)
    assert len(read) == 4 and read.valid.tolist() == [True, True, True, False]
    assert np.array_equal(read.images[2], two[0].images[2])


def clip_run(visible: list[int], overlap: list[float], absent: list[int]) -> ClipRun:
    gone = np.array(absent, np.bool_)
    over = np.where(gone, np.nan, np.array(overlap))
    clip = DisturbedClip("c", "cut", np.zeros((len(absent), 4)), ~gone, gone, None, None)  # type: ignore[arg-type]
    return ClipRun("c", "cut", over, np.array(visible, np.bool_), np.ones(len(absent)), ~gone, gone, clip.absences())


def test_counts_by_hand() -> None:
    run = clip_run([1, 1, 1, 0, 0, 1, 1], [1, 0.8, 0, 0, 0.5, 0.2, 0.9], [0, 0, 1, 1, 0, 0, 0])
    row = count([run], "all parts", "cut")
    assert (row.frames, row.absent_frames, row.absences) == (6, 2, 1)
    assert row.false_tracks == 0.5 and row.reacquired == 1.0
    assert row.kept == 0.5 and row.falsely_lost == 0.25
    never = count([clip_run([1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0])], "all parts", "cut")
    assert never.false_tracks == 0 and never.reacquired == 0 and never.kept == 0
    assert "| cut | 2 | 50.0 % | 1 | 100.0 % |" in markdown([row])


@pytest.mark.parametrize("kind", ["occlusion", "cut", "leave", "black"])
def test_parts_make_the_difference(two: tuple[Footage, Footage], kind: str) -> None:
    clip = disturb(*two, kind, 1)
    assert clip is not None
    tracker = pixel_tracker()
    on = count([track_clip(clip, tracker.model, tracker.engine, tracker.config)], "all parts", kind)
    off = count(
        [track_clip(clip, tracker.model, tracker.engine, changed(tracker.config, {"states.enabled": False}))],
        "without states",
        kind,
    )
    assert on.false_tracks is not None and on.false_tracks < 0.1 and on.reacquired == 1
    assert off.false_tracks == 1


def tool(name: str, *args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained network."""
    config = ModelConfig(
        backbone="efficientnet-lite0-80", neck_channels=16, template_size=65, search_size=129, head="classic"
    )
    return untrained_file(tmp_path_factory.mktemp("model") / "tiny.safetensors", config)


@pytest.fixture(scope="module")
def otb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("otb")
    for name, clip in (("One", footage(0, 36)), ("Two", footage(5, 36))):
        folder = root / name / "img"
        folder.mkdir(parents=True)
        for k, image in enumerate(clip.images):
            cv2.imwrite(str(folder / f"{k + 1:04d}.jpg"), image)
        np.savetxt(root / name / "groundtruth_rect.txt", clip.truth + np.array([1, 1, 0, 0]), fmt="%d", delimiter=",")
    return root


def test_verify_knows_a_picture_again(model: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), thing(50, seed))
    done = tool("verify", tmp_path / "b.png", tmp_path / "a.png", tmp_path / "a.png", "--model", model, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    alike = [reference["likeness"] for reference in said["references"]]
    assert alike[1] == pytest.approx(1, abs=1e-3) and alike[0] < alike[1] == said["likeness"]
    assert said["probability"] is None


def test_verify_answers_mistakes_in_a_sentence(model: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), thing(50, 1))
    (tmp_path / "b.png").write_text("no picture")
    for args, word in (
        ((tmp_path / "a.png",), "two pictures"),
        ((tmp_path / "a.png", tmp_path / "b.png"), "is damaged, empty or not an image"),
        ((tmp_path / "a.png", tmp_path / "c.png"), "does not exist"),
        ((tmp_path / "a.png", tmp_path / "a.png", "--query-box", "1,1,5,5"), "--box is needed"),
        ((tmp_path / "a.png", tmp_path / "a.png", "--box", "1,1,5,5"), "--query-box is needed"),
    ):
        done = tool("verify", *args, "--model", model)
        assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_calibrate_then_stress(model: Path, otb: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(model.read_bytes())
    done = tool(
        "calibrate",
        "--root",
        otb,
        "--model",
        own,
        "--kinds",
        "none,cut",
        "--frames",
        36,
        "--output",
        tmp_path / "c",
        "--write",
    )
    assert done.returncode == 0, done.stderr
    assert "calibration error" in done.stdout and (tmp_path / "c" / "reliability.png").stat().st_size > 5000
    from tracker.model.checkpoint import load_model

    tracking = load_model(own).config.tracking
    assert len(tracking.calibration.confidence) == 2 * len(FEATURES) + 1 and len(tracking.calibration.verification) == 4
    assert len(tracking.calibration.knots) == len(FEATURES) == len(tracking.calibration.confidence_plain) - 1
    command = (
        "stress",
        "--root",
        otb,
        "--model",
        own,
        "--frames",
        36,
        "--kinds",
        "none,cut",
        "--output",
        tmp_path / "s",
        "--quiet",
    )
    done = tool(*command, "--parts", "all parts;without states")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "s" / "stress.json").read_text())["rows"]
    assert {(row["part"], row["kind"]) for row in rows} == {
        (p, k) for p in ("all parts", "without states") for k in ("none", "cut", "all")
    }
    assert all(row["false_tracks"] == 1 for row in rows if row["part"] == "without states" and row["kind"] != "none")
    assert "| without states | 100.0 % |" in (tmp_path / "s" / "stress.md").read_text()
    again = tool(*command)
    assert again.returncode == 2 and "--overwrite" in again.stderr


def test_stress_answers_mistakes_in_a_sentence(model: Path, otb: Path) -> None:
    for args, word in (
        (("--parts", "all"), "no part"),
        (("--kinds", "fog"), "no disturbance"),
        (("--sequences", "One"), "one sequence only"),
    ):
        done = tool("stress", "--root", otb, "--model", model, *args)
        assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr, done.stderr
