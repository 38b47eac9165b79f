"""Distributed training: rank, sums over all processes, gathering with gradients.

With one process everything is the identity.
"""

from __future__ import annotations

import datetime
import inspect
import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tracker.errors import DeviceError, SiamTrackError

log = logging.getLogger(__name__)
T = TypeVar("T")

_group: dist.ProcessGroup | None = None
"""A separate process group for sums inside losses, so that they can't interleave with DistributedDataParallel's
communication."""


def rank() -> int:
    """Number of this process, 0 on a single one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def start(device: str) -> torch.device:
    """Joins the processes started by `torchrun` (gloo on CPU, nccl on CUDA) and returns this process's device.

    Args:
        device: "auto", "cpu" or "cuda"; "auto" takes CUDA if there is one.

    Raises:
        DeviceError: CUDA was asked for and there is none.
    """
    global _group
    if device not in {"auto", "cpu", "cuda"}:
        raise DeviceError(f"The device {device!r} is unknown to training; use auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("The device cuda was asked for, but torch sees no CUDA device here; use train.device=cpu.")
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and not dist.is_initialized():
        backend = "nccl" if kind == "cuda" else "gloo"
        if kind == "cuda":
            if local >= torch.cuda.device_count():
                raise DeviceError(
                    f"Process {local} here has no CUDA device: torch sees {torch.cuda.device_count()}; start fewer."
                )
            torch.cuda.set_device(local)
        # Validation by tracking runs on rank 0 while the others wait: half an hour, torch's default time-out, may be
        # too short.
        dist.init_process_group(backend, timeout=datetime.timedelta(hours=6))
        _group = dist.new_group(timeout=datetime.timedelta(hours=6))
        log.info("process %d of %d joined by %s", rank(), world(), backend)
    chosen = torch.device("cuda", local) if kind == "cuda" else torch.device("cpu")
    log.info("training on %s (asked for: %s)", chosen, device)
    return chosen


def stop() -> None:
    """Leaves the process group."""
    global _group
    _group = None
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, without gradient."""
    total = values.detach().clone()
    if world() > 1:
        dist.all_reduce(total, group=_group)
    return total


def sum_with_gradient(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes; the gradients of all of them are summed too."""
    return values if world() == 1 else _Sum.apply(values)


def from_first(make: Callable[[], T]) -> T:
    """Calls a function on rank 0 and returns its result on all ranks: files that it reads need to exist on one machine
    only.

    Raises:
        Exception: What the function raised on rank 0, on all ranks.
    """
    if world() == 1:
        return make()
    box: list[Any] = [None]
    if rank() == 0:
        try:
            box = [make()]
        except SiamTrackError as error:
            box = [error]
    dist.broadcast_object_list(box, group=_group)
    if isinstance(box[0], SiamTrackError):
        raise box[0]
    return cast(T, box[0])


def barrier() -> None:
    """Waits for all processes."""
    if world() > 1:
        dist.barrier(group=_group)


def gather(values: Tensor) -> Tensor:
    """Rows of all processes in rank order, without gradient: (B, ...) -> (world * B, ...)."""
    if world() == 1:
        return values.detach()
    parts = [torch.empty_like(values) for _ in range(world())]
    dist.all_gather(parts, values.detach().contiguous(), group=_group)
    return torch.cat(parts)


def gather_with_gradient(values: Tensor) -> Tensor:
    """Rows of all processes; the gradients of all of them flow back to the process that owns a row."""
    if world() == 1:
        return values
    return _Gather.apply(values)


class _Gather(torch.autograd.Function):
    """all_gather whose backward sums the gradients of all processes: losses on one rank use rows of another."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.rows = values.shape[0]
        return gather(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous().clone()
        dist.all_reduce(grad, group=_group)
        return grad[rank() * ctx.rows : (rank() + 1) * ctx.rows]


class _Sum(torch.autograd.Function):
    """all_reduce whose backward is an all_reduce, since every process used the sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return sum_over_ranks(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return sum_over_ranks(grads[0].contiguous())


def reason_to_stop(number: int, over: bool, device: torch.device) -> str:
    """Why to stop, or "": all processes stop together, whichever of them received the request.

    Args:
        number: The signal that this process received, 0 for none.
        over: Whether its time limit is reached.
        device: Device of the run.
    """
    asked, late = float(number != 0), float(over)
    if world() > 1:
        asked, late = sum_over_ranks(torch.tensor([asked, late], device=device)).tolist()
    return "signal" if asked else "max-minutes" if late else ""


def parallel(model: nn.Module, device: torch.device, sync_buffers: bool, unused: bool) -> nn.Module:
    """A model whose gradients are averaged over all processes.

    Args:
        model: A model on its device.
        device: That device.
        sync_buffers: Whether the first process's buffers replace the others' before each step.
        unused: Whether some parameters may get no gradient.
    """
    # Newer versions of torch warn of the older name.
    renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
    options: dict[str, Any] = {"forward_sync_buffers" if renamed else "broadcast_buffers": sync_buffers}
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=ids, find_unused_parameters=unused, **options)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm2d whose training statistics are computed over all processes, on any device, so that a run on two
    processes equals one on one. (`torch.nn.SyncBatchNorm` does this on CUDA only.)"""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not self.training or world() == 1:
            return super().forward(x)
        wide = x.float()
        count = sum_over_ranks(torch.tensor(float(x.numel() // x.shape[1]), device=x.device))
        mean = sum_with_gradient(wide.sum((0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = sum_with_gradient(centred.square().sum((0, 2, 3))) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked += 1
                momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * count / (count - 1), momentum)
        y = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            y = y * self.weight[:, None, None] + self.bias[:, None, None]
        return y.to(x.dtype)


def share_batchnorm(model: nn.Module) -> int:
    """Replaces every BatchNorm2d of a model by a shared one with the same parameters, buffers and names.

    Returns:
        Number of replacements.
    """
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                shared = SharedBatchNorm2d(
                    child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
                )
                shared._parameters, shared._buffers, shared.training = child._parameters, child._buffers, child.training
                setattr(parent, name, shared)
                count += 1
    return count
