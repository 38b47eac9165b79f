"""Facts of the backbones, known without torch: the start of a tracker, and ONNX graphs, need no module."""

from __future__ import annotations

from dataclasses import dataclass

NORMED = "-normed"
"""End of the name of a backbone with a BatchNorm that only training needs."""
USUAL_SIZE = 4.0
"""Cells that a square target measures in a template with the usual context (`relative_boxes`)."""
FINE_SHARE = 0.3
"""How much fine channels count beside the embedding in what the online filter reads (docs/experiments.md, 18)."""


@dataclass(frozen=True)
class BackboneSpec:
    """What places the cells of an embedding, and which channels it has beside its own.

    Attributes:
        stride: Pixels of the crop between neighbouring cells.
        padded: Whether convolutions pad, so that the embedding has a last channel with the target's share of each cell.
        first_cell: Pixels of the crop that give one cell.
        fine_stage: Stage whose output gives finer channels after the embedding's own; 0: none.
        fine_channels: How many.
        onnx: Whether `tracker.runtime.onnx` writes it.
    """

    stride: int
    padded: bool
    first_cell: int = 1
    fine_stage: int = 0
    fine_channels: int = 0
    onnx: bool = True

    def cells(self, size: int) -> int:
        """Cells along one side of a crop of that many pixels."""
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
"""By the names of `tracker.model.backbones.BACKBONES`; a test holds them against the modules."""
