"""Checks for a CUDA device, and error messages for its failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tracker.errors import DeviceError


def check_device(name: str) -> torch.device:
    """Checks that a device exists, and returns it.

    Raises:
        DeviceError: The name is unknown, or there is no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"The device {name!r} is unknown; give auto, cpu, cuda or cuda:N.") from None
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"The device {name!r} is not supported; give auto, cpu, cuda or cuda:N.")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = (
                "this torch was built without CUDA"
                if torch.version.cuda is None
                else "no NVIDIA driver or no GPU answers"
            )
            raise DeviceError(
                f"The device {name!r} is not there: {built}. Use --device cpu, or install the driver and a CUDA "
                "build of torch."
            )
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise DeviceError(
                f"The device {name!r} is not there: this machine has {torch.cuda.device_count()} CUDA devices, "
                "counted from 0."
            )
    return device


@contextmanager
def sentences(device: str) -> Iterator[None]:
    """Context manager: out-of-memory and driver errors become sentences."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise DeviceError(
            f"The device {device} is out of memory; follow fewer targets at once, close other programs on it, or use "
            "--device cpu."
        ) from None
    except torch.AcceleratorError as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(
            f"The device {device} failed ({reason}); `nvidia-smi` says more, --device cpu works without it."
        ) from None
