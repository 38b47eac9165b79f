"""--camera: what cameras there are, one sentence where there is none, and which one is taken."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import tool
from tracker.cli import camera
from tracker.cli.common import Parser
from tracker.errors import SourceError
from tracker.media.sources import cameras
from tracker.media.sources.cameras import CameraInfo, find_camera, list_cameras

TWO = [CameraInfo(0, "Integrated Camera"), CameraInfo(2, "USB Video", "no permission")]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="devices are files on Linux only")


@linux
def test_devices_that_give_pictures_are_listed_with_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in ((2, "USB Video\n"), (0, "Integrated Camera\n"), (1, "Integrated Camera\n")):
        (tmp_path / f"video{number}").touch()
        (tmp_path / "names" / f"video{number}").mkdir(parents=True)
        (tmp_path / "names" / f"video{number}" / "name").write_text(name)
    (tmp_path / "video-dec").touch()
    told = {"video0": (True, ""), "video1": (False, ""), "video2": (True, "no permission")}
    monkeypatch.setattr(cameras, "_captures", lambda device: told[device.name])
    assert list_cameras(tmp_path / "names", tmp_path) == TWO


@linux
def test_a_file_that_is_no_device_is_no_camera(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    assert list_cameras(tmp_path, tmp_path) == []


def test_a_camera_is_found_by_number_and_by_name() -> None:
    assert find_camera("2", TWO).name == "USB Video" and find_camera("integ", TWO).index == 0
    for wanted, says in (("7", "No camera is called '7'; there are 0"), ("i", "Several cameras"), ("x", "No camera")):
        with pytest.raises(SourceError, match=says):
            find_camera(wanted, TWO)
    with pytest.raises(SourceError, match="this computer has no video device"):
        find_camera("0", [])


def test_pick_asks_only_where_there_is_a_choice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert camera.ask(TWO[:1]).index == 0
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(SourceError, match="give --camera N"):
        camera.ask(TWO)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: "2")
    assert camera.ask(TWO).index == 2 and "Integrated Camera" in capsys.readouterr().out
    monkeypatch.setattr(cameras, "list_cameras", lambda: TWO)
    args = argparse.Namespace(camera="usb", source=None)
    assert camera.settle_source(args, Parser()) and args.source == "2"
    with pytest.raises(SystemExit):
        camera.settle_source(args, Parser())
    assert not camera.settle_source(argparse.Namespace(camera="list", source=None), Parser())
    assert "2  USB Video  (no permission)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["track", "live"])
def test_the_tools_say_what_there_is(name: str, tmp_path: Path) -> None:
    done = tool(name, "--camera", "list", cwd=tmp_path)
    if list_cameras():
        assert done.returncode == 0 and done.stdout.strip()
    else:
        assert done.returncode == 2 and "There is no camera" in done.stderr and len(done.stderr.splitlines()) == 1
