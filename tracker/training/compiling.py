"""torch.compile in training, if its requirements are met."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tracker.errors import TrainingError

log = logging.getLogger(__name__)


def compiles(choice: str, device: torch.device) -> bool:
    """Whether to compile a model.

    Args:
        choice: `train.compile`: on, off, or auto, which is on with CUDA if Triton and a C compiler are installed.
        device: Device of the training.
    """
    if choice != "auto" or device.type != "cuda":
        return choice == "on"
    missing = [] if importlib.util.find_spec("triton") else ["the package triton"]
    if not any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang")):
        missing.append("a C compiler")
    if missing:
        log.warning("Layers are not fused (train.compile): %s is missing; training is slower.", " and ".join(missing))
    return not missing


@contextmanager
def said_plainly() -> Iterator[None]:
    """Context manager: a failing compiler becomes a sentence.

    Raises:
        TrainingError: The compiler fails.
    """
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).strip().split("\n\n")[0].split())  # the rest is advice for debugging the compiler
        raise TrainingError(f"torch.compile failed ({reason}); train with train.compile=off.") from error
