"""One thread for numpy's products of small matrices.

OpenBLAS, which comes with numpy, splits a product of a few hundred rows over all cores, and the threads wait for each other in a busy
loop: an update takes half as long again, and ten times as long where another core is taken. Changing the number for each product costs
as much as it saves, so it is set once, for the whole process.
"""

from __future__ import annotations

import logging
import os
from functools import cache

import numpy  # noqa: F401  (loads the library that is looked for)
from threadpoolctl import LibController, ThreadpoolController

logger = logging.getLogger(__name__)

WISHES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


@cache
def one_blas_thread() -> None:
    """Lets numpy's products take one thread each, from the first call on, unless the environment says how many (`WISHES`).

    A program that wants more for products of its own sets them after its first target, with threadpoolctl.
    """
    if any(os.environ.get(name) for name in WISHES):
        return
    for library in libraries():
        logger.debug("%s: 1 thread instead of %d", library.internal_api, library.get_num_threads())
        library.set_num_threads(1)


def libraries() -> list[LibController]:
    """The BLAS libraries in this process."""
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
