"""A trial of the whole way for `siamtrack doctor`: a short clip is encoded, decoded and tracked."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

FRAMES, SIZE, SIDE = 8, (192, 144), 32
"""Frames of the trial clip; width and height; side of the square that moves through it, in pixels."""


def track_a_clip(encoder: str) -> str:
    """Encode a moving square, decode it as any file is decoded, and follow it; raises whatever goes wrong.

    Args:
        encoder: FFmpeg's name of a video encoder.

    Returns:
        What was done, as a phrase.
    """
    from tracker.media.sources.open import open_source
    from tracker.tracking.tracker import SiamTracker

    with tempfile.TemporaryDirectory(prefix="siamtrack-doctor-") as folder:
        path = Path(folder, "trial.mp4")
        _write(path, encoder)
        with open_source(str(path)) as source:
            images = [frame.image for frame in source]
    if len(images) != FRAMES:
        raise RuntimeError(f"{FRAMES} frames were encoded by {encoder}, and {len(images)} were decoded")
    one = SiamTracker.from_pretrained("siamtrack-s")
    one.init(images[0], (_left(0), 50, SIDE, SIDE))
    track = [one.update(image) for image in images[1:]][-1]
    middle, wanted = float(track.box[0] + track.box[2] / 2), _left(FRAMES - 1) + SIDE / 2
    if not abs(middle - wanted) < SIDE / 2:
        raise RuntimeError(f"the target of the trial clip is at x = {wanted:.0f}, and the tracker says {middle:.0f}")
    return f"{FRAMES} frames encoded ({encoder}), decoded and tracked on {one.device} ({one.engine.name})"


def _left(k: int) -> int:
    return 40 + 6 * k


def _write(path: Path, encoder: str) -> None:
    import av
    import numpy as np

    rng = np.random.default_rng(0)
    width, height = SIZE
    ground = np.repeat(np.repeat(rng.integers(60, 120, (height // 8, width // 8, 3), dtype=np.uint8), 8, 0), 8, 1)
    target = np.repeat(np.repeat(rng.integers(120, 255, (4, 4, 3), dtype=np.uint8), SIDE // 4, 0), SIDE // 4, 1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoder, rate=Fraction(25))
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        for k in range(FRAMES):
            image = ground.copy()
            image[50 : 50 + SIDE, _left(k) : _left(k) + SIDE] = target
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
