"""Synthetic live streams for measurements and tests: a circling target, and a clock drawn into each picture.

`python -m tracker.cli.synthetic --port 9000` serves any number of clients on tcp://127.0.0.1:9000 until it is stopped.
The pictures are encoded once; a client costs only muxing and sending. All clients of a port see the same clock.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from tracker.types import Frame, Image, Track

BITS, CELL = 8, 16
LOOP = 1 << BITS
"""Number of frames after which pictures and clock repeat: 10 seconds at 25 a second, much longer than any delay."""
SIDE = 48
"""Side of the target in pixels."""


def draw_clock(image: Image, number: int) -> None:
    """Draws a frame number (modulo `LOOP`) as black and white cells into the top left corner."""
    for bit in range(BITS):
        image[:CELL, bit * CELL : (bit + 1) * CELL] = 255 * (number >> bit & 1)


def read_clock(image: Image) -> int:
    """The number drawn by `draw_clock`."""
    cells = (image[4 : CELL - 4, bit * CELL + 4 : (bit + 1) * CELL - 4] for bit in range(BITS))
    return sum(1 << bit for bit, cell in enumerate(cells) if cell.mean() > 127)


def observe(stream: str, frame: Frame, tracks: list[Track]) -> dict[str, Any]:
    """For `Plan.observer`: adds the clock in the picture to a result."""
    return {"clock": read_clock(frame.image)}


def target_box(number: int, width: int, height: int) -> tuple[float, float, float, float]:
    """The box of the target in frame `number`: x, y, w, h."""
    angle = 2 * math.pi * number / LOOP
    x = width / 2 + 0.3 * width * math.cos(angle) - SIDE / 2
    y = height / 2 + 0.3 * height * math.sin(2 * angle) - SIDE / 2
    return float(round(x)), float(round(y)), float(SIDE), float(SIDE)


def picture(number: int, width: int, height: int, ground: Image, patch: Image) -> Image:
    """Frame `number`."""
    image = ground.copy()
    x, y, _, _ = (int(v) for v in target_box(number, width, height))
    image[y : y + SIDE, x : x + SIDE] = patch
    draw_clock(image, number)
    return image


def encode(width: int, height: int, rate: int) -> list[bytes]:
    """A loop of H.264 packets, a key frame each second, without B-frames (as cameras send)."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    ground = np.asarray(cv2.GaussianBlur(cv2.resize(small, (width, height)), (0, 0), 3), dtype=np.uint8)
    patch = np.kron(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), np.ones((SIDE // 6, SIDE // 6, 1), np.uint8))
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate, context.gop_size = Fraction(1, rate), Fraction(rate), rate
    context.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "26", "forced-idr": "1"}
    packets = []
    for number in range(LOOP):
        planes: Any = cv2.cvtColor(picture(number, width, height, ground, patch), cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = number
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets


class StreamServer:
    """Serves the loop to any number of clients over TCP.

    Args:
        width, height: Pixels.
        rate: Frames per second.
        port: 0: any free one.
        aligned: Whether each client starts at the first picture, so that its target's box is known; if not, at the next
            key frame.
        epoch: Time of frame 0, seconds since 1970; None: now.
        packets: The packets of `encode` for such pictures; None: encode them.
        container: nut, which marks the end of a picture, as RTP does; or mpegts, where only the start of the next
            picture marks it, so that every receiver is two frames late.
    """

    def __init__(
        self,
        width: int = 1280,
        height: int = 720,
        rate: int = 25,
        port: int = 0,
        aligned: bool = False,
        container: str = "nut",
        epoch: float | None = None,
        packets: Sequence[bytes] | None = None,
    ) -> None:
        self._aligned, self._container = aligned, container
        self._packets, self._size, self.rate = packets or encode(width, height, rate), (width, height), rate
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.epoch = time.time() if epoch is None else epoch

    def run(self) -> None:
        """Accepts clients until the process ends."""
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._send, args=(client,), daemon=True).start()

    def _send(self, client: socket.socket) -> None:
        rate = self.rate
        with client, contextlib.suppress(OSError, av.FFmpegError), client.makefile("wb", buffering=0) as out:
            with av.open(out, "w", format=self._container, options={"flush_packets": "1"}) as container:
                # Without an encoder: the packets exist already.
                stream: Any = container.add_mux_stream("h264", rate=rate, width=self._size[0], height=self._size[1])
                stream.time_base = Fraction(1, rate)
                number = int((time.time() - self.epoch) * rate) + 1
                while number % LOOP % (LOOP if self._aligned else rate):
                    number += 1
                while True:
                    time.sleep(max(0.0, self.epoch + number / rate - time.time()))
                    packet: Any = av.Packet(self._packets[number % LOOP])
                    packet.stream, packet.time_base = stream, Fraction(1, rate)
                    packet.pts = packet.dts = number
                    packet.is_keyframe = number % LOOP % rate == 0
                    packet.duration = 1
                    container.mux(packet)
                    number += 1
