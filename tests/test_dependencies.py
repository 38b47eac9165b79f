"""The script that tries other dependencies: what it reads, and that it names the package which broke something."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import ROOT

PINNED = {"one": "1.0", "two": "1.0", "three": "1.0"}


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / ".ci" / "dependencies.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Environment:
    """Stands in for pip, pytest and the demo: what is installed decides what passes."""

    def __init__(self, script: Any, wanted: Mapping[str, str], breaks: Mapping[str, str], demo: str = "") -> None:
        self.script, self.installed, self.breaks, self.needs = script, dict(wanted), breaks, demo
        self.apart = False

    def broken(self) -> bool:
        """All of `breaks` are installed, or where `apart` one of them."""
        return (any if self.apart else all)(self.installed.get(k) == version for k, version in self.breaks.items())

    def run(self, *words: Any, check: bool = True, quiet: bool = False) -> subprocess.CompletedProcess[str]:
        text, code = [str(word) for word in words], 0
        if "install" in text:
            for word in text:
                if "==" in word:
                    name, version = word.split("==")
                    self.installed[name] = version
        elif "pytest" in text:
            (report,) = [word.split("=", 1)[1] for word in text if word.startswith("--junitxml=")]
            failure = "<failure message='assert'>E</failure>" if self.broken() and self.needs != "alone" else ""
            Path(report).parent.mkdir(parents=True, exist_ok=True)
            Path(report).write_text(
                "<testsuite><testcase classname='tests.test_a' name='test_good'/>"
                f"<testcase classname='tests.test_a' name='test_video[a b]'>{failure}</testcase></testsuite>"
            )
        elif any(word.endswith("track.py") for word in text):
            code = int(self.broken() and bool(self.needs))
        return subprocess.CompletedProcess(text, code, "3.11\n", "")


def trial(
    script: Any, monkeypatch: pytest.MonkeyPatch, place: Path, breaks: Mapping[str, str], demo: str = ""
) -> tuple[Any, Environment]:
    wanted = {"one": "2.0", "two": "3.1", "three": "1.0", "four": "7"}
    fake = Environment(script, wanted, breaks, demo)
    monkeypatch.setattr(script, "run", fake.run)
    monkeypatch.setattr(script, "ROOT", place)
    monkeypatch.setattr(script, "pinned", lambda python="3.11": dict(PINNED))
    monkeypatch.setattr(script, "resolve", lambda *args, **more: (dict(wanted), ""))
    made = script.Trial("newest", "python3", "free")
    made.place.mkdir(parents=True, exist_ok=True)
    return made, fake


@pytest.mark.parametrize("demo", ["", "too", "alone"])
@pytest.mark.parametrize(("name", "version"), [("one", "2.0"), ("two", "3.1")])
def test_the_package_that_broke_it_is_named(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, version: str, demo: str
) -> None:
    made, fake = trial(script, monkeypatch, tmp_path, {name: version}, demo)
    failed, demo_works = made.tests(), made.demo()
    assert (list(failed) == ["tests.test_a::test_video[a b]"]) == (demo != "alone") and demo_works == (not demo)
    assert made.blame(failed, demo_works, []) == [f"{name}: {version} breaks it, 1.0 does not"]
    assert fake.installed == made.wanted, "each is back at the version that is tried"


def test_two_that_break_it_only_together_are_both_named(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, _ = trial(script, monkeypatch, tmp_path, {"one": "2.0", "two": "3.1"})
    assert [line.split(":")[0] for line in made.blame(made.tests(), True, [])] == ["one", "two"]


@pytest.mark.parametrize("demo", ["", "alone"])
def test_two_that_break_it_each_by_itself_are_both_named(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, demo: str
) -> None:
    made, fake = trial(script, monkeypatch, tmp_path, {"one": "2.0", "two": "3.1"}, demo)
    fake.apart = True
    assert [line.split(":")[0] for line in made.blame(made.tests(), made.demo(), [])] == ["one", "two"]
    assert fake.installed == made.wanted


def test_the_command_says_so_and_ends_with_1(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for breaks, code, said in (
        ({"two": "3.1"}, 1, "two: 3.1 breaks it, 1.0 does not"),
        ({"three": "1.0"}, 1, "no package of constraints.txt is to blame"),
        ({"one": "none"}, 0, "the demo and the fast tests pass"),
    ):
        trial(script, monkeypatch, tmp_path, breaks)
        monkeypatch.setattr("sys.argv", ["dependencies.py", "newest", "--torch"])
        assert script.main() == code
        out = capsys.readouterr().out
        assert said in out and "two 3.1 (pinned 1.0)" in out


def test_pins_are_those_of_the_python(script: Any) -> None:
    old, new = script.pinned("3.10"), script.pinned("3.12")
    assert old["numpy"] != new["numpy"] and old["torch"] == new["torch"] and set(old) == set(new)


def test_what_needs_torch_is_told_apart(script: Any) -> None:
    assert script.without("E  ModuleNotFoundError: No module named 'torch'") and not script.without("assert 1 == 2")
