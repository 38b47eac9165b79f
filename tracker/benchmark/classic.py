"""The baseline of 2016, SiamFC, for speed comparisons."""

from __future__ import annotations

from tracker.config import Config
from tracker.config_merge import merge
from tracker.model.checkpoint import LoadedModel
from tracker.model.siamese_network import SiameseNetwork
from tracker.model.siamfc_pytorch import SIAMFC_MODEL, SIAMFC_TRACKING


def classic_model() -> LoadedModel:
    """SiamFC's AlexNet as siamfc-pytorch runs it: 127 and 255 pixels, 3 scales, up-sampling by 16. Untrained."""
    values = {"model": SIAMFC_MODEL, "tracking": {**SIAMFC_TRACKING, "redetection": {"enabled": False}}}
    config = merge(Config(name="siamfc-alexnet"), values, where="the classic model")
    state = {key: value.numpy() for key, value in SiameseNetwork(config.model).eval().state_dict().items()}
    return LoadedModel(config.name, config, state)
