"""numpy's threads are limited while the online filter computes, and given back."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tracker.runtime import blas
from tracker.runtime.blas import one_blas_thread


def test_one_thread_within_and_as_many_as_before_after(monkeypatch: pytest.MonkeyPatch) -> None:
    number = [4]
    monkeypatch.setattr(blas, "_openblas", lambda: (lambda: number[0], lambda n: number.__setitem__(0, n)))
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with one_blas_thread():
            inside.set()
            leave.wait(5)

    other = threading.Thread(target=work)
    with one_blas_thread():
        other.start()
        assert inside.wait(5) and number == [1]
    assert number == [1]  # the other thread is still in it
    leave.set()
    other.join()
    assert number == [4]
    with pytest.raises(ValueError), one_blas_thread():
        raise ValueError
    assert number == [4]


def test_without_openblas_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_openblas", lambda: None)
    with one_blas_thread():
        pass


def test_the_library_of_this_numpy_is_found_and_obeys() -> None:
    functions = blas._openblas()
    if functions is None:
        pytest.skip("this numpy has no OpenBLAS of its own")
    before = functions[0]()
    with one_blas_thread():
        assert functions[0]() == 1
        assert np.allclose(np.ones((300, 300)) @ np.ones((300, 300)), 300)
    assert functions[0]() == before >= 1
