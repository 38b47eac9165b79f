"""A model as it runs fastest: BatchNorm folded into the convolutions before it, in the type of its arithmetic."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tracker.model.energies import Cosine
from tracker.model.heads import BoxHead
from tracker.model.matcher import Matcher


def fused(model: Matcher, dtype: torch.dtype) -> Matcher:
    """A copy of a model without BatchNorm whose backbone and neck run in one type, and its head in `head_type`.

    In evaluation BatchNorm is a factor and an offset for each channel, which the weights before it can take (the
    formula: Jacob et al., CVPR 2018, section 3.2).

    Args:
        model: In evaluation mode.
        dtype: Of backbone and neck; `embed` then takes pictures of that type and gives embeddings of it.
    """
    made = copy.deepcopy(model).eval()
    layers = [one for one in made.head.modules() if isinstance(one, nn.Sequential | BoxHead)]
    for parent in [*made.backbone.modules(), *layers]:
        before: tuple[str, nn.Conv2d] | None = None
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d) and before is not None:
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, nn.Identity())
            before = (name, child) if isinstance(child, nn.Conv2d) else None
    made.backbone.to(dtype)
    made.neck.to(dtype)
    made.head.to(head_type(model, dtype))
    return made


def head_type(model: Matcher, dtype: torch.dtype) -> torch.dtype:
    """The type that energy and head run in beside a backbone of some type.

    Cosines and what follows from them lose little in float16 that the backbone has not lost; dot products and
    distances of AlexNet's features exceed it, and bfloat16 is too coarse for boxes.
    """
    bounded = isinstance(model.head, BoxHead) and isinstance(model.energy, Cosine)
    return dtype if dtype == torch.float16 and bounded else torch.float32
