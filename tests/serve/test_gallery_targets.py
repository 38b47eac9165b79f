"""Targets that a gallery knows: found in a stream, given up where the gallery says that it is something else, checked
before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import write_video
from tests.serve.test_worker import BOXES, add, all_ended, pictures, results, running, until
from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.errors import SiamTrackError
from tracker.geometry import iou
from tracker.matching.gallery import Gallery
from tracker.matching.inputs import Region
from tracker.matching.matcher import Matcher
from tracker.matching.search_views import view_for_search
from tracker.serve.check import check_target
from tracker.serve.config import TargetConfig
from tracker.serve.config_file import parse_target
from tracker.serve.messages import pack


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip, and a gallery of a thing that is in it and one that is not."""
    folder = tmp_path_factory.mktemp("known")
    frames = pictures(16, seed=3)
    write_video(folder / "clip.mp4", frames)
    gallery = Gallery(Matcher.of_tracker(pixel_tracker()))
    elsewhere = put(ground(seed=9), thing(seed=99), 100, 100)
    for name, image, box in (("cup", frames[0], BOXES["one"]), ("other", elsewhere, [100, 100, 28, 28])):
        region = Region(image, (box[0], box[1], box[2], box[3]))
        gallery.add(name, [region], [view_for_search(image, box)])
    gallery.save(folder / "things.npz")
    return folder


def follow(place: Path, targets: dict[str, Any]) -> list[dict[str, Any]]:
    with running() as worker:
        add(worker, "s", place / "clip.mp4", targets)
        return results(until(worker, all_ended(1)), "s")


def test_a_thing_of_a_gallery_is_found_and_followed(place: Path) -> None:
    lines = follow(place, {"mine": {"gallery": str(place / "things.npz"), "thing": "cup", "threshold": 0.3}})
    (last,) = lines[-1]["targets"]
    k = lines[-1]["frame"]
    assert last["id"] == "mine" and last["state"] != "lost" and iou(last["box"], [60 + 2 * k, 90, 28, 28]) > 0.6


@pytest.mark.parametrize("change", [{"threshold": 1.01}, {"thing": "other", "threshold": 0.3}])
def test_what_the_gallery_does_not_take_for_it_is_never_reported(place: Path, change: dict[str, Any]) -> None:
    lines = follow(place, {"mine": {"gallery": str(place / "things.npz"), "thing": "cup", **change}})
    assert lines and all(one["box"] is None and one["state"] == "lost" for line in lines for one in line["targets"])


def test_one_can_be_added_and_goes_on_after_a_restart(place: Path) -> None:
    wanted = {"gallery": str(place / "things.npz"), "thing": "cup", "threshold": 0.3}
    with running() as worker:
        add(worker, "s", place / "clip.mp4", {"two": BOXES["two"]}, live="yes")
        until(worker, lambda kind, values: kind == "results")
        worker.handle(pack("add_target", {"stream": "s", "target": "cup", "config": wanted}))
        *_, (_, saved, parts) = until(worker, lambda kind, values: kind == "saved" and "cup" in values["targets"])
    with running() as worker:
        order = {"start": 8, "saved": saved["targets"], "begun": saved["begun"], "parts": parts}
        add(worker, "s", place / "clip.mp4", {"cup": wanted}, **order)
        last = results(until(worker, all_ended(1)), "s")[-1]
    assert {one["id"] for one in last["targets"]} == {"two", "cup"}


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"gallery": "no.npz"}, "no.npz does not exist"),
        ({"gallery": "things.npz", "threshold": 0.3}, "There is no 'mine' in the gallery"),
        ({"gallery": "things.npz", "thing": "cap", "threshold": 0.3}, "Did you mean 'cup'"),
        ({"gallery": "things.npz", "thing": "cup"}, "has no calibration; give the least similarity by `threshold`"),
        ({"gallery": "things.npz", "box": [1, 2, 3, 4]}, "it needs one of"),
        ({"galery": "things.npz"}, "gallery"),
        ({"box": [1, 2, 3, 4], "thing": "cup"}, "belong to a target with `gallery`"),
        ({"gallery": "things.npz", "far": 1.5}, "far is 1.5"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], part: str
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(SiamTrackError, match=part):
        check_target("mine", parse_target("mine", values, "streams.yaml"))


def test_a_gallery_without_pictures_cannot_be_looked_for(tmp_path: Path) -> None:
    gallery = Gallery(Matcher.of_tracker(pixel_tracker()))
    gallery.add("cup", [thing(64)])
    gallery.save(tmp_path / "bare.npz")
    with pytest.raises(SiamTrackError, match="no pictures of cup"):
        check_target("cup", TargetConfig(gallery=str(tmp_path / "bare.npz"), threshold=0.3))
