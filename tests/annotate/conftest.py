"""A clip for the tests of projects and tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.annotate.clips import walk


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk(tmp_path_factory.mktemp("clip") / "walk.mp4")
