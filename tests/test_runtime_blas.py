"""numpy's threads are limited while the online filter computes, and given back."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tracker.runtime import blas
from tracker.runtime.blas import libraries, one_blas_thread


class Library:
    """A BLAS with four threads."""

    def __init__(self) -> None:
        self.number = 4

    def get_num_threads(self) -> int:
        return self.number

    def set_num_threads(self, number: int) -> None:
        self.number = number


def test_one_thread_within_and_as_many_as_before_after(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(blas, "libraries", lambda: (library,))
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with one_blas_thread():
            inside.set()
            leave.wait(5)

    other = threading.Thread(target=work)
    with one_blas_thread():
        other.start()
        assert inside.wait(5) and library.number == 1
    assert library.number == 1  # the other thread is still in it
    leave.set()
    other.join()
    assert library.number == 4
    with pytest.raises(ValueError), one_blas_thread():
        raise ValueError
    assert library.number == 4


def test_the_library_of_this_numpy_obeys() -> None:
    before = [library.get_num_threads() for library in libraries()]
    with one_blas_thread():
        assert all(library.get_num_threads() == 1 for library in libraries())
        assert np.allclose(np.ones((300, 300)) @ np.ones((300, 300)), 300)
    assert [library.get_num_threads() for library in libraries()] == before
