"""One thread for numpy's products of small matrices.

OpenBLAS, which comes with numpy, splits a product of a few hundred rows over all cores, and the threads wait for each
other in a busy
loop: an update takes half as long again, and ten times as long where another core is taken. Their number is that of the
whole process,
so the library leaves it alone: our commands set it once, when they start, and a program of one's own can do the same
with `one_blas_thread()` or, before numpy is imported, with OPENBLAS_NUM_THREADS=1 in its environment.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import LibController

logger = logging.getLogger(__name__)

WISHES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


@cache
def one_blas_thread() -> None:
    """Lets numpy's products take one thread each from now on, unless the environment says how many (`WISHES`).

    For the start of a program, before it has other threads.
    """
    if any(os.environ.get(name) for name in WISHES):
        return
    for library in libraries():
        logger.debug("%s: 1 thread instead of %d", library.internal_api, library.get_num_threads())
        library.set_num_threads(1)


def libraries() -> list[LibController]:
    """The BLAS libraries in this process."""
    import numpy  # noqa: F401  (loads the library that is looked for)
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
