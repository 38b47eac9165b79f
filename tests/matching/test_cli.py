"""`siamtrack match ...` as a user runs it: train on own things, enrol, verify, search, test; bad input is one
sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf

from tests.cli.helpers import write_video
from tests.matching.material import classes, shape, values
from tracker.cli import match, match_gallery, match_search, match_test, match_train, match_verify
from tracker.cli.common import run

ROOT = Path(__file__).parents[2]


def siamtrack(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "tracker.cli", "match", *map(str, words)]
    return subprocess.run(command, cwd=cwd or ROOT, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with a model that was trained on five things, and pictures of them that it has not seen."""
    pytest.importorskip("pytorch_metric_learning")
    folder = tmp_path_factory.mktemp("match")
    classes(folder / "things")
    for kind in range(5):
        (folder / "unseen" / f"thing{kind}").mkdir(parents=True)
        for k in range(3):
            cv2.imwrite(str(folder / "unseen" / f"thing{kind}" / f"{k}.png"), shape(kind, 50 + k))
    raw = values(folder / "things")
    raw["train"]["steps"] = 40
    (folder / "recipe.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(raw)))
    done = siamtrack("train", folder / "recipe.yaml", "--output", folder / "run", "--quiet")
    assert done.returncode == 0, done.stderr
    return folder, folder / "run" / "last.safetensors"


def test_own_things_from_training_to_search(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder, model = trained
    gallery = folder / "things.npz"
    for kind in range(5):
        assert (
            match_gallery.enrol(
                [str(gallery), "--name", f"thing{kind}", "--model", str(model), str(folder / "things" / f"thing{kind}")]
            )
            == 0
        )
    assert "5 things, 40 references in all" in capsys.readouterr().out
    assert match_search.search([str(gallery), str(folder / "unseen" / "thing3"), "--model", str(model), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 3 and sum(row["hits"][0]["name"] == "thing3" for row in rows) >= 2
    assert (
        match_verify.verify(
            [str(gallery), str(folder / "unseen" / "thing2" / "0.png"), "--model", str(model), "--far", "0.1", "--json"]
        )
        == 0
    )
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["name"] == "thing2" and 0 <= verdict["probability"] <= 1
    assert match_gallery.show([str(gallery)]) == 0 and "thing4\t8" in capsys.readouterr().out
    assert match_gallery.forget([str(gallery), "--name", "thing4"]) == 0 and "4 things left" in capsys.readouterr().out
    assert (
        match_test.test(
            [str(model), "--protocol", "oneshot", "--path", str(folder / "unseen"), "test.ways=5", "--json"]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.5
    assert match_test.test([str(model), "--protocol", "verification", "--path", str(folder / "unseen"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["genuine"] == 15
    assert match_test.calibrate([str(model), "--path", str(folder / "unseen")]) == 0
    assert "15 genuine and 90 impostor pairs" in capsys.readouterr().out


def test_a_run_is_not_overwritten_and_goes_on(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = trained
    assert run(match.main, ["train", str(folder / "recipe.yaml"), "--output", str(folder / "run")]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert match_train.train(["--output", str(folder / "run"), "--resume", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "match-face"], "Did you mean 'match-faces'"),
        (["train", "match-faces", "data.rot=x"], "Did you mean 'data.root'"),
        (["train", "match-faces", "data.root=/nowhere"], "data root /nowhere does not exist"),
        (["enrol", "g.npz", "--name", "mug", "none.jpg"], "none.jpg does not exist"),
        (["enrol", "g.txt", "--name", "mug", "PICTURE"], "must be a file that ends in .npz"),
        (["enrol", "g.npz", "--name", "mug", "EMPTY"], "an empty class can't be enrolled"),
        (["enrol", "g.npz", "--name", "mug", "PICTURE", "--model", "siamtrack-z"], "Did you mean 'siamtrack-"),
        (["enrol", "g.npz", "--name", "mug"], "what is to be enrolled"),
        (["verify", "g.npz", "PICTURE"], "gallery g.npz does not exist"),
        (["verify", "PICTURE"], "two things at least"),
        (["search", "HOSTILE", "PICTURE"], "is not a gallery"),
        (["test", "match-omniglot"], "tested on what"),
        (["calibrate", "match-omniglot"], "calibrated on what"),
        (
            ["train", "match-objects", "data.root=.", "data.sources=PAIRS"],
            "line 3: the picture gone.png does not exist",
        ),
        (["test", "match-omniglot", "--protocol", "verification", "--path", "nothing.csv"], "nothing.csv"),
    ],
)
def test_a_bad_request_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["siamtrack match"])
    cv2.imwrite("a.png", shape(0, 0))
    Path("empty").mkdir()
    Path("hostile.npz").write_bytes(b"PK\x03\x04 nothing good")
    Path("pairs.csv").write_text("a,b,label\na.png,a.png,1\na.png,gone.png,0\n")
    swap = {"PICTURE": "a.png", "EMPTY": "empty", "HOSTILE": "hostile.npz"}
    pairs = "data.sources=[{kind: pairs, path: pairs.csv}]"
    try:
        code = run(match.main, [pairs if "PAIRS" in word else swap.get(word, word) for word in words])
    except SystemExit as error:
        code = int(str(error.code))
    text = capsys.readouterr().err
    assert code == 2 and sentence in text and "Traceback" not in text and text.strip().count("\n") == 0
    assert not Path("g.npz").exists()


def test_texts_are_verified_against_a_gallery(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery = str(tmp_path / "faq.npz")
    for name, text in (("refund", "How do I get my money back?"), ("hours", "When is the shop open?")):
        assert match_gallery.enrol([gallery, "--model", "match-sentences", "--name", name, "--text", text]) == 0
    capsys.readouterr()
    assert (
        match_verify.verify(
            ["A plane is taking off.", "An air plane is taking off.", "--model", "match-sentences", "--json"]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["similarity"] > 0.6
    assert run(match.main, ["search", gallery, str(tmp_path / "none.mp4")]) == 2


def scene(k: int) -> np.ndarray:
    """A frame with a checkered and a striped thing that move; the ground is noise."""
    rng = np.random.default_rng(5)
    frame = cv2.resize(rng.integers(90, 150, (12, 16, 3), dtype=np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    for thing, (x, y) in (("checkers", (40 + 2 * k, 60)), ("stripes", (230 - k, 150 - k))):
        frame[y : y + 48, x : x + 48] = patch(thing)
    return frame


def patch(thing: str) -> np.ndarray:
    """48 x 48 pictures of things."""
    y, x = np.mgrid[:48, :48]
    image = np.zeros((48, 48, 3), np.uint8)
    if thing == "checkers":
        image[(x // 12 + y // 12) % 2 == 0] = (30, 30, 230)
        image[(x // 12 + y // 12) % 2 == 1] = (240, 240, 240)
    elif thing == "stripes":
        image[x // 8 % 2 == 0] = (20, 200, 20)
    else:
        cv2.circle(image, (24, 24), 20, (230, 120, 20), -1)
        cv2.circle(image, (24, 24), 8, (20, 240, 240), -1)
    return image


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_known_things_in_a_video_are_found_and_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, gallery = scene(0), str(tmp_path / "things.npz")
    cv2.imwrite(str(tmp_path / "frame.png"), first)
    canvas = np.full_like(first, 120)
    canvas[90:138, 130:178] = patch("disc")
    cv2.imwrite(str(tmp_path / "other.png"), canvas)
    for name, file, box in (
        ("checkers", "frame", "40,60,48,48"),
        ("stripes", "frame", "230,150,48,48"),
        ("disc", "other", "130,90,48,48"),
    ):
        assert (
            match_gallery.enrol(
                [gallery, "--model", "siamtrack-n", "--name", name, str(tmp_path / f"{file}.png"), "--box", box]
            )
            == 0
        )
    video = write_video(tmp_path / "clip.mp4", [scene(k) for k in range(3, 33)])
    capsys.readouterr()
    table = tmp_path / "found.csv"
    words = [
        gallery,
        str(video),
        "--tracker",
        "siamtrack-n",
        "--threshold",
        "0.5",
        "--json",
        "--save-boxes",
        str(table),
    ]
    assert match_search.search([*words, "--save", str(tmp_path / "out.mp4")]) == 0
    found = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found["checkers"]["share"] > 0.5 and found["stripes"]["share"] > 0.5 and found["disc"]["share"] == 0
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    last = next(row for row in reversed(rows) if row[1] == "checkers")
    assert abs(float(last[2]) - (40 + 2 * (3 + int(last[0])))) < 12 and (tmp_path / "out.mp4").stat().st_size > 0
