"""One thread for numpy's products of small matrices.

OpenBLAS, which comes with numpy, splits a product of a few hundred rows over all cores, and the threads wait for each other in a busy
loop. Where another core is taken (by another target, or another program) a product of 1 ms takes 10 ms and more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy  # noqa: F401  (loads the library that is looked for)
from threadpoolctl import LibController, ThreadpoolController

_lock, _inside = threading.Lock(), 0
_before: list[int] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it numpy's products take one thread; may be entered from several threads."""
    global _inside, _before
    with _lock:  # the number is that of the whole process: the first one in sets it, the last one out puts it back
        if _inside == 0:
            _before = [library.get_num_threads() for library in libraries()]
            _limit([1] * len(_before))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limit(_before)


def _limit(numbers: list[int]) -> None:
    for library, number in zip(libraries(), numbers, strict=True):
        library.set_num_threads(number)


@cache
def libraries() -> tuple[LibController, ...]:
    """The BLAS libraries in this process; looked for once, since that takes a millisecond."""
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)
