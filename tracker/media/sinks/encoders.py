"""Encoder, options and pixel format for each video file type."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tracker.errors import OutputError
from tracker.types import Image

logger = logging.getLogger(__name__)

ENCODERS = {
    # zerolatency: the encoder buffers nothing, so that every frame written is in the file even after kill -9.
    "libx264": {"preset": "veryfast", "tune": "zerolatency"},
    "libopenh264": {"allow_skip_frames": "0"},
    "mpeg4": {"qscale": "4"},
}
"""Encoders of MP4, MOV and Matroska in order of preference, with their options."""

WEBM_ENCODERS = {
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "lag-in-frames": "0", "b": "0"},
    "libvpx": {"deadline": "realtime", "cpu-used": "7", "lag-in-frames": "0", "b": "8M"},
}
"""WebM allows only VP8, VP9 and AV1; realtime settings, since the tracker waits for the encoder."""

FRAGMENTS = {"movflags": "frag_every_frame+empty_moov+default_base_moof", "flush_packets": "1"}
"""During writing each frame is its own fragment, complete on disk; closing rewrites the file as a plain MP4."""

CLUSTERS = {"cluster_time_limit": "100", "flush_packets": "1"}
"""Matroska is written in whole clusters of a tenth of a second, the most that kill -9 can lose."""

GIF_SIDE = 640
"""Longer side of an animated GIF in pixels: a frame of 1080p would take two megabytes."""
GIF_STEP = 3
"""Least average interval between two frames of a GIF, in hundredths of a second: browsers slow down faster
animations."""


def container_options(path: Path) -> dict[str, str]:
    """Options of the muxer that keep a file playable if writing is interrupted by kill -9."""
    suffix = path.suffix.lower()
    return dict(CLUSTERS if suffix in (".mkv", ".webm") else {"flush_packets": "1"} if suffix == ".gif" else FRAGMENTS)


def pick_encoder(suffix: str = ".mp4") -> str:
    """The best encoder of this FFmpeg build for a file name's suffix; falling back to a worse one is logged.

    Raises:
        OutputError: There is none.
    """
    wanted = ["gif"] if suffix == ".gif" else list(WEBM_ENCODERS if suffix == ".webm" else ENCODERS)
    for name in wanted:
        try:
            av.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        if name == "mpeg4":
            logger.warning(
                "PyAV has no H.264 encoder here: the video is written as MPEG-4 part 2, which browsers don't play."
            )
        return name
    raise OutputError(
        f"This build of PyAV has no encoder for {suffix} ({', '.join(wanted)}); install av from its wheel: "
        "pip install av."
    )


def encoder_options(name: str, quality: int) -> dict[str, str]:
    """The options of an encoder; `quality` is a constant rate factor of x264, mapped to the scale of VP9 (0 to 63)."""
    if name == "libvpx-vp9":
        return WEBM_ENCODERS[name] | {"crf": str(round(quality * 63 / 51) + 4)}
    if name == "libvpx":
        return WEBM_ENCODERS[name] | {"crf": str(min(max(quality - 8, 4), 63))}
    return ENCODERS.get(name, {}) | ({"crf": str(quality)} if name == "libx264" else {})


def gif_size(width: int, height: int) -> tuple[int, int]:
    """The size at which frames of this size are put into a GIF."""
    scale = min(1.0, GIF_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


class PaletteFrames:
    """BGR pictures as frames of 256 colours for the GIF encoder, each with a palette of its own (FFmpeg's palettegen).

    Args:
        width, height: Size of the frames, as returned by `gif_size`.
    """

    BASE = Fraction(1, 100)

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("bgr24"), time_base=self.BASE)
        split, sink = graph.add("split"), graph.add("buffersink")
        palette = graph.add("palettegen", "stats_mode=single")
        # Ordered dither is constant from frame to frame, so that static parts take no bytes.
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=5:diff_mode=rectangle")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()

    def __call__(self, image: Image | None, ticks: int = 0) -> Iterator[Any]:
        """The frames that are ready after one more image; None: flush after the last.

        Args:
            image: BGR uint8 of any size.
            ticks: Its time in hundredths of a second.
        """
        if image is None:
            self._graph.push(None)
        else:
            if (image.shape[1], image.shape[0]) != self.size:
                image = np.asarray(cv2.resize(image, self.size, interpolation=cv2.INTER_AREA), np.uint8)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
            frame.pts, frame.time_base = ticks, self.BASE
            self._graph.push(frame)
        while True:
            try:
                made = self._graph.pull()
            except (BlockingIOError, EOFError):
                return
            made.time_base = self.BASE
            yield made
