"""The section `model` of a recipe: which network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tracker.errors import ConfigError
from tracker.settings import Checked, setting

PARTS = ("backbone", "neck", "head")
"""The parts of a model whose weights can be taken each by itself."""


@dataclass(frozen=True)
class ModelConfig(Checked, section="model"):
    """The network; each field says what it is, and `siamtrack settings model` prints them."""

    backbone: str = setting("efficientnet-lite0", help="Name in `tracker.model.backbones.BACKBONES`.")
    neck_channels: int = setting(112, 0, 4096, "channels", "Width of the 1x1 neck; 0: no neck.")
    energy: str = setting("cosine", choices=("dot", "cosine", "euclidean"), help="Similarity of two embeddings.")
    head: str = setting(
        "boxes",
        choices=("classic", "boxes", "attention"),
        help="""classic: scale and bias on the response; boxes: predicts a box per cell as well, from similarities of
        cells; attention: the same by cross-attention between the cells of template and search.""",
    )
    template_size: int = setting(129, 33, 1023, "pixels", "Side of the template crop.")
    search_size: int = setting(257, 33, 1023, "pixels", "Side of the search crop; at least `template_size`.")
    head_channels: int = setting(96, 1, 4096, "channels", "Width of the heads `boxes` and `attention`.")
    head_layers: int = setting(1, 0, 64, "layers", "3x3 layers shared by score and boxes; each has one more.")
    attention_layers: int = setting(1, 1, 8, "layers", "Head `attention`: layers of cross-attention.")
    attention_heads: int = setting(
        4, 1, 64, "heads", "Head `attention`: heads per layer; a divisor of `head_channels`."
    )
    relative_boxes: bool = setting(
        False,
        help="""Heads `boxes` and `attention`: sides are predicted relative to those of the target in the template, so
        that boxes keep the extent of the first one (with or without arms, tail, shadow). False: in cells.""",
    )
    response_scale: float = setting(
        10.0,
        0,
        1e6,
        above=True,
        help="Initial factor on the energy (0.001 for raw AlexNet features, as in siamfc-pytorch).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.search_size < self.template_size:
            raise ConfigError(
                f"model.search_size is {self.search_size} and model.template_size {self.template_size}; "
                "the search crop must be at least as large as the template."
            )
        if self.head == "attention" and self.head_channels % self.attention_heads:
            raise ConfigError(
                f"model.head_channels is {self.head_channels} and model.attention_heads {self.attention_heads}; the "
                "channels of the head are divided among the heads of the attention, so take a divisor of their number."
            )


def check_sizes(model: ModelConfig, tracking: Any) -> None:
    """Raises where a search window of the tracking section can't hold the model's template.

    Args:
        model: The section `model`.
        tracking: The section `tracking`, a `tracker.config.TrackingConfig`.

    Raises:
        ConfigError: With the window and the template.
    """
    for name in ("small_search.size", "small_search.middle", "redetection.size"):
        section, field = name.split(".")
        size = getattr(getattr(tracking, section), field)
        if size and size < model.template_size:
            raise ConfigError(
                f"tracking.{name} is {size}; a search window must be at least as large as the template, "
                f"which is {model.template_size} pixels (model.template_size), and 0 takes the usual one."
            )
