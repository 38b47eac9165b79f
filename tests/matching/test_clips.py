"""Protocols on clips: crops of the same or of other targets, following across modalities, search in composed videos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.matching.material import COLOURS
from tests.matching.test_placing import picture
from tracker.cli import match_test
from tracker.errors import ConfigError, SourceError
from tracker.matching.config import InputConfig, MatchConfig, MatchModel, PartConfig, load_recipe
from tracker.matching.following import measure_following, pan
from tracker.matching.inputs import Region, open_picture
from tracker.matching.matcher import Matcher, compare
from tracker.matching.protocols import TestConfig, test_config
from tracker.matching.search_test import measure_search, side_by_side
from tracker.matching.track_pairs import draw_pairs, measure_tracks, read_clips
from tracker.matching.twins import Twins
from tracker.tracking.tracker import SiamTracker


def clips(folder: Path, count: int = 4, frames: int = 14) -> Path:
    """Clips in the layout of OTB: a coloured square that moves over noise."""
    for k in range(count):
        (folder / f"Clip{k}" / "img").mkdir(parents=True)
        ground, boxes = picture(k, (120, 90)), []
        for n in range(frames):
            frame, (x, y) = ground.copy(), (20 + 3 * n, 30 + n)
            frame[y : y + 24, x : x + 24] = COLOURS[k]
            frame[y + 6 : y + 18, x + 4 * k : x + 4 * k + 5] = 255
            cv2.imwrite(str(folder / f"Clip{k}" / "img" / f"{n + 1:04d}.png"), frame)
            boxes.append(f"{x},{y},24,24")
        (folder / f"Clip{k}" / "groundtruth_rect.txt").write_text("\n".join(boxes) + "\n")
    return folder


def by_colour(items: Sequence[object]) -> np.ndarray:
    out = []
    for item in items:
        assert isinstance(item, Region)
        x, y, w, h = (round(v) for v in item.box)
        out.append(open_picture(item.image)[y : y + h, x : x + w].reshape(-1, 3).mean(0) - 127)
    return np.array(out, np.float32)


def test_pairs_are_what_they_are_called(tmp_path: Path) -> None:
    tracks = read_clips(clips(tmp_path), "otb")
    groups = ["a", "a", "", "b"]
    pairs = draw_pairs(tracks, groups, 30, 5, np.random.default_rng(0))
    assert [sum(p.kind == kind for p in pairs) for kind in ("genuine", "other", "same-class")] == [30, 30, 30]
    for pair in pairs:
        (t, a), (u, b) = pair.first, pair.second
        if pair.kind == "genuine":
            assert t == u and abs(a - b) <= 5
        elif pair.kind == "same-class":
            assert t != u and groups[t] == groups[u] == "a"
        else:
            assert t != u and (groups[t] != groups[u] or not groups[t])
    assert pairs == draw_pairs(tracks, groups, 30, 5, np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"No class of test\.groups has two clips"):
        draw_pairs(tracks, ["a", "b", "", ""], 3, 5, np.random.default_rng(0))


def test_crops_are_measured(tmp_path: Path) -> None:
    test = TestConfig(
        protocol="tracks", path=clips(tmp_path).name, groups={"square": ["Clip0", "Clip1"]}, pairs=10, rounds=2
    )
    matcher = Matcher.of_function(by_colour, "colour")
    figures = measure_tracks(matcher.embed, lambda a, b: compare(a, b, "cosine"), replace(test, path="."), tmp_path)
    assert figures["eer"] == 0 and figures["tracks"] == 4 and figures["pairs"] == 60
    constant = Matcher.of_function(lambda items: np.ones((len(items), 2), np.float32), "constant")
    assert (
        measure_tracks(constant.embed, lambda a, b: compare(a, b, "cosine"), replace(test, path="."), tmp_path)["eer"]
        > 0.3
    )
    with pytest.raises(SourceError, match="does not exist"):
        measure_tracks(matcher.embed, lambda a, b: compare(a, b, "cosine"), test, tmp_path / "none")


def test_the_shipped_recipes_name_known_fields() -> None:
    for name, protocol in (("match-tracks", "tracks"), ("match-search", "search"), ("match-thermal", "placing")):
        assert test_config(load_recipe(name).test).protocol == protocol


def test_a_window_moves_with_the_thing_inside() -> None:
    image, box = picture(2, (200, 150)), (60.0, 40.0, 50.0, 50.0)
    video = list(pan(image, box, 9, np.random.default_rng(1)))
    assert len(video) == 9 and len({frame.shape for frame, _ in video}) == 1
    for frame, (x, y, w, h) in video:
        assert 0 <= x and 0 <= y and x + w <= frame.shape[1] and y + h <= frame.shape[0]
        np.testing.assert_array_equal(frame[int(y) : int(y + h), int(x) : int(x + w)], image[40:90, 60:110])


def test_following_is_measured(tmp_path: Path) -> None:
    for k in range(2):
        for name in ("one", "two"):
            (tmp_path / name).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name / f"{k}.png"), picture(k, (240, 180)))
    torch.manual_seed(0)
    part = PartConfig("cnn", {"channels": [8, 16], "dim": 0, "signed": True})
    twins = Twins(MatchModel(input=InputConfig(width=48, height=48, gray=True, context=1.5), encoder=part)).eval()
    config = replace(MatchConfig(), model=twins.config, data=replace(MatchConfig().data, root=str(tmp_path)))
    test = TestConfig(
        protocol="following", path="one", source={"kind": "aligned", "second": "two"}, limit=1, side=40, frames=4
    )
    figures = measure_following(twins, test, config, SiamTracker.from_pretrained("siamtrack-n", "cpu"))
    assert figures["videos"] == 2 and 0.25 <= figures["followed"] <= 1 and 0 <= figures["told_followed"] <= 1


def test_clips_stand_side_by_side(tmp_path: Path) -> None:
    tracks = read_clips(clips(tmp_path, 2), "otb")
    image, truth = side_by_side(tracks, 3)
    assert image.shape == (90, 240, 3)
    for k, track in enumerate(tracks):
        x, y, w, h = (int(v) for v in truth[track.name])
        np.testing.assert_array_equal(image[y + 1 : y + h - 1, x + w - 1], np.tile(COLOURS[k], (22, 1)))


@pytest.mark.slow
def test_search_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clips(tmp_path / "clips")
    scene = {"present": ["Clip0", "Clip1"], "absent": ["Clip2", "Clip3"]}
    test = TestConfig(protocol="search", path=folder.name, frames=6, skip=3, threshold=0.3, scenes=[scene])
    tracker = SiamTracker.from_pretrained("siamtrack-n", "cpu")
    figures = measure_search(Matcher.from_pretrained("siamtrack-n", "cpu"), tracker, test, tmp_path)
    assert figures["scenes"] == 1 and 0 <= figures["found"] <= 1 and {"0/Clip0", "0/absent Clip2"} <= set(figures)
    with pytest.raises(ConfigError, match="Did you mean 'Clip1'"):
        measure_search(
            Matcher.of_function(by_colour, "colour"),
            tracker,
            replace(test, scenes=[{"present": ["Clip11", "Clip0"]}]),
            tmp_path,
        )


def test_crops_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(
        "test: {protocol: tracks, path: clips, groups: {square: [Clip0, Clip1]}, pairs: 4, rounds: 1}\n"
    )
    clips(tmp_path / "clips")
    words = ["siamtrack-n", "--recipe", str(tmp_path / "mine.yaml"), f"data.root={tmp_path}", "--json"]
    assert match_test.test(words) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 12
