"""`siamtrack doctor` (also `tools/track.py --doctor`): what works on this machine, what does not, and why.

Works with any package missing or broken: the checks are independent, and the failure of one is a line of the report.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from tracker.cli import health
from tracker.cli.common import DONE, FAILED_MIDWAY, Parser, add_version
from tracker.cli.health import ReportLine, first_line

FRAMES, SIZE, SIDE = 8, (192, 144), 32
"""Number of frames of the test clip; width and height; side of the moving square, in pixels."""


def build_parser() -> Parser:
    """The options of `siamtrack doctor`."""
    parser = Parser(
        description="Print versions, codecs, display, cameras, devices and models; say what is off and why."
    )
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the report; 0 if tracking a file can work, 1 if not."""
    build_parser().parse_args(argv)
    return report()


def report() -> int:
    """Prints all sections, then the problems; returns the exit code."""
    sections: dict[str, Callable[[], list[ReportLine]]] = {
        "System": health.system,
        "Packages": health.packages,
        "Video": health.video,
        "Display": health.display,
        "Cameras": health.cameras,
        "Devices": health.devices,
        "Engines": health.engines,
        "Models": health.models,
        "Trial": lambda: health.trial(track_a_clip),
    }
    off: list[ReportLine] = []
    for title, check in sections.items():
        lines = guarded(check, title)
        print(title)
        for line in lines:
            print(f"  {'ok ' if line.ok else 'off'}  {line.name:<22} {line.text}")
        off += [line for line in lines if not line.ok]
    fatal = [line.name for line in off if line.fatal]
    if fatal:
        print(f"\nTracking can't run: {', '.join(fatal)}. `pip install .` in the clone adds what is missing.")
        return FAILED_MIDWAY
    print(
        "\nTracking works here: a clip was encoded, decoded and tracked. Cameras and streams were not tried."
        + (f" Off: {', '.join(dict.fromkeys(line.name for line in off))}." if off else " Nothing is off.")
    )
    return DONE


def guarded(check: Callable[[], list[ReportLine]], title: str) -> list[ReportLine]:
    """The lines of a check, or one line that says why the check itself failed."""
    try:
        return check()
    except Exception as error:  # the report must survive any exception of a broken installation
        return [
            ReportLine(title.lower(), f"could not be looked at: {type(error).__name__}: {first_line(error)}", ok=False)
        ]


def track_a_clip(encoder: str) -> str:
    """Encodes a moving square, decodes the file and tracks the square; raises whatever goes wrong.

    Args:
        encoder: FFmpeg's name of a video encoder.

    Returns:
        A phrase that describes the result.
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


if __name__ == "__main__":
    raise SystemExit(main())
