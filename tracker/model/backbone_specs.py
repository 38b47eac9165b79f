"""Facts about the backbones that are needed without torch: when a tracker starts, and to build ONNX graphs."""

from __future__ import annotations

from dataclasses import dataclass

NORMED = "-normed"
"""Name suffix of a backbone with an additional BatchNorm that is used in training only."""
USUAL_SIZE = 4.0
"""Side, in cells, of a square target in a template with the usual context (`relative_boxes`)."""
FINE_SHARE = 0.3
"""Weight of the fine channels relative to the embedding in the input of the online filter (docs/experiments.md, 18)."""


@dataclass(frozen=True)
class BackboneSpec:
    """Geometry of the cells of an embedding, and its additional channels.

    Attributes:
        stride: Pixels of the crop between neighbouring cells.
        padded: Whether convolutions pad, so that the embedding has a last channel with the fraction of each cell that
            the target covers.
        first_cell: Side in pixels of the smallest crop, which gives one cell.
        fine_stage: Stage whose output gives finer channels appended to the embedding; 0: none.
        fine_channels: Number of these channels.
        onnx: Whether `tracker.runtime.onnx` supports it.
    """

    stride: int
    padded: bool
    first_cell: int = 1
    fine_stage: int = 0
    fine_channels: int = 0
    onnx: bool = True

    def cells(self, size: int) -> int:
        """Cells along one side of a crop with a side of the given number of pixels."""
        return (size - self.first_cell) // self.stride + 1

    @property
    def uncompared_channels(self) -> int:
        """How many of the last channels of an embedding are not compared between templates."""
        return int(self.padded) + self.fine_channels


SPECS = {
    "efficientnet-lite0": BackboneSpec(16, True),
    "efficientnet-lite0-fine": BackboneSpec(16, True, fine_stage=3, fine_channels=160),
    "efficientnet-lite0-80": BackboneSpec(16, True),
    "siamfc-alexnet": BackboneSpec(8, False, first_cell=87),
    "siamfc-alexnet-normed": BackboneSpec(8, False, first_cell=87, onnx=False),
}
"""Keyed by the names of `tracker.model.backbones.BACKBONES`; a test compares them with the modules."""
