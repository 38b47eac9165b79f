"""The first weights of a model: ImageNet's in the backbone, random, or those of another model."""

from __future__ import annotations

import logging

import torch

from tracker.config import Config
from tracker.errors import WeightsError
from tracker.model.matcher import Matcher
from tracker.model.zoo import NORMED, load_model

log = logging.getLogger(__name__)


def initial_model(config: Config, seed: int, init: str = "imagenet") -> Matcher:
    """A model to start training from; which weights it got is logged.

    Args:
        config: The recipe.
        seed: Of the random weights.
        init: imagenet (the backbone's own package of weights; random for a backbone without one), random, or a shipped
            model or .safetensors file of the same shape.

    Raises:
        WeightsError: The weights are missing or do not fit.
    """
    torch.manual_seed(seed)
    model = Matcher(config.model)
    load = getattr(model.backbone, "load_imagenet", None)
    if init == "imagenet" and load is not None:
        load()
        log.info("The backbone %s starts from its ImageNet weights.", config.model.backbone)
    elif init == "imagenet":
        log.info("The weights start at random (seed %d): the backbone %s has no ImageNet weights.", seed, config.model.backbone)
    elif init == "random":
        log.info("The weights start at random (seed %d).", seed)
    else:
        try:
            state, normed = load_model(init).module.state_dict(), config.model.backbone.endswith(NORMED)
            missing = model.load_state_dict(state, strict=not normed).missing_keys
            if missing:
                log.info("Not in %s, so as a new layer has them: %s.", init, ", ".join(missing))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(f"The weights of {init} do not fit the model of this recipe: {reason}") from None
        log.info("The weights start from %s.", init)
    return model
