"""Augmentation on the device, drawn anew in each step: rotation, shift, scale and light, for a whole batch at once.

The geometry is one `grid_sample`: it agrees with OpenCV's warp to a grey level (`tests/training/test_resident.py`). The
random values depend on seed, step and the pair's number in the batch alone, as the pairs themselves do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.settings import Checked, setting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DeviceMoves(Checked, section="train.data.moves"):
    """Strength of the augmentation of the search beyond that of its cached image; all 0: none."""

    turn: float = setting(
        0.0, 0, 180, "degrees", "Largest rotation of the search about its centre, in either direction."
    )
    shift: float = setting(0.0, 0, 1023, "crop pixels", "Largest shift of the search, per axis.")
    scale: float = setting(0.0, 0, 1, help="Standard deviation of the log of the search's scale factor.")
    light: float = setting(0.0, 0, 1, help="Standard deviation of the log of the gain, drawn for each image.")

    @property
    def any(self) -> bool:
        """Whether any of them is above 0."""
        return any(getattr(self, field.name) for field in fields(self))


def drawn(moves: DeviceMoves, seed: int, step: int, numbers: range) -> NDArray[np.float32]:
    """(B, 6): rotation in radians, shift x and y in pixels, scale factor, gains of template and search."""
    rows = []
    for number in numbers:
        rng = np.random.default_rng([seed, step, number, 2])
        turn, x, y = rng.uniform(-1, 1, 3)
        scale, one, other = np.exp(np.clip(rng.normal(size=3), -2, 2) * (moves.scale, moves.light, moves.light))
        rows.append((np.radians(turn * moves.turn), x * moves.shift, y * moves.shift, scale, one, other))
    return np.array(rows, np.float32).reshape(-1, 6)


def move_pictures(pictures: Tensor, turn: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Rotates square images about their centre, scales, then shifts them; pixels from outside get the mean colour.

    Args:
        pictures: (B, 3, m, m) float.
        turn: (B,) radians, clockwise in the image.
        shift: (B, 2) pixels to the right and down.
        scale: (B,) scale factor.
    """
    import torch
    from torch.nn import functional

    cos, sin = torch.cos(turn) / scale, torch.sin(turn) / scale
    way = 2.0 / pictures.shape[-1] * shift  # an image extends from -1 to 1
    x, y = way.unbind(1)
    # From a position in the result to one in the image: the inverse map.
    matrix = torch.stack([cos, sin, -(cos * x + sin * y), -sin, cos, sin * x - cos * y], 1).reshape(-1, 2, 3)
    grid = functional.affine_grid(matrix, list(pictures.shape), align_corners=False)
    fill = pictures.mean((2, 3), keepdim=True)
    return functional.grid_sample(pictures - fill, grid, mode="bilinear", align_corners=False) + fill


def move_boxes(boxes: Tensor, turn: Tensor, shift: Tensor, scale: Tensor, size: int) -> Tensor:
    """(B, 4) xyxy after `move_pictures` of images of that size: the bounding boxes of the rotated ellipses that fill
    the boxes.

    The bounding box of the rotated box would be up to 1.41 times too large for anything that doesn't fill its
    corners.
    """
    import torch

    cos, sin = torch.cos(turn), torch.sin(turn)
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2 - size / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    x, y = centre.unbind(1)
    moved = torch.stack([cos * x - sin * y, sin * x + cos * y], 1) * scale[:, None] + shift + size / 2
    width, height = half.unbind(1)
    wide = torch.stack([torch.hypot(cos * width, sin * height), torch.hypot(sin * width, cos * height)], 1)
    wide = wide * scale[:, None]
    return torch.cat([moved - wide, moved + wide], 1)
