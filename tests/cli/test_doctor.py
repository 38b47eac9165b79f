"""The doctor, `siamtrack COMMAND`, and what all command lines share."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT, environment, tool
from tracker.cli import __main__ as door
from tracker.cli import doctor, health
from tracker.cli.common import DEBUG_VARIABLE, Parser, Terminated, parse_box, run, whole_number
from tracker.errors import BoxError


def test_the_doctor_says_what_is_there(tmp_path: Path) -> None:
    done = tool("track", "--doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for title in ("System", "Packages", "Video", "Display", "Cameras", "Devices", "Engines", "Models"):
        assert f"\n{title}\n" in "\n" + done.stdout
    assert "write H.264" in done.stdout and "Tracking works here" in done.stdout
    assert "off  display" in done.stdout
    off = done.stdout.strip().rpartition(" Off: ")[2].rstrip(".").split(", ")
    assert "display" in off and len(off) == len(set(off))


def test_the_doctor_survives_missing_packages(tmp_path: Path) -> None:
    block = "import sys\nfor name in ('cv2', 'torch', 'av', 'onnxruntime', 'numpy'):\n    sys.modules[name] = None\n"
    code = f"{block}from tracker.cli.doctor import main\nraise SystemExit(main([]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "Tracking can't run: " in done.stdout and "torch" in done.stdout.splitlines()[-1]


def test_a_check_that_fails_is_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> list[health.ReportLine]:
        raise RuntimeError("the driver is asleep\nand snores")

    for name in ("packages", "video", "display", "cameras", "devices", "engines", "models"):
        monkeypatch.setattr(health, name, lambda: [])
    monkeypatch.setattr(health, "cameras", fails)
    assert doctor.report() == 0
    told = capsys.readouterr().out
    assert "RuntimeError: the driver is asleep" in told and "snores" not in told


def test_two_opencv_wheels_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = ("opencv-python", "opencv-python-headless")
    monkeypatch.setattr(health, "_version", lambda name, module="": "5.0" if name in wheels else "")
    names = [line.name for line in health.packages() if not line.ok]
    assert "opencv wheels" in names


def test_siamtrack_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert door.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert "track" in told and "doctor" in told and "live" in told
    assert door.main([]) == 2
    assert door.main(["trak"]) == 2
    assert "did you mean 'track'" in capsys.readouterr().err
    assert door.main(["--version"]) == 0


@pytest.mark.parametrize("name", sorted(door.available()))
def test_every_command_has_a_parser_and_a_tool(name: str) -> None:
    module = importlib.import_module(f"tracker.cli.{name}")
    if name == "match":  # a family of commands, each with a parser of its own
        assert callable(module.main) and (ROOT / "tools" / "match.py").is_file()
        return
    assert isinstance(module.build_parser(), argparse.ArgumentParser) and callable(module.main)
    assert module.build_parser().format_help()
    if name != "doctor":
        assert (ROOT / "tools" / f"{name}.py").is_file()


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (BoxError("The box is bad."), 2, "The box is bad."),
        (KeyboardInterrupt(), 130, "Ctrl-C"),
        (Terminated(), 143, "SIGTERM"),
        (OSError(28, "No space left on device", "out.mp4"), 2, "out.mp4: No space left on device."),
        (ModuleNotFoundError("No module named 'optuna'", name="optuna"), 2, "pip install optuna"),
    ],
)
def test_what_stops_a_command_is_a_sentence_and_a_code(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv: Sequence[str] | None) -> int:
        raise error

    assert run(main, []) == code
    assert says in capsys.readouterr().err


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(argv: Sequence[str] | None) -> int:
        raise error

    error: Exception = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        run(main, [])
    error = BoxError("bad")
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    with pytest.raises(BoxError):
        run(main, [])


def test_sigterm_closes_files() -> None:
    closed = []

    def main(argv: Sequence[str] | None) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            closed.append(True)
        return 0

    assert run(main, []) == 143 and closed


def test_parser_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="tool")
    parser.add_argument("--box", type=parse_box)
    parser.add_argument("--count", type=whole_number(1), default=3, help="how many")
    assert parser.parse_args(["--box", "-5,1.5,20,20"]).box == (-5, 1.5, 20, 20)
    assert parser.parse_args(["--box", "5 1 20 20"]).box == (5, 1, 20, 20)
    assert "(default: 3)" in parser.format_help()
    for args in (["--box", "a,b"], ["--count", "0"], ["--count", "x"], ["--bux", "1"], ["extra"], ["--box"]):
        with pytest.raises(SystemExit) as stop:
            parser.parse_args(args)
        assert stop.value.code == 2
        err = capsys.readouterr().err
        assert err.startswith("tool: ") and err.count("\n") == 1
