"""What this machine is: its processor by name and flags, its cores, the packages on it, and where what was measured on
it is kept."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from functools import lru_cache
from pathlib import Path

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
"""Those that multiply int8 and add to int32 in one step; without one of them int8 gains nothing."""


@lru_cache(maxsize=1)
def processor() -> tuple[str, tuple[str, ...]]:
    """Name of this processor, and those of its flags that tell (`TELLING`): none without a /proc/cpuinfo."""
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

    Asked once: importlib.metadata keeps a list of all packages for each time that a folder of them has changed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def cache_folder() -> Path:
    """Where this program may keep what it would have to find out again; not made here."""
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "siamtrack"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "siamtrack"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "siamtrack"
