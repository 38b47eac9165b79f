"""Checkpoints: everything that an exact resume of a run needs, in one file that can't contain code."""

from __future__ import annotations

import errno
import io
import logging
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tracker.errors import OutputError, WeightsError, reading
from tracker.files import atomic

log = logging.getLogger(__name__)

FORMAT = 1
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Writes a file of tensors and plain values atomically: at any moment either the old or the new one exists,
    complete.

    Raises:
        OutputError: The disk is full or the folder can't be written; the old file, if any, is untouched.
    """
    file = Path(path)
    # Serialised in memory first: a full disk then causes an ordinary OSError of write(), not an error inside torch's
    # zip writer.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        with atomic(file, sync=True) as out:
            out.write(buffer.getbuffer())
    except OutputError as failed:
        error = failed.__cause__ if isinstance(failed.__cause__, OSError) else OSError(str(failed))
        reason = "the disk is full" if error.errno in FULL else str(error.strerror or error)
        kept = f"the one before it is kept in {file}" if file.exists() else "there is none before it"
        raise OutputError(
            f"The checkpoint {file} ({buffer.tell() / 1e6:.1f} MB) can't be written: {reason}; {kept}. "
            "Free some space and go on with --resume."
        ) from None


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint, with all tensors on the CPU.

    Raises:
        WeightsError: Missing, damaged, or not written by this program.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(
            f"The checkpoint {file} does not exist; start without --resume, or name an earlier run by --output."
        )
    with reading(lambda why: WeightsError(f"The checkpoint {file} can't be read ({why}); it is damaged, start again.")):
        content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise WeightsError(
            f"The file {file} is not a training checkpoint of format {FORMAT}; it was written by something else."
        )
    return content


def random_states() -> dict[str, Any]:
    """States of all generators, as values that `torch.load(weights_only=True)` accepts."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 (libraries that we call may use the old global generator)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "python": random.getstate(),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Restores the states of all generators."""
    torch.set_rng_state(states["torch"])
    cuda: list[Tensor] = states["cuda"]
    if cuda and torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, inner, gauss_next = states["python"]
    random.setstate((version, tuple(inner), gauss_next))


def git_revision() -> str | None:
    """Commit of the clone that this package runs from ("-dirty" if files differ from it), or None outside a clone."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("The git revision is unknown: %s", error)
        return None


def _git(folder: Path, *args: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *args], capture_output=True, text=True, check=True, timeout=20
    ).stdout.strip()
