"""The Matcher as two ONNX graphs: template branch, and search branch with head. numpy only.

Differences from the torch modules, for speed, with equal results up to rounding:
  - BatchNorm is folded into the convolutions, and so are the change from BGR to RGB and the division of the input.
  - All that depends on the template alone is computed in its branch: `embedding` is not the feature map of
    `Matcher.embed_template` but the matrix that the search features are multiplied with (`tracker.runtime.onnx.heads`).
  - The search branch has its fine channels times `FINE_SHARE`, as the online filter reads them; the head's weights make
    up for it.
  - The stem reads rows of pixels as they lie in memory, and a search of known size has no arithmetic on shapes.
  - Channel counts are rounded up to a multiple of 8, which lets ONNX Runtime take its blocked convolutions.
Widths, kernels and numbers of blocks are read from the arrays. `tests/runtime/test_engines.py` holds this against
torch.
"""

from __future__ import annotations

from tracker.model.backbone_specs import FINE_SHARE
from tracker.model_config import ModelConfig
from tracker.runtime.onnx.attention import AttentionGraph
from tracker.runtime.onnx.heads import BoxHeadGraph, ClassicHeadGraph, OnePassGraph
from tracker.runtime.onnx.int8 import Int8Network
from tracker.runtime.onnx.network import Network, Ranges, State


def search_model(
    config: ModelConfig,
    state: State,
    features: bool = False,
    size: int | None = None,
    ranges: Ranges | None = None,
    taps: bool = False,
) -> bytes:
    """The search branch and the head.

    Inputs: `search` uint8 (batch, height, width, 3) BGR; `embedding` float32 (templates, rows, columns) from the
    template branch, templates being 1 or batch (and batch may be 1 for several templates). Outputs: `score` float32
    (batch, h, w) logits and, with a head that has boxes, `boxes` float32 (batch, 4, h, w) xyxy in search-crop pixels.

    Args:
        config, state: Of a `LoadedModel`.
        features: Heads with boxes: also output `features` float32 (batch, channels, h, w), the search embedding with
            cells of unit length, which `tracker.tracking.online_filter` reads.
        size: Height and width of all searches; None: any.
        ranges: Lowest and highest value of each layer that runs in int8 (`tracker.runtime.onnx.int8`); None: all
            float32.
        taps: Also output each layer that can run in int8, under its name.

    Raises:
        DeviceError: The backbone has no ONNX graph.
    """
    name = "siamtrack_search"
    net = Network(config, state, name) if ranges is None else Int8Network(config, state, name, ranges)
    pixels = net.g.input("search", "uint8", ("batch", size or "height", size or "width", 3))
    head = _head(net, net.side(size) if size else None)
    embedding = net.g.input("embedding", "float32", ("templates", head.rows, head.columns))
    x, fine = net.embed(pixels, FINE_SHARE)
    net.g.prefix = "head_"
    head.search(embedding, x, fine, features)
    for layer, output in net.taps.items() if taps else ():
        net.g.output(output, layer, "float32", tuple(f"{layer} {axis}" for axis in range(4)))
    return net.g.serialize(net.metadata())


def template_model(config: ModelConfig, state: State) -> bytes:
    """The template branch.

    Inputs: `template` uint8 (batch, n, n, 3) BGR; `target` float32 (batch, 2), width and height of the target in
    template pixels. Outputs: `embedding` float32 (batch, rows, columns), the input of the search branch; `features`
    float32 (batch, channels, h, w), the same as a feature map (`Matcher.embed_template`), to compare templates.

    Raises:
        DeviceError: The backbone has no ONNX graph.
    """
    net = Network(config, state, "siamtrack_template")
    pixels = net.g.input("template", "uint8", ("batch", config.template_size, config.template_size, 3))
    target = net.g.input("target", "float32", ("batch", 2))
    head = _head(net)
    x, fine = net.embed(pixels)
    net.g.prefix = "head_"
    features = head.features(x, fine, target)
    net.g.output(head.template(features), "embedding", "float32", ("batch", head.rows, head.columns))
    net.g.output(features, "features", "float32", ("batch", head.channels, net.cells, net.cells))
    return net.g.serialize(net.metadata())


def prepare_model(config: ModelConfig, state: State) -> bytes:
    """Converts `features` of the template branch to `embedding`, for templates that were stored as feature maps."""
    net = Network(config, state, "siamtrack_prepare")
    head = _head(net)
    features = net.g.input("features", "float32", ("batch", head.channels, net.cells, net.cells))
    net.g.output(head.template(features), "embedding", "float32", ("batch", head.rows, head.columns))
    return net.g.serialize(net.metadata())


HEADS: dict[str, type[ClassicHeadGraph | OnePassGraph]] = {
    "classic": ClassicHeadGraph,
    "boxes": BoxHeadGraph,
    "attention": AttentionGraph,
}


def _head(net: Network, side: int | None = None) -> ClassicHeadGraph | OnePassGraph:
    return HEADS[net.config.head](net, side)
