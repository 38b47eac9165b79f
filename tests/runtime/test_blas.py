"""numpy's products take one thread, unless somebody said otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from tracker.runtime import processor
from tracker.runtime.processor import WISHES, libraries, one_blas_thread


class Library:
    """A BLAS with four threads."""

    internal_api = "openblas"

    def __init__(self) -> None:
        self.number, self.changes = 4, 0

    def get_num_threads(self) -> int:
        return self.number

    def set_num_threads(self, number: int) -> None:
        self.number, self.changes = number, self.changes + 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    for name in WISHES:
        monkeypatch.delenv(name, raising=False)
    library = Library()
    monkeypatch.setattr(processor, "libraries", lambda: [library])
    one_blas_thread.cache_clear()
    return library


def test_one_thread_from_the_first_call_on(library: Library) -> None:
    one_blas_thread()
    one_blas_thread()
    assert (library.number, library.changes) == (1, 1)


def test_the_environment_has_the_last_word(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    one_blas_thread()
    assert library.changes == 0


def test_the_library_of_this_numpy_is_found() -> None:
    found = libraries()
    assert all(library.get_num_threads() >= 1 for library in found)
    assert np.allclose(np.ones((300, 300)) @ np.ones((300, 300)), 300)
