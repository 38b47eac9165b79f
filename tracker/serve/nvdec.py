"""Network streams decoded by NVIDIA's NVDEC through PyNvVideoCodec (NVIDIA's own library, MIT), instead of
`tracker.serve.live`: frames stay on the card until the tracker needs one.

Written from the library's documentation and samples (2.2.4), and tested with a stand-in for it: it has not run on a GPU
yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tracker.errors import DeviceError, SourceError
from tracker.media.sources.stream import hide_password
from tracker.types import Frame, VideoInfo


class OnCard:
    """A decoded frame.

    Attributes:
        pixels: (H, W, 3) uint8 RGB tensor on the card.
        width, height: Pixels.
    """

    def __init__(self, pixels: Any) -> None:
        self.pixels = pixels
        self.height, self.width = (int(n) for n in pixels.shape[:2])


class NvdecReader:
    """An address as decoded frames on the card; every address counts as live.

    Args:
        url: The address. The library opens it itself and has no time-out.
        card: Number of the GPU.

    Attributes:
        info: Properties of the first frame.

    Raises:
        DeviceError: The library, its driver or NVDEC is missing.
        SourceError: The address can't be opened, or ended before its first picture.
    """

    def __init__(self, url: str, card: int = 0) -> None:
        self._name, self._opened = hide_password(url), time.monotonic()
        nvc = load_library()
        try:
            self._demuxer = nvc.CreateDemuxer(filename=url)
            self._decoder = nvc.CreateDecoder(
                gpuid=card, codec=self._demuxer.GetNvCodecId(), usedevicememory=True,
                outputColorType=nvc.OutputColorType.RGB, latency=nvc.DisplayDecodeLatencyType.LOW,
            )  # fmt: skip
            self._pictures = self._decode(nvc.VideoPacketFlag.ENDOFPICTURE)
            self._held: OnCard | None = next(self._pictures)
        except StopIteration:
            raise SourceError(f"Can't open {self._name}: it ended before its first frame.") from None
        except Exception as error:  # the library has exception types of its own, and RuntimeError
            raise SourceError(f"Can't open {self._name} with NVDEC: {' '.join(str(error).split())[:200]}.") from None
        self.info = VideoInfo(self._name, self._held.width, self._held.height, None, None, True)

    def _decode(self, whole: Any) -> Iterator[OnCard]:
        import torch

        for packet in self._demuxer:
            packet.decode_flag = whole  # a packet is a frame: it is delivered at once
            for frame in self._decoder.Decode(packet):
                yield OnCard(torch.from_dlpack(frame).clone())  # the decoder reuses its surface

    def __iter__(self) -> Iterator[OnCard]:
        """Frames until the stream ends.

        Raises:
            SourceError: It broke.
        """
        try:
            held, self._held = self._held, None
            if held is not None:
                yield held
            del held
            yield from self._pictures
        except Exception as error:
            raise SourceError(f"{self._name} broke off: {' '.join(str(error).split())[:200]}.") from None

    def converted(self, raw: OnCard, index: int, came: float) -> Callable[[], Frame]:
        """A function that converts a frame to a Frame: only then it leaves the card. Its time stamp is that of its
        arrival."""
        stamp = came - self._opened
        return lambda: Frame(np.ascontiguousarray(raw.pixels.cpu().numpy()[..., ::-1]), index, stamp)

    def close(self) -> None:
        """Closes connection and decoder."""
        self._pictures, self._held = iter(()), None
        self._demuxer = self._decoder = None


def load_library() -> Any:
    """The module PyNvVideoCodec.

    Raises:
        DeviceError: It is not installed, or finds no driver.
    """
    try:
        import PyNvVideoCodec
    except ImportError:
        raise DeviceError(
            "workers.decode: nvdec needs the package PyNvVideoCodec, which is not installed; "
            "`pip install PyNvVideoCodec` adds it (the extra `nvdec` holds it), or leave `decode` at cpu."
        ) from None
    except RuntimeError:
        raise DeviceError(
            "workers.decode: nvdec finds no NVIDIA driver with video decoding on this machine (in a container, "
            "NVIDIA_DRIVER_CAPABILITIES must hold `video`); leave `decode` at cpu."
        ) from None
    return PyNvVideoCodec
