"""What the tests of the command lines share: a tiny untrained model, clips on disk, and the tools as a user runs
them."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).parents[2]
BOX = "20,30,28,28"
"""Where the square of `conftest.moving_square` is in the first frame."""


def tiny_model(path: Path) -> Path:
    """An untrained network with small crops: what it says means nothing, but it says it fast."""
    path.write_bytes(_tiny_model())
    return path


@functools.cache
def _tiny_model() -> bytes:
    import torch

    from tracker.config import Config
    from tracker.model.checkpoint import save_model
    from tracker.model.siamese_network import SiameseNetwork
    from tracker.model_config import ModelConfig

    torch.manual_seed(0)
    config = Config(name="tiny", model=ModelConfig(neck_channels=8, template_size=65, search_size=129, head_channels=8))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        save_model(path, SiameseNetwork(config.model).eval(), config)
        return path.read_bytes()


def write_video(path: Path, images: list[np.ndarray], rate: Fraction = Fraction(25)) -> Path:
    """Images as H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "12"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        for image in images:
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def environment(**more: str) -> dict[str, str]:
    """No display, one thread."""
    env = {
        key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY", "SIAMTRACK_DEBUG")
    }
    return env | {"OMP_NUM_THREADS": "1"} | more


def tool(name: str, *args: object, cwd: Path, timeout: float = 240, **env: str) -> subprocess.CompletedProcess[str]:
    """`python tools/NAME.py ARGS` from another folder, without a display."""
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, args)]
    return subprocess.run(
        command, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=timeout, check=False
    )


def frames_in(path: Path) -> int:
    """Frames that can really be decoded."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))
