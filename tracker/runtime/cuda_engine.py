"""Torch on CUDA, optimised: half precision, channels last, CUDA graphs, one copy to the device and one read per frame.

The same code runs on a CPU (without graphs and pinned memory), which is how it is tested where there is no GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import is_

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracker.crops import Colour, Crop
from tracker.model.siamese_network import SiameseNetwork
from tracker.runtime.base import Engine, Response
from tracker.runtime.cuda_device import check_device, sentences
from tracker.runtime.fused import fused, head_type
from tracker.runtime.torch_engine import cut_crops, on_host
from tracker.types import Image

logger = logging.getLogger(__name__)

FEW, BATCH = 4, 16
"""Up to FEW templates are embedded one by one, each by a replay of one graph; more are embedded in batches of BATCH.
Only these two shapes are used, because on an H200 a frame with a new shape took 1.6 s."""
WARM_UPS = 3  # warm-up runs before a capture: cuDNN picks its kernels and allocates workspaces


@dataclass
class _Plan:
    """The work for one shape: fixed buffers, and the function that computes `result` from them.

    Attributes:
        pixels: (B, H, W, 3) uint8 on the device.
        templates: (K, C, h, w) on the device.
        run: Gives (B, 1 or 5 + C, h, w) float32 on the device: score and, with boxes, four sides and the search
            embedding. The next run may replace it.
        source: The templates that were copied last.
        host: Pinned counterpart of `pixels` for windows cut on the host; None on a CPU.
        copied: Event that marks the end of the last copy from `host`.
    """

    pixels: Tensor
    templates: Tensor
    run: Callable[[], Tensor]
    source: Tensor | None = None
    host: Tensor | None = None
    copied: torch.cuda.Event | None = None


@dataclass
class _Views:
    """The work for one template, or for `BATCH`: fixed buffers `pixels` (B, n, n, 3) uint8 and `sizes` (B, 2), and
    `run`, which returns the embedding of their content, valid until the next run."""

    pixels: Tensor
    sizes: Tensor
    run: Callable[[], Tensor]


class CudaEngine(Engine):
    """Runs a Matcher in half precision: the backbone in float16 or bfloat16; energy and head in float16 if possible
    (`tracker.runtime.fused.head_type`), otherwise in float32.

    Attributes:
        dtype, head_dtype: Types of the arithmetic of the backbone, and of energy and head.
        captured: Number of shapes prepared so far.
    """

    name = "cuda"
    cuts_windows = True
    keeps_maps = True

    def __init__(self, model: SiameseNetwork, device: str = "cuda", dtype: torch.dtype | None = None) -> None:
        self._device = check_device(device)
        self.device = str(self._device)
        self._cuda = self._device.type == "cuda"
        if dtype is None:
            dtype = torch.float16 if self._cuda else torch.bfloat16
        self.dtype = dtype
        self.head_dtype = head_type(model, dtype)
        with sentences(self.device):
            self.model = fused(model.eval(), dtype).to(self._device)
            for parameter in self.model.backbone.parameters():
                if parameter.dim() == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self._plans: dict[tuple[int, ...], _Plan] = {}
        self._views: dict[tuple[int, ...], _Views] = {}
        self._stacks: list[tuple[list[Tensor], Tensor]] = []  # the last two frames: of small windows, and of full ones
        self._frame: Tensor | None = None
        self._pinned: Tensor | None = None
        self._uploaded: torch.cuda.Event | None = None

    @property
    def captured(self) -> int:
        return len(self._plans)

    @torch.inference_mode()
    def embed_template(self, crops: Sequence[Image], targets: NDArray[np.float32]) -> Tensor:
        with sentences(self.device):
            pixels = torch.from_numpy(np.stack(crops))
            sizes = torch.from_numpy(np.ascontiguousarray(targets, dtype=np.float32).reshape(-1, 2))
            embedded, at = [], 0
            while at < len(pixels):
                room = 1 if len(pixels) - at <= FEW else BATCH
                views = self._views_of(room, pixels, sizes)
                some = slice(at, at + room)
                count = len(pixels[some])
                views.pixels[:count].copy_(pixels[some])
                views.sizes[:count].copy_(sizes[some])
                embedded.append(views.run()[:count].clone())
                at += count
            return torch.cat(embedded)

    def _views_of(self, room: int, pixels: Tensor, sizes: Tensor) -> _Views:
        key = (room, *pixels.shape[1:])
        if key not in self._views:
            fixed = (
                pixels[:1].to(self._device).repeat(room, 1, 1, 1),
                sizes[:1].to(self._device).repeat(room, 1),
            )
            self._views[key] = _Views(*fixed, self._repeated(lambda: self._embed(*fixed)))
        return self._views[key]

    def _embed(self, pixels: Tensor, sizes: Tensor) -> Tensor:
        return self.model.embed_template(self._pictures(pixels), sizes).float()

    def match(self, templates: Tensor, crops: Sequence[Image]) -> Response:
        return _hosted(self._match(templates, crops))

    def match_on_device(self, templates: Tensor, crops: Sequence[Image]) -> Response:
        return _parts(self._match(templates, crops).clone())

    def match_windows(
        self, templates: Tensor, image: Image | Tensor, crops: Sequence[Crop], fills: Sequence[Colour]
    ) -> Response:
        """As `match`, but the crops are cut on the device: one upload of the frame serves all targets in it.

        Pays from about ten targets in a frame; for one target a crop cut on the CPU is less to upload.

        Args:
            templates: The result of `embed_template`.
            image: The frame, BGR uint8 H x W x 3, or the result of `upload`.
            crops: B windows of one size.
            fills: B padding colours outside the frame.
        """
        return _hosted(self._match_windows(templates, image, crops, fills))

    def match_windows_on_device(
        self, templates: Tensor, image: Image | Tensor, crops: Sequence[Crop], fills: Sequence[Colour]
    ) -> Response:
        return _parts(self._match_windows(templates, image, crops, fills).clone())

    @torch.inference_mode()
    def _match(self, templates: Tensor, crops: Sequence[Image]) -> Tensor:
        with sentences(self.device):
            plan = self._plan(len(crops), crops[0].shape[0], crops[0].shape[1], templates)
            # Through pinned memory: only from there does the copy to the device run in parallel with the CPU.
            if self._cuda and plan.host is None:
                plan.host = torch.zeros(plan.pixels.shape, dtype=torch.uint8, pin_memory=True)
            staging = plan.pixels if plan.host is None else plan.host
            if plan.copied is not None:
                plan.copied.synchronize()  # the previous copy reads it until then
            for place, crop in zip(staging, crops, strict=False):
                place.copy_(torch.from_numpy(crop))
            if plan.host is not None:
                plan.pixels.copy_(plan.host, non_blocking=True)
                plan.copied = torch.cuda.Event()
                plan.copied.record()
            return self._finish(plan, templates, len(crops))

    @torch.inference_mode()
    def _match_windows(
        self, templates: Tensor, image: Image | Tensor, crops: Sequence[Crop], fills: Sequence[Colour]
    ) -> Tensor:
        with sentences(self.device):
            size = crops[0].size
            plan = self._plan(len(crops), size, size, templates)
            frame = image if isinstance(image, Tensor) else self.upload(image)
            plan.pixels[: len(crops)].copy_(cut_crops(frame, crops, fills))
            return self._finish(plan, templates, len(crops))

    @torch.inference_mode()
    def upload(self, image: Image) -> Tensor:
        """Uploads a frame through pinned memory: only from there does the copy run in parallel with the host."""
        with sentences(self.device):
            if self._frame is None or self._frame.shape != image.shape:
                self._frame = torch.empty(image.shape, dtype=torch.uint8, device=self._device)
                self._pinned = torch.empty(image.shape, dtype=torch.uint8, pin_memory=True) if self._cuda else None
            source = torch.from_numpy(image)
            if self._pinned is not None:
                if self._uploaded is not None:
                    self._uploaded.synchronize()  # the previous copy reads it until then
                source = self._pinned.copy_(source)
            self._frame.copy_(source, non_blocking=True)
            if self._cuda:
                self._uploaded = torch.cuda.Event()
                self._uploaded.record()
            return self._frame

    def stack(self, templates: Sequence[Tensor]) -> Tensor:
        for before, joined in self._stacks:  # usually the same from frame to frame
            if len(before) == len(templates) and all(map(is_, before, templates)):
                return joined
        joined = torch.cat(list(templates))
        self._stacks = [(list(templates), joined), *self._stacks[:1]]
        return joined

    def to_host(self, templates: Tensor) -> NDArray[np.float32]:
        return templates.cpu().numpy()

    def from_host(self, embeddings: NDArray[np.float32]) -> Tensor:
        return torch.as_tensor(np.asarray(embeddings, dtype=np.float32), device=self._device)

    def _finish(self, plan: _Plan, templates: Tensor, crops: int) -> Tensor:
        """Runs a plan whose pixels are in place and returns its result, valid until the next call of the plan."""
        if plan.source is not templates:
            plan.templates[: len(templates)].copy_(templates)
            plan.source = templates
        return plan.run()[: max(crops, len(templates))]

    def _plan(self, batch: int, height: int, width: int, templates: Tensor) -> _Plan:
        room = batch_room(batch)
        count = room if templates.shape[0] == batch else templates.shape[0]
        key = (room, height, width, count)
        if key not in self._plans:
            fixed = templates.new_zeros((count, *templates.shape[1:]), dtype=self.head_dtype)
            self._plans[key] = self._make(room, height, width, fixed)
        return self._plans[key]

    def _make(self, batch: int, height: int, width: int, templates: Tensor) -> _Plan:
        shape = (batch, height, width, 3)
        pixels = torch.zeros(shape, dtype=torch.uint8, device=self._device)
        run = self._repeated(lambda: self._network(pixels, templates))
        logger.info("made ready: %d crops of %d x %d pixels, %d templates", batch, width, height, len(templates))
        return _Plan(pixels, templates, run)

    def _repeated(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """A function that repeats work on fixed buffers: a replay of its CUDA graph, or on a CPU the work itself."""
        if not self._cuda:
            return work
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = work()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay

    def _pictures(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) in the type of the backbone, which represents 0..255 exactly, without
        copying: NHWC memory is channels-last."""
        return pixels.permute(0, 3, 1, 2).to(self.dtype)

    def _network(self, pixels: Tensor, templates: Tensor) -> Tensor:
        search = self.model.embed(self._pictures(pixels)).to(self.head_dtype)
        if templates.shape[0] == 1 and search.shape[0] > 1:
            templates = templates.expand(search.shape[0], -1, -1, -1)
        score, boxes = self.model.match(templates, search)
        if boxes is None:
            return score
        unit = self.model.unit(search.float()).expand(score.shape[0], -1, -1, -1)
        return torch.cat([score.float(), boxes, unit], dim=1)


def batch_room(count: int) -> int:
    """Batch size used for a number of windows: 1, 2, 3, 4, 6, 8, 12, 16, ... and from 64 on four sizes per octave.

    A graph is captured for each size, which takes as long as hundreds of frames, and the number of targets varies; the
    unused part of a batch, a quarter at most, is computed for nothing.
    """
    if count <= 4:
        return count
    step = 1 << max((count - 1).bit_length() - (2 if count <= 64 else 3), 0)
    return -(-count // step) * step


def _parts(out: Tensor) -> Response:
    """Score, boxes and embedding of a result."""
    return Response(out[:, 0], out[:, 1:5], out[:, 5:]) if out.shape[1] > 1 else Response(out[:, 0], None)


def _hosted(out: Tensor) -> Response:
    """The same on the host, in one transfer."""
    return on_host(_parts(out.cpu()))
