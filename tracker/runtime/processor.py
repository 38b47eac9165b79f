"""Facts about this machine (processor name and flags, cores, package versions), and the cache folder for
measurements."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import LibController

logger = logging.getLogger(__name__)

WISHES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")
TELLING = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "bf16",
)
"""Flags of /proc/cpuinfo that decide how fast a precision is."""
INT8 = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
"""Flags of instructions that multiply int8 and accumulate in int32; without one of them int8 gains nothing."""


@lru_cache(maxsize=1)
def processor() -> tuple[str, tuple[str, ...]]:
    """Name of this processor, and its relevant flags (`TELLING`): none without a /proc/cpuinfo."""
    name, flags = platform.processor() or platform.machine(), set()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return name, ()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = set(value.split())
    return name, tuple(flag for flag in TELLING if flag in flags)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=64)
def package_version(package: str) -> str:
    """Version of an installed package, or "".

    Cached: importlib.metadata keeps a list of all packages for each time that a package folder has changed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def cache_folder() -> Path:
    """The user's cache folder of this program; not created here."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "siamtrack"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "siamtrack"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "siamtrack"


@cache
def one_blas_thread() -> None:
    """Limits numpy's matrix products to one thread each, unless the environment sets a number (`WISHES`).

    To be called when a program starts, before it has other threads. OpenBLAS, which comes with numpy, splits a product
    of a few hundred rows over all cores, and its threads busy-wait for each other: an update takes half as long again,
    and ten times as long if another core is busy. The number is a setting of the whole process, so library code does
    not change it: our commands set it once when they start; other programs can call this function or, before importing
    numpy, set OPENBLAS_NUM_THREADS=1.
    """
    if any(os.environ.get(name) for name in WISHES):
        return
    for library in libraries():
        logger.debug("%s: 1 thread instead of %d", library.internal_api, library.get_num_threads())
        library.set_num_threads(1)


def libraries() -> list[LibController]:
    """The BLAS libraries loaded in this process."""
    import numpy  # noqa: F401  (loads the library that is looked for)
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
