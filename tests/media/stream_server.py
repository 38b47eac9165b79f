"""A live stream on loopback, as a process of its own: H.264 in MPEG-TS over TCP or HTTP, a wall clock drawn into each
frame.

python -m tests.media.stream_server tcp|http PORT
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from fractions import Fraction

import av
import cv2
import numpy as np

BITS, HEIGHT, WIDTH = 24, 192, 256


def draw_clock(milliseconds: int) -> np.ndarray:
    """A frame whose bars are the bits of the time."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(BITS):
        image[bit * 8 : bit * 8 + 8] = 255 * (milliseconds >> bit & 1)
    return image


def read_clock(image: np.ndarray) -> int:
    """The milliseconds that `draw_clock` wrote."""
    return sum(1 << bit for bit in range(BITS) if image[bit * 8 + 2 : bit * 8 + 6].mean() > 127)


def now() -> int:
    """Wall clock in milliseconds, the low 24 bits."""
    return int(time.time() * 1000) % (1 << BITS)


def serve(port: int, http: bool, rate: int = 25) -> None:
    """Serve one client after the other."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError, av.FFmpegError):
                if http:
                    client.recv(65536)
                    client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
                send(client, rate)


def send(client: socket.socket, rate: int) -> None:
    """Send frames until the client is gone."""
    with (
        client.makefile("wb", buffering=0) as out,
        av.open(out, "w", format="mpegts", options={"flush_packets": "1"}) as container,
    ):
        stream = container.add_stream(
            "libx264", rate=rate, options={"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = rate
        began = time.monotonic()
        for k in range(1_000_000):
            time.sleep(max(0.0, began + k / rate - time.monotonic()))
            frame = av.VideoFrame.from_ndarray(
                cv2.cvtColor(draw_clock(now()), cv2.COLOR_BGR2YUV_I420), format="yuv420p"
            )
            frame.pts, frame.time_base = k, Fraction(1, rate)
            container.mux(stream.encode(frame))


if __name__ == "__main__":
    serve(int(sys.argv[2]), sys.argv[1] == "http")
