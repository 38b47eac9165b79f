"""The one writer: whole or untouched, and shared as `open` would share."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tracker.errors import OutputError
from tracker.files import atomic, suggest, write_atomic


def test_whole_or_untouched(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.txt"
    write_atomic(file, "old")
    with pytest.raises(RuntimeError), atomic(file) as out:
        out.write(b"half")
        raise RuntimeError("stop")
    assert file.read_text() == "old"
    assert [p.name for p in file.parent.iterdir()] == ["a.txt"]


def test_access_rights(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    other.write_text("made by open")
    write_atomic(file, b"1")
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
    os.chmod(file, 0o640)
    write_atomic(file, b"2", sync=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.read_bytes() == b"2"


def test_error_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_atomic(tmp_path / "file" / "below", b"")


def test_suggest() -> None:
    assert suggest("siamtrack-x", ["siamtrack-s", "siamfc-alexnet"]) == " Did you mean 'siamtrack-s'?"
    assert suggest("zzz", ["siamtrack-s"]) == ""
