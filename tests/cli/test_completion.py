"""`siamtrack completion`: the script for bash, run by bash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT, environment
from tracker.cli.__main__ import available
from tracker.cli.completion import SHELLS, main
from tracker.errors import SiamTrackError

pytest.importorskip("shtab")


def script(shell: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tracker.cli", "completion", shell],
        cwd=ROOT, capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip


ASK = """
source "$0"
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
f=$(complete -p siamtrack | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$f siamtrack "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_choices_and_files(tmp_path: Path) -> None:
    done = script("bash")
    assert done.returncode == 0, done.stderr
    (tmp_path / "siamtrack.bash").write_text(done.stdout)
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "clips").mkdir()

    def ask(*words: str) -> list[str]:
        command = ["bash", "--norc", "-c", ASK, str(tmp_path / "siamtrack.bash"), "siamtrack", *words]
        answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert not answer.stderr, answer.stderr
        return sorted(word.strip() for word in answer.stdout.split())

    assert ask("tr") == ["track", "train"]
    assert set(available()) <= set(ask(""))
    assert ask("track", "--sa") == ["--save", "--save-boxes", "--save-target"]
    assert ask("annotate", "clip.mp4", "--head") == ["--headless"]
    assert ask("track", "--view", "") == ["boxes", "response"]
    assert ask("match", "se") == ["search"]
    assert ask("track", "--init-dir", "cl") == ["clips"], "folders alone"
    assert ask("track", "--init-file", "cl") == ["clip.mp4", "clips"]
    assert ask("track", "cl") == ["clip.mp4", "clips"]


def test_other_shells_and_their_checks(tmp_path: Path) -> None:
    for shell in SHELLS:
        done = script(shell)
        assert done.returncode == 0 and "save-boxes" in done.stdout and "annotate" in done.stdout, done.stderr
        if shutil.which(shell):
            path = tmp_path / shell
            path.write_text(done.stdout)
            assert subprocess.run([shell, "-n", str(path)], check=False).returncode == 0
    done = script("bsh")
    assert done.returncode == 2 and "bash" in done.stderr


def test_a_shell_that_the_installed_shtab_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    import shtab

    monkeypatch.setattr(shtab, "SUPPORTED_SHELLS", ["bash", "zsh", "tcsh"])  # as in shtab 1.7
    with pytest.raises(SiamTrackError, match=r"makes no script for fish; `pip install -U shtab`"):
        main(["fish"])
