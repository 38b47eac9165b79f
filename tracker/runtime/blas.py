"""One thread for numpy's products of small matrices.

OpenBLAS, which comes with numpy, splits a product of a few hundred rows over all cores, and the threads wait for each other in a busy
loop. Where another core is taken (by another target, or another program) a product of 1 ms takes 10 ms and more.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
"""What the functions are called in the builds that numpy has come with."""

_lock, _inside, _before = threading.Lock(), 0, 0


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it numpy's products take one thread; may be entered from several threads. No effect where numpy has another BLAS."""
    global _inside, _before
    functions = _openblas()
    if functions is None:
        yield
        return
    count, limit = functions
    with _lock:  # the number is that of the whole process: the first one in sets it, the last one out puts it back
        if _inside == 0:
            _before = count()
            limit(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                limit(_before)


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Its functions that tell and set the number of threads."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for file in sorted(folder.glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(file))
            except OSError:
                continue
            for name in NAMES:
                if hasattr(library, name.format("set_num_threads")):
                    return getattr(library, name.format("get_num_threads")), getattr(library, name.format("set_num_threads"))
    return None
