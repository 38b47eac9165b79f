"""Torch, eager mode: the reference that every other engine is compared with. CPU or CUDA, float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tracker.crops import Colour, Crop
from tracker.model.siamese_network import SiameseNetwork
from tracker.runtime.base import Engine, Response
from tracker.types import Image


class TorchEngine(Engine):
    """Runs a Matcher unchanged."""

    name = "torch"
    keeps_maps = True

    def __init__(self, model: SiameseNetwork, device: str = "cpu") -> None:
        self.device = device
        self.model = model.eval().to(device)

    def _tensor(self, crops: Sequence[Image]) -> Tensor:
        batch = torch.from_numpy(np.stack(crops)) if len(crops) > 1 else torch.from_numpy(crops[0])[None]
        return batch.to(self.device).permute(0, 3, 1, 2).float()

    @torch.inference_mode()
    def embed_template(self, crops: Sequence[Image], targets: NDArray[np.float32]) -> Tensor:
        size = torch.as_tensor(np.asarray(targets, dtype=np.float32).reshape(-1, 2), device=self.device)
        return self.model.embed_template(self._tensor(crops), size)

    def match(self, templates: Tensor, crops: Sequence[Image]) -> Response:
        return on_host(self.match_on_device(templates, crops))

    @torch.inference_mode()
    def match_on_device(self, templates: Tensor, crops: Sequence[Image]) -> Response:
        x = self.model.embed(self._tensor(crops))
        if templates.shape[0] == 1 and x.shape[0] > 1:
            templates = templates.expand(x.shape[0], -1, -1, -1)
        score, boxes = self.model.match(templates, x)
        return Response(score[:, 0], boxes, None if boxes is None else self.model.unit(x))

    def stack(self, templates: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(templates))

    def to_host(self, templates: Tensor) -> NDArray[np.float32]:
        return templates.float().cpu().numpy()

    def from_host(self, embeddings: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32)).to(self.device)


def on_host(response: Response) -> Response:
    """Copies the tensors of a response to the host."""
    parts = (response.score, response.boxes, response.embedding)
    return Response(*(None if part is None else part.cpu().numpy() for part in parts))


def cut_crops(frame: Tensor, crops: Sequence[Crop], fills: Sequence[Colour]) -> Tensor:
    """Cuts windows from a frame, bilinear, with a padding colour outside the frame.

    Args:
        frame: (H, W, 3) uint8 BGR on any device.
        crops: B windows of one size n.
        fills: B colours (B, G, R).

    Returns:
        (B, n, n, 3) uint8 on the frame's device; equal to `Crop.cut` up to the rounding of its interpolation weights.
    """
    height, width = frame.shape[:2]
    size = crops[0].size
    # All numbers of the windows in one upload: copying a host array may wait for the device.
    numbers = np.array([(c.left, c.top, c.scale, *fill) for c, fill in zip(crops, fills, strict=True)])
    windows = torch.from_numpy(numbers).to(frame.device, non_blocking=True)
    steps = (torch.arange(size, dtype=torch.float64, device=frame.device) + 0.5) / windows[:, 2:3]
    # grid_sample with align_corners=False: -1 and 1 are the outer edges of the image, as in our continuous coordinates.
    x = ((windows[:, :1] + steps) * (2 / width) - 1).float()
    y = ((windows[:, 1:2] + steps) * (2 / height) - 1).float()
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
    colours = windows[:, 3:, None, None].float()
    # Outside, grid_sample mixes in zeros; the padding colour is added with their weight.
    image = frame.permute(2, 0, 1).float()[None]
    image = torch.cat([image, torch.ones_like(image[:, :1])], dim=1).expand(len(crops), -1, -1, -1)
    out = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    pixels = out[:, :3] + (1 - out[:, 3:]) * colours
    return pixels.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
