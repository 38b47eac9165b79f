"""The first weights of a model: ImageNet's in the backbone, random, or those of another model."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from tracker.config import Config
from tracker.errors import ConfigError, WeightsError
from tracker.model.backbone_specs import NORMED
from tracker.model.checkpoint import load_model
from tracker.model.matcher import Matcher
from tracker.model.random import DrawFrom
from tracker.model_config import PARTS
from tracker.training.data.batch import PairSource

log = logging.getLogger(__name__)


def initial_model(config: Config, seed: int, init: str = "imagenet", parts: Sequence[str] = PARTS) -> Matcher:
    """A model to start training from; which weights it got is logged.

    Args:
        config: The recipe.
        seed: Of the random weights.
        init: imagenet (the backbone's own package of weights; random for a backbone without one), random, or a shipped
            model or .safetensors file of the same shape.
        parts: What is taken from that model; the others start at random, so that one trunk can be given to
            heads of other shapes.

    Raises:
        WeightsError: The weights are missing or do not fit.
    """
    with DrawFrom(seed):
        model = Matcher(config.model)
    load = getattr(model.backbone, "load_imagenet", None)
    if init == "imagenet" and load is not None:
        load()
        log.info("The backbone %s starts from its ImageNet weights.", config.model.backbone)
    elif init == "imagenet":
        log.info(
            "The weights start at random (seed %d): the backbone %s has no ImageNet weights.",
            seed,
            config.model.backbone,
        )
    elif init == "random":
        log.info("The weights start at random (seed %d).", seed)
    else:
        normed, source = config.model.backbone.endswith(NORMED), load_model(init).module
        for part in parts:
            state = getattr(source, part).state_dict()
            try:
                missing = getattr(model, part).load_state_dict(state, strict=not normed).missing_keys
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:300]
                raise WeightsError(
                    f"The weights of {init} do not fit the {part} of this recipe: {reason}. --init-parts names the "
                    "parts that are taken."
                ) from None
            if missing:
                log.info("Not in the %s of %s, so as a new layer has them: %s.", part, init, ", ".join(missing))
        log.info("The weights start from %s (%s).", init, ", ".join(parts))
    return model


def even_start(model: Matcher, energy: str, source: PairSource) -> None:
    """Gives every energy the same first scores: +4 for a target that looks the same, -6 for one at a right angle.

    Without it dot products of raw features are some hundreds, and what a loss does with them says little of the loss.

    Args:
        model: Changed in place: its neck is scaled so that features have unit length on average, its head's scale and
            bias follow.
        energy: Its energy.
        source: Gives the batch whose features are measured.

    Raises:
        ConfigError: A model without a neck, which has nothing to scale.
    """
    neck = getattr(model.neck, "weight", None)
    if not isinstance(neck, torch.nn.Parameter):
        raise ConfigError(
            "Even first scores (train.even_start, the ablation) scale the features in the neck; set "
            "model.neck_channels above 0."
        )
    scale, bias = {"cosine": (10.0, -6.0), "dot": (10.0, -6.0), "euclidean": (5.0, 4.0)}[energy]
    with torch.no_grad():
        if energy != "cosine":
            neck.mul_(feature_norm(model, source) ** -0.5)
        model.head.scale.fill_(scale)
        model.head.bias.fill_(bias)


def feature_norm(model: Matcher, source: PairSource) -> float:
    """Mean squared length of the embedding of one cell, over the searches of the first batch."""
    batch = source.batch(0, 0, 1)
    with torch.no_grad():
        return float(model.eval().embed(batch.search.float(), start=batch.start).square().sum(1).mean())
