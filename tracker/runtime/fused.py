"""A backbone as it runs fastest: BatchNorm folded into the convolutions before it, in the type of its arithmetic."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tracker.model.matcher import Matcher


def fused(model: Matcher, dtype: torch.dtype) -> Matcher:
    """A copy of a model whose backbone and neck run in one type without BatchNorm; energy and head stay in float32.

    In evaluation BatchNorm is a factor and an offset for each channel, which the weights before it can take (the
    formula: Jacob et al., CVPR 2018, section 3.2).

    Args:
        model: In evaluation mode.
        dtype: Of backbone and neck; `embed` then takes pictures of that type and gives embeddings of it.
    """
    made = copy.deepcopy(model).eval()
    for parent in [*made.backbone.modules()]:
        before: tuple[str, nn.Conv2d] | None = None
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d) and before is not None:
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, nn.Identity())
            before = (name, child) if isinstance(child, nn.Conv2d) else None
    made.backbone.to(dtype)
    made.neck.to(dtype)
    return made
