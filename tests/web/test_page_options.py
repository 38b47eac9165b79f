"""What the page says of wrong options."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.media.clips import write_clip
from tests.web.standin import MatchTemplate, SingleTrackers
from tests.web.test_page import CLIP
from tracker.cli import live as command
from tracker.cli.common import run


def test_wrong_options_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tracker.cli.model_options.check_model_options", lambda args: None)
    monkeypatch.setattr("tracker.cli.web.build_group", lambda args: (SingleTrackers(MatchTemplate), "match-template"))
    clip = str(write_clip(tmp_path / "clip.mp4", CLIP[:3]))
    (tmp_path / "file").touch()

    def said(*args: str) -> str:
        assert run(command.main, [clip, "--quiet", *args]) == 2
        return capsys.readouterr().err

    assert "not an address" in said("--web", "nonsense:port")
    assert "--save-dir" in said("--web", "--save", str(tmp_path / "out.mp4"))
    assert "it is a file" in said("--web", "--save-dir", str(tmp_path / "file"))
    assert "add --web" in said("--save-dir", str(tmp_path))
    assert "outside the frame" in said("--web", "--box", "900,9,9,9")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "Can't listen on 127.0.0.1" in said("--web", f"127.0.0.1:{taken.getsockname()[1]}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install aiohttp" in said("--web")


def test_help_is_quick_and_loads_no_aiohttp() -> None:
    code = (
        "import sys; import tracker.cli.live as live; live.build_parser(); print(sorted({'aiohttp', 'cv2', "
        "'torch'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
