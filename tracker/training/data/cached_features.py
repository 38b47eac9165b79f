"""Cached features: outputs of frozen stages, or the embeddings of a teacher."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from tracker.datasets.tracks import DataError
from tracker.model.backbone_specs import NORMED
from tracker.model.checkpoint import load_model
from tracker.model_config import ModelConfig
from tracker.types import Image

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tracker.model.backbones import Backbone


logger = logging.getLogger(__name__)


def embed_views(name: str, pictures: Sequence[Sequence[Image]], embed: Embed) -> dict[str, NDArray[Any]]:
    """The output of a function for the images of some samples: {name: (G, views, C, h, w) float16}."""
    return {name: np.stack([embed(np.stack(views)).astype(np.float16) for views in pictures])}


def taught(teacher: str, model: ModelConfig) -> Embed:
    """A function that returns a teacher's embedding at the cells that a model's embedding of a search has.

    Raises:
        ConfigError: The teacher can't be used.
    """
    from tracker.training.losses.distillation import Teacher, embedding_grid

    master, grid = Teacher(teacher), embedding_grid(model.backbone, model.search_size)
    return compiled(master.model, lambda x: master.targets(x, grid))


def frozen_stages(backbone: str, stage: int, weights: str = "") -> Embed:
    """The first stages of a backbone with its ImageNet weights, or with those of a model, as a function on images.

    Args:
        backbone: Its name.
        stage: Number of stages.
        weights: A shipped model or a checkpoint; "": ImageNet.

    Raises:
        DataError: The backbone has no such weights.
        WeightsError: They are missing.
    """
    from tracker.model.backbones import build_backbone

    if weights:
        model = load_model(weights)
        if model.config.model.backbone != backbone.removesuffix(NORMED):
            raise DataError(
                f"train.data.cache.weights={weights} has the backbone {model.config.model.backbone!r}, this recipe "
                f"{backbone!r}; take a model of the same backbone."
            )
        return compiled_stages(model.module.backbone, stage)
    network = build_backbone(backbone)
    load = getattr(network, "load_imagenet", None)
    if load is None:
        raise DataError(f"The backbone {backbone!r} has no pretrained stages to freeze; set train.data.cache.stage=0.")
    load()
    return compiled_stages(network, stage)


def compiled_stages(network: Backbone, stage: int) -> Embed:
    """The first stages of a backbone, with its present weights, as a function on images; see `compiled`."""
    return compiled(network, lambda x: network(x, 0, stage))


def compiled(network: nn.Module, forward: Callable[[Tensor], Tensor]) -> Embed:
    """A network as a function on images, compiled if possible.

    Runs in ONNX Runtime, which is about three times as fast as torch eager on a CPU; in torch, with a warning, if the
    package onnx, which torch needs to export a graph, is not installed.

    Args:
        network: The network with the weights.
        forward: (B, 3, H, W) BGR 0..255 float -> (B, C, h, w), by that network.
    """
    import importlib.util

    import torch
    from torch import nn

    class Lower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = network

        def forward(self, x: Tensor) -> Tensor:
            return forward(x.permute(0, 3, 1, 2).float())

    lower = Lower().eval()
    if importlib.util.find_spec("onnx") is not None:
        return _session(lower)
    logger.warning("The frozen stages run in torch: `pip install onnx` makes them about three times as fast.")

    def embed(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            return cast("NDArray[np.float32]", lower(torch.from_numpy(pictures)).numpy())

    return embed


def _session(lower: nn.Module) -> Embed:
    """A module exported to and run by ONNX Runtime, as a function on images."""
    import io

    import onnxruntime
    import torch

    buffer = io.BytesIO()
    axes = {"x": {0: "n", 1: "h", 2: "w"}, "y": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(
        lower,
        (torch.zeros(1, 129, 129, 3, dtype=torch.uint8),),
        cast(Any, buffer),
        input_names=["x"],
        output_names=["y"],
        dynamic_axes=axes,
        dynamo=False,
        opset_version=17,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda pictures: cast("NDArray[np.float32]", session.run(None, {"x": pictures})[0])


Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Images (N, H, W, 3) BGR uint8 -> features (N, C, h, w)."""
