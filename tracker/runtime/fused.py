"""A model optimised for inference: BatchNorm folded into the convolutions before it, weights in the type of the
arithmetic."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tracker.model.energies import Cosine
from tracker.model.heads import BoxHead
from tracker.model.siamese_network import SiameseNetwork


def fused(model: SiameseNetwork, dtype: torch.dtype) -> SiameseNetwork:
    """A copy of a model without BatchNorm, with backbone and neck in one type and the head in `head_type`.

    In evaluation mode BatchNorm is a factor and an offset per channel, which can be folded into the preceding weights
    (Jacob et al., CVPR 2018, section 3.2).

    Args:
        model: In evaluation mode.
        dtype: Type of backbone and neck, and of the input and output of `embed`.
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


def head_type(model: SiameseNetwork, dtype: torch.dtype) -> torch.dtype:
    """The type in which energy and head run, given that of the backbone.

    Cosines and what follows from them lose little precision in float16 beyond what the backbone has lost; dot products
    and distances of AlexNet's features overflow it, and bfloat16 is too coarse for boxes.
    """
    bounded = isinstance(model.head, BoxHead) and isinstance(model.energy, Cosine)
    return dtype if dtype == torch.float16 and bounded else torch.float32
