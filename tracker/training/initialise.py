"""Initial weights of a model: ImageNet's in the backbone, random, or those of another model."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from tracker.config import Config
from tracker.errors import ConfigError, WeightsError
from tracker.model.backbone_specs import NORMED
from tracker.model.checkpoint import load_model
from tracker.model.random import DrawFrom
from tracker.model.siamese_network import SiameseNetwork
from tracker.model_config import PARTS
from tracker.training.data.batch import PairSource

log = logging.getLogger(__name__)


def initial_model(config: Config, seed: int, init: str = "imagenet", parts: Sequence[str] = PARTS) -> SiameseNetwork:
    """Builds a model to train, and logs which weights it got.

    Args:
        config: The recipe.
        seed: Seed of the random weights.
        init: imagenet (the backbone's own weight package; random for a backbone without one), random, or a shipped
            model or .safetensors file with matching shapes.
        parts: The parts taken from that model; the others are random, so that one backbone can be combined with
            different heads.

    Raises:
        WeightsError: The weights are missing or do not match.
    """
    with DrawFrom(seed):
        model = SiameseNetwork(config.model)
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


def even_start(model: SiameseNetwork, energy: str, source: PairSource) -> None:
    """Gives every energy the same initial scores: +4 for a target with equal features, -6 for orthogonal ones.

    Without it dot products of raw features are some hundreds, which would dominate the effect of a loss.

    Args:
        model: Changed in place: its neck is scaled so that features have unit length on average; scale and bias of the
            head are set accordingly.
        energy: Its energy.
        source: Provides the batch whose features are measured.

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


def feature_norm(model: SiameseNetwork, source: PairSource) -> float:
    """Mean squared length of the embedding of one cell, over the searches of the first batch."""
    batch = source.batch(0, 0, 1)
    with torch.no_grad():
        return float(model.eval().embed(batch.search.float(), start=batch.start).square().sum(1).mean())
