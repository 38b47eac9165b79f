"""NVDEC behind the decoders' interface, by a stand-in for NVIDIA's library; what is said where it is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.cli.helpers import tiny_model
from tests.serve.test_worker import BOXES, add, pictures, results, running, until
from tracker.cli.serve import main
from tracker.errors import SiamTrackError

FRAMES = pictures(8, seed=2)


def stand_in(opened: list[str]) -> SimpleNamespace:
    """Gives RGB pictures; a picture's surface is used again for the next one, as the decoder does."""
    surface = np.zeros((240, 320, 3), np.uint8)

    class Demuxer:
        def GetNvCodecId(self) -> int:
            return 4

        def __iter__(self) -> Iterator[Any]:
            yield from (SimpleNamespace(number=k, decode_flag=0) for k in range(len(FRAMES)))

    class Decoder:
        def Decode(self, packet: Any) -> list[np.ndarray]:
            assert packet.decode_flag == "whole"
            surface[:] = FRAMES[packet.number][..., ::-1]
            return [surface]

    def open_demuxer(filename: str) -> Demuxer:
        opened.append(filename)
        if "none" in filename:
            raise RuntimeError("no such host")
        return Demuxer()

    return SimpleNamespace(
        CreateDemuxer=open_demuxer,
        CreateDecoder=lambda **options: Decoder(),
        OutputColorType=SimpleNamespace(RGB=1),
        DisplayDecodeLatencyType=SimpleNamespace(LOW=1),
        VideoPacketFlag=SimpleNamespace(ENDOFPICTURE="whole"),
    )


def test_its_pictures_are_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", stand_in(opened))
    with running(decode="nvdec") as worker:
        add(worker, "s", "rtsp://me:geheim@host/path", BOXES)
        messages = until(worker, lambda kind, values: kind == "results")
        assert results(messages, "s")[0]["targets"][0]["box"] == BOXES["one"]
        *_, (_, values, _) = until(worker, lambda kind, values: values.get("state") == "down")
        add(worker, "t", "rtsp://none/path", BOXES)
        *_, (_, lost, _) = until(worker, lambda kind, values: values.get("stream") == "t" and "down" in str(values))
    assert "geheim" not in values["text"] and opened[0] == "rtsp://me:geheim@host/path"
    assert "Can't open rtsp://none/path with NVDEC: no such host" in lost["text"]


@pytest.mark.parametrize(("broken", "part"), [(None, "pip install PyNvVideoCodec"), ("driver", "no NVIDIA driver")])
def test_what_is_missing_is_said_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None, part: str
) -> None:
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", None)
    if broken:
        monkeypatch.delitem(sys.modules, "PyNvVideoCodec")
        (tmp_path / "PyNvVideoCodec.py").write_text("raise RuntimeError('libnvcuvid.so.1 is missing')")
        monkeypatch.syspath_prepend(str(tmp_path))
    model = tiny_model(tmp_path / "tiny.safetensors")
    (tmp_path / "s.yaml").write_text(f"model: {model}\nworkers: {{decode: nvdec}}\nstreams: {{a: 'rtsp://host/x'}}\n")
    with pytest.raises(SiamTrackError, match=part):
        main([str(tmp_path / "s.yaml")])
