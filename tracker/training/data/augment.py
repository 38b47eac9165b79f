"""Data augmentation of crops: light, colour, blur, compression, occlusion, deformation.

Every function takes a numpy Generator and draws all its randomness from it, so that results depend on the seed
alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.settings import Checked, setting
from tracker.types import Image

Rng = np.random.Generator


@dataclass(frozen=True)
class AugmentConfig(Checked, section="train.data.material.augment"):
    """Strength of the augmentation. Values are probabilities, unless a unit is named."""

    shift: float = setting(64.0, 0, 1023, "crop pixels", "Largest shift of the target from the search crop's centre.")
    scale: float = setting(0.18, 0, 2, help="Standard deviation of the log of the search window's size error.")
    stretch: float = setting(0.25, 0, 2, help="Largest log change of the aspect ratio between two views of a still.")
    template_jitter: float = setting(
        0.03, 0, 1, help="Standard deviation of the template box's error, share of its size."
    )
    rotation: float = setting(25.0, 0, 180, "degrees", "Largest rotation of a pasted cutout between two views.")
    turn: float = setting(0.0, 0, 180, "degrees", "Largest rotation of a still (the whole image) in each view.")
    bend: float = setting(
        0.0, 0, 0.5, help="How far parts of a pasted cutout move against each other, share of its mean side."
    )
    far: float = setting(
        0.0, 0, 1, help="Probability that a search shows its target anywhere in the window, as after a fast move."
    )
    flip: float = setting(0.5, 0, 1, help="Probability, per sample, so that its views stay comparable.")
    gray: float = setting(0.2, 0, 1, help="Probability, per sample.")
    light: float = setting(0.25, 0, 1, help="Strength of brightness, contrast, saturation and hue changes.")
    blur: float = setting(0.12, 0, 1, help="Probability, per view.")
    motion_blur: float = setting(0.15, 0, 1, help="Probability, per view.")
    noise: float = setting(0.1, 0, 1, help="Probability, per view.")
    jpeg: float = setting(0.15, 0, 1, help="Probability, per view.")
    low_resolution: float = setting(0.15, 0, 1, help="Probability, per view.")
    occlusion: float = setting(0.2, 0, 1, help="Probability, per view.")


def light(image: Image, strength: float, rng: Rng) -> Image:
    """Changes contrast, brightness and tint, and sometimes adds a brightness gradient."""
    gain = np.exp(rng.uniform(-1, 1) * strength) * np.exp(rng.uniform(-0.25, 0.25, 3) * strength)
    offset = rng.uniform(-60, 60) * strength
    table = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
    out = cv2.LUT(image, table[None])
    if rng.random() < 0.5 * strength:
        height, width = image.shape[:2]
        slope = np.linspace(-1, 1, width)[None] * rng.uniform(-1, 1) + np.linspace(-1, 1, height)[
            :, None
        ] * rng.uniform(-1, 1)
        out = np.clip(out * (1 + 0.5 * slope[..., None]), 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        saturation = np.exp(rng.uniform(-1, 1) * strength)
        mean = cv2.cvtColor(out, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)
        out = np.clip(mean + (out.astype(np.float32) - mean) * saturation, 0, 255).astype(np.uint8)
    return out  # type: ignore[return-value]


def to_gray(image: Image) -> Image:
    """The image without colour, still with three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)  # type: ignore[return-value]


def motion_blur(image: Image, length: int, angle: float) -> Image:
    """Blur along a line of `length` pixels at `angle` degrees."""
    size = length | 1
    kernel = np.zeros((size, size), np.float32)
    centre = size // 2
    dx, dy = np.cos(np.radians(angle)) * centre, np.sin(np.radians(angle)) * centre
    cv2.line(kernel, (round(centre - dx), round(centre - dy)), (round(centre + dx), round(centre + dy)), 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())  # type: ignore[return-value]


def degrade(image: Image, config: AugmentConfig, rng: Rng) -> Image:
    """Light, blur, noise, low resolution and compression, each with its own probability."""
    if rng.random() < 0.8:
        image = light(image, config.light, rng)
    if rng.random() < config.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))  # type: ignore[assignment]
    if rng.random() < config.motion_blur:
        image = motion_blur(image, int(rng.integers(3, 14)), rng.uniform(0, 180))
    if rng.random() < config.low_resolution:
        factor = rng.uniform(0.25, 0.8)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    if rng.random() < config.noise:
        image = np.clip(image + rng.normal(0, rng.uniform(2, 12), image.shape), 0, 255).astype(np.uint8)
    if rng.random() < config.jpeg:
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 75))])
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return image


def occlude(image: Image, box: NDArray[np.float64], rng: Rng, other: Image | None = None) -> Image:
    """Covers a part of the box (at most about 40 %) with a patch from elsewhere in the image, from another image, or of
    one colour.

    Args:
        image: The picture; a changed copy is returned.
        box: (4,) xyxy of the target.
        other: Image to take the patch from; the image itself where None.
    """
    height, width = image.shape[:2]
    w, h = box[2] - box[0], box[3] - box[1]
    share = rng.uniform(0.15, 0.45)
    pw, ph = (w * share, h * rng.uniform(0.8, 1.2)) if rng.random() < 0.5 else (w * rng.uniform(0.8, 1.2), h * share)
    cx = rng.uniform(box[0], box[2])
    cy = rng.uniform(box[1], box[3])
    x0, y0 = int(np.clip(cx - pw / 2, 0, width - 2)), int(np.clip(cy - ph / 2, 0, height - 2))
    x1, y1 = int(np.clip(x0 + pw, x0 + 1, width)), int(np.clip(y0 + ph, y0 + 1, height))
    out = image.copy()
    source = image if other is None else other
    if rng.random() < 0.25:
        out[y0:y1, x0:x1] = rng.integers(0, 256, 3)
    else:
        sx = int(rng.integers(0, max(1, source.shape[1] - (x1 - x0))))
        sy = int(rng.integers(0, max(1, source.shape[0] - (y1 - y0))))
        patch = source[sy : sy + y1 - y0, sx : sx + x1 - x0]
        out[y0 : y0 + patch.shape[0], x0 : x0 + patch.shape[1]] = patch
    return out


def bent(image: Image, strength: float, rng: Rng) -> Image:
    """An image deformed by a smooth random field, like a body that bends.

    Elastic deformation (Simard et al. 2003, section 2), with a grid of 4 x 4 displacements in place of filtered noise.

    Args:
        image: H x W x C uint8.
        strength: Standard deviation of the displacements as a fraction of the mean side; larger ones than twice that
            are clipped.
        rng: Random generator of the field.
    """
    height, width = image.shape[:2]
    reach = strength * np.sqrt(height * width)
    grid = np.clip(rng.normal(size=(4, 4, 2)), -2, 2).astype(np.float32) * np.float32(reach)
    field = cv2.resize(grid - grid.mean((0, 1)), (width, height), interpolation=cv2.INTER_CUBIC)
    across, down = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(image, across + field[..., 0], down + field[..., 1], cv2.INTER_LINEAR)
    return moved  # type: ignore[return-value]


def turned_box(box: NDArray[np.float64], angle: float, middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4,) xywh of a box after a rotation about a point: the bounding box of the rotated ellipse that fills the box.

    Args:
        box: (4,) xywh.
        angle: Radians, clockwise in the image.
        middle: (2,) x and y of the point.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    centre = np.array([[cos, -sin], [sin, cos]]) @ (box[:2] + box[2:] / 2 - middle) + middle
    size = np.hypot([cos * box[2], sin * box[2]], [sin * box[3], cos * box[3]])
    return np.concatenate([centre - size / 2, size])
