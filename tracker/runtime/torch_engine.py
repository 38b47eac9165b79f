"""Torch, eager: the reference that every other engine is compared with. CPU or CUDA, float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracker.model.matcher import Matcher
from tracker.runtime.base import Engine, Response
from tracker.types import Image


class TorchEngine(Engine):
    """Runs a Matcher as it is."""

    name = "torch"

    def __init__(self, model: Matcher, device: str = "cpu") -> None:
        self.device = device
        self.model = model.eval().to(device)

    def _tensor(self, crops: Sequence[Image]) -> Tensor:
        batch = torch.from_numpy(np.stack(crops)) if len(crops) > 1 else torch.from_numpy(crops[0])[None]
        return batch.to(self.device).permute(0, 3, 1, 2).float()

    @torch.inference_mode()
    def embed_template(self, crops: Sequence[Image], targets: NDArray[np.float32]) -> Tensor:
        size = torch.as_tensor(np.asarray(targets, dtype=np.float32).reshape(-1, 2), device=self.device)
        return self.model.embed_template(self._tensor(crops), size)

    @torch.inference_mode()
    def match(self, templates: Tensor, crops: Sequence[Image]) -> Response:
        x = self.model.embed(self._tensor(crops))
        if templates.shape[0] == 1 and x.shape[0] > 1:
            templates = templates.expand(x.shape[0], -1, -1, -1)
        score, boxes = self.model.match(templates, x)
        if boxes is None:
            return Response(score[:, 0].cpu().numpy(), None)
        return Response(score[:, 0].cpu().numpy(), boxes.cpu().numpy(), self.model.unit(x).cpu().numpy())

    def stack(self, templates: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(templates))

    def to_host(self, templates: Tensor) -> NDArray[np.float32]:
        return templates.float().cpu().numpy()

    def from_host(self, embeddings: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32)).to(self.device)
