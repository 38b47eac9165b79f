"""Synthetic handwritten characters by synthetic writers: any number of classes, to learn the comparison of drawings.

A class is a few strokes of smooth curves, as in Lake, Salakhutdinov and Tenenbaum 2015, "Human-level concept learning
through probabilistic program induction", in a much simpler form; a writer moves, rotates and bends each stroke
slightly.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.types import Image

Points = NDArray[np.float64]


def character(number: int, seed: int = 0) -> list[Points]:
    """The strokes of a synthetic character: (n, 2) control points each, in [0, 1].

    Args:
        number: Number of the character.
        seed: Seed of the alphabet.
    """
    rng = np.random.default_rng((seed, number))
    strokes: list[Points] = []
    for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.25, 0.35, 0.25, 0.15]))):
        if strokes and rng.random() < 0.6:  # starts on an existing stroke
            line = smooth(strokes[int(rng.integers(len(strokes)))])
            start = line[int(rng.choice([0, len(line) - 1, int(rng.integers(len(line)))]))]
        else:
            start = rng.uniform(0.2, 0.8, 2)
        points = [start]
        heading = rng.choice([0.0, 0.5, 1.0, 1.5, 0.25, 0.75]) * np.pi + rng.normal(0, 0.15)
        length, bend = rng.uniform(0.15, 0.45), rng.choice([0.0, rng.normal(0, 0.9)])
        for _ in range(int(rng.integers(1, 6))):
            step = length * rng.uniform(0.6, 1.2) * np.array([np.cos(heading), np.sin(heading)])
            points.append(np.clip(points[-1] + step, 0.05, 0.95))
            heading += bend + (rng.choice([0, np.pi / 2, -np.pi / 2]) if rng.random() < 0.25 else rng.normal(0, 0.2))
        strokes.append(np.array(points))
    return strokes


def smooth(points: Points, count: int = 24) -> Points:
    """A quadratic B-spline curve with these control points: (count, 2)."""
    if len(points) < 3:
        t = np.linspace(0, 1, count)[:, None]
        return points[0] * (1 - t) + points[-1] * t
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, len(padded) - 2 - 1e-9, count)
    k = t.astype(int)
    u = (t - k)[:, None]
    a, b, c = padded[k], padded[k + 1], padded[k + 2]
    return np.asarray(0.5 * ((1 - u) ** 2 * a + (1 + 2 * u - 2 * u**2) * b + u**2 * c))


def draw(number: int, writer: int, size: int = 105, seed: int = 0) -> Image:
    """Draws a character as a writer: black on white, size x size x 3 uint8.

    Args:
        number: Number of the character.
        writer: Number of the writer.
        size: Side in pixels.
        seed: Seed of the alphabet.
    """
    rng = np.random.default_rng((seed, number, writer + 1))
    canvas = np.full((size, size), 255, np.uint8)
    width = max(1, round(size / 105 * rng.choice([2, 3, 3])))
    angle, spread = rng.normal(0, 0.1), np.exp(rng.normal(0, 0.12, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle) + rng.normal(0, 0.1), np.cos(angle)]])
    for stroke in character(number, seed):
        own = stroke + rng.normal(0, 0.022, stroke.shape) + rng.normal(0, 0.02, 2)
        middle = own.mean(0)
        own = (own - middle) * np.exp(rng.normal(0, 0.08, 2)) + middle
        line = ((smooth(own) - 0.5) * spread) @ turn.T * rng.uniform(0.8, 1.0) + 0.5
        pixels = np.round(line * (size - 1) * 8).astype(np.int32)
        cv2.polylines(canvas, [pixels.reshape(-1, 1, 2)], False, 0, width, cv2.LINE_AA, 3)
    return np.ascontiguousarray(np.repeat(canvas[..., None], 3, axis=2))
