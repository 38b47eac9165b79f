"""The compute behind the tracker: one small protocol, one file for each engine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tracker.errors import DeviceError
from tracker.runtime.base import Engine, Response

if TYPE_CHECKING:
    from tracker.model.zoo import LoadedModel

__all__ = ["Engine", "Response", "build_engine"]

logger = logging.getLogger(__name__)


def build_engine(model: LoadedModel, device: str = "auto", engine: str = "auto") -> Engine:
    """The engine for a model.

    Args:
        model: From `tracker.model.zoo.load_model`.
        device: auto, cpu, cuda or cuda:N.
        engine: auto or torch.

    Raises:
        DeviceError: The device or engine is unknown or not there.
    """
    import torch

    from tracker.runtime.torch_engine import TorchEngine

    if engine not in ("auto", "torch"):
        raise DeviceError(f"The engine {engine!r} is unknown; there are auto, torch.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        logger.info("device auto: %s", device)
    return TorchEngine(model.module, device)
