"""Data augmentation for images: geometry, brightness, strokes; every view is a function of its random generator
alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.matching.config import MatchAugmentConfig
from tracker.types import Image

FIELD = 5
"""Nodes along a side of the grid of elastic displacements; a warp is smooth between them."""

NODES = 6
"""Points of a random curve of gray levels."""


def vary(
    image: Image, config: MatchAugmentConfig, rng: np.random.Generator, own: np.random.Generator | None = None
) -> Image:
    """One random view of an image, of the same size.

    Args:
        image: H x W x 3 uint8.
        config: Strength of the augmentation.
        rng: Random generator.
        own: Random generator for brightness, noise, tone and erasing, if the geometry is shared with another image;
            None: `rng`.
    """
    image = _move(image, config, rng)
    if config.flip and rng.random() < 0.5:
        image = image[:, ::-1]
    if config.stroke and rng.random() < config.stroke:
        kernel = np.ones((2, 2), np.uint8)
        image = np.asarray(cv2.erode(image, kernel) if rng.random() < 0.5 else cv2.dilate(image, kernel), np.uint8)
    rng = own or rng
    if config.tone and rng.random() < config.tone:
        image = _curve(rng)[image]
    if config.light or config.noise:
        values = image.astype(np.float32)
        middle = float(values.mean())
        if config.light:
            values = (
                (values - middle) * (1 + rng.uniform(-config.light, config.light))
                + middle
                + 128 * rng.uniform(-config.light, config.light)
            )
        if config.noise:
            values += rng.normal(0, config.noise, values.shape).astype(np.float32)
        image = np.clip(values, 0, 255).astype(np.uint8)
    if config.erase and rng.random() < config.erase:
        height, width = image.shape[:2]
        w, h = int(width * rng.uniform(0.1, 0.4)), int(height * rng.uniform(0.1, 0.4))
        x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        image = image.copy()
        image[y : y + h, x : x + w] = int(image.mean())
    return np.ascontiguousarray(image)


def _curve(rng: np.random.Generator) -> NDArray[np.uint8]:
    """(256,) new gray levels: a random monotone curve, inverted half the time."""
    levels = np.cumsum(rng.uniform(0.1, 1, NODES))
    levels = (levels - levels[0]) / (levels[-1] - levels[0]) * rng.uniform(120, 255)
    levels += rng.uniform(0, 255 - levels[-1])
    curve = np.interp(np.arange(256), np.linspace(0, 255, NODES), levels).round().astype(np.uint8)
    return curve[::-1] if rng.random() < 0.5 else curve


def _move(image: Image, config: MatchAugmentConfig, rng: np.random.Generator) -> Image:
    """Affine and elastic displacement in one resampling; pixels from outside get the border's colour."""
    if not (config.rotate or config.scale or config.shear or config.shift or config.warp):
        return image
    height, width = image.shape[:2]
    angle = np.deg2rad(rng.uniform(-config.rotate, config.rotate))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    skew = np.array([[1, rng.uniform(-config.shear, config.shear)], [0, 1]])
    common = rng.uniform(-config.scale, config.scale)
    size = np.diag(
        np.exp(
            [
                common + rng.uniform(-config.scale, config.scale) / 2,
                common + rng.uniform(-config.scale, config.scale) / 2,
            ]
        )
    )
    matrix = turn @ skew @ size
    shift = rng.uniform(-config.shift, config.shift, 2) * (width, height)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    maps = [
        (matrix[k, 0] * (x - centre[0]) + matrix[k, 1] * (y - centre[1]) + centre[k] + shift[k]).astype(np.float32)
        for k in range(2)
    ]
    if config.warp:
        for k, side in enumerate((width, height)):
            nodes: NDArray[np.float32] = rng.normal(0, config.warp * side, (FIELD, FIELD)).astype(np.float32)
            maps[k] += cv2.resize(nodes, (width, height), interpolation=cv2.INTER_CUBIC)
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    fill = np.median(edge, axis=0)
    return np.asarray(
        cv2.remap(
            image,
            maps[0],
            maps[1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=tuple(float(v) for v in fill),
        ),
        np.uint8,
    )
