"""Ctrl-C while a command is still being imported ends it without a traceback, by every door."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT, environment

INTERRUPTED = """
import os, signal, sys

class AtTheFirstImport:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tracker":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {root!r})
sys.meta_path.insert(0, AtTheFirstImport())
sys.argv = [{door!r}]
"""

DOORS = [*sorted((ROOT / "tools").glob("*.py")), ROOT / "siamtrack.py"]


@pytest.mark.parametrize("door", DOORS, ids=lambda p: p.name)
def test_ctrl_c_while_the_package_is_imported(door: Path) -> None:
    code = INTERRUPTED.format(root=str(ROOT), door=str(door))
    code += f"import runpy; runpy.run_path({str(door)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT and done.stderr == "", done.stderr


def test_the_console_script_is_that_door() -> None:
    code = INTERRUPTED.format(root=str(ROOT), door="siamtrack") + "import siamtrack; siamtrack.main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT and done.stderr == "", done.stderr
    assert '"siamtrack=siamtrack:main"' in (ROOT / "setup.py").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "siamtrack", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith("siamtrack "), done.stderr
