"""BatchNorm over the batch of all processes, on any device: a run on two processes is then the run on one.

`torch.nn.SyncBatchNorm` does this on CUDA alone; this one is plain torch, for gloo on CPU as well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tracker.training import distributed


class SharedBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm2d whose training statistics are those of the batches of all processes together."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not self.training or distributed.world() == 1:
            return super().forward(x)
        wide = x.float()
        count = distributed.sum_over_ranks(torch.tensor(float(x.numel() // x.shape[1]), device=x.device))
        mean = distributed.sum_with_gradient(wide.sum((0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = distributed.sum_with_gradient(centred.square().sum((0, 2, 3))) / count
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
        How many were replaced.
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
