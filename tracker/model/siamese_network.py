"""The fully convolutional Siamese matcher: one backbone for both images, an energy, a head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.errors import ConfigError
from tracker.model.attention import AttentionHead
from tracker.model.backbone_specs import FINE_SHARE
from tracker.model.backbones import build_backbone
from tracker.model.energies import build_energy
from tracker.model.heads import BoxHead, ClassicHead, OnePassHead, coverage
from tracker.model_config import ModelConfig

HEADS = ("classic", "boxes", "attention")


@dataclass
class MatchOutput:
    """The result of one match.

    Attributes:
        score: (B, 1, H, W) logits. The middle cell is at the centre of the search crop; neighbouring cells are one
            stride apart.
        boxes: (B, 4, H, W) left, top, right, bottom corners in search-crop pixels, or None for the classic head.
        template: (B, C, h, w) embedding of the template.
        search: (B, C, H', W') embedding of the search.
    """

    score: Tensor
    boxes: Tensor | None
    template: Tensor
    search: Tensor


class SiameseNetwork(nn.Module):
    """f(template) and f(search) with the same f, compared by an energy (Bertinetto et al. 2016).

    Attributes:
        config: The configuration that it was built from.
        stride: Search-crop pixels for one step of the response.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.head not in HEADS:
            raise ConfigError(f"The head {config.head!r} is unknown; there are {', '.join(HEADS)}.")
        self.config = config
        self.backbone = build_backbone(config.backbone)
        self.stride = self.backbone.stride
        channels = self.backbone.out_channels
        self.neck: nn.Module = nn.Identity()
        if config.neck_channels:
            neck = nn.Conv2d(channels, config.neck_channels, 1, bias=False)
            # Initialised as the identity (or an orthogonal projection), so that the correlation of the pretrained
            # features is preserved.
            nn.init.orthogonal_(neck.weight) if config.neck_channels != channels else nn.init.dirac_(neck.weight)
            self.neck, channels = neck, config.neck_channels
        self.energy = build_energy(config.energy)
        self.channels, self.fine = channels, self.backbone.fine_channels
        self.head: ClassicHead | OnePassHead
        if config.head == "classic":
            if self.fine:
                raise ConfigError(
                    f"The head 'classic' doesn't read fine channels; take {config.backbone.removesuffix('-fine')!r} "
                    "for it."
                )
            self.head = ClassicHead(config.response_scale)
        else:
            if not self.backbone.padded:
                raise ConfigError(
                    f"The head {config.head!r} needs a padded backbone; {config.backbone!r} is not. Use head: classic."
                )
            make: Callable[..., OnePassHead] = BoxHead
            if config.head == "attention":
                make = partial(
                    AttentionHead,
                    attention_layers=config.attention_layers,
                    attention_heads=config.attention_heads,
                )
            self.head = make(
                channels,
                self.template_cells,
                config.head_channels,
                config.head_layers,
                config.response_scale,
                self.stride,
                self.fine,
                config.relative_boxes,
            )

    @property
    def template_cells(self) -> int:
        """Cells along one side of the template's embedding (padded backbones: cell i at pixel stride * i)."""
        return (self.config.template_size - 1) // self.stride + 1

    @property
    def has_boxes(self) -> bool:
        """Whether the head predicts boxes (then no scale pyramid is needed)."""
        return isinstance(self.head, OnePassHead)

    def embed(self, x: Tensor, start: int = 0) -> Tensor:
        """The shared branch f: (B, 3, H, W) BGR 0..255 (or the output of backbone stage start - 1) -> (B, C + F, h, w),
        with F fine channels if the backbone has them."""
        y = self.backbone(x, start=start)
        if not self.fine:
            return self.neck(y)
        coarse = self.backbone.out_channels
        return torch.cat([self.neck(y[:, :coarse]), y[:, coarse:]], dim=1)

    def embed_template(self, template: Tensor, target: Tensor, start: int = 0) -> Tensor:
        """The template embedding that is kept for a whole video.

        Args:
            template: (B, 3, n, n) BGR 0..255, or features when start > 0.
            target: (B, 2) width and height of the target in template-crop pixels.

        Returns:
            (B, C, h, w); with a padded backbone (B, C + F + 1, h, w), where the last channel is the fraction of each
            cell that the target covers, so that what padding adds to the outer cells is ignored.
        """
        z = self.embed(template, start)
        if not self.backbone.padded:
            return z
        return torch.cat([z, coverage(target.to(z), z.shape[-1], self.stride, self.config.template_size)], dim=1)

    def match(self, template: Tensor, search: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score logits (B, 1, H, W) and boxes (B, 4, H, W; xyxy, search-crop pixels) of embedded pictures.

        One search embedding may serve K templates: (K, ...) against (1, ...).
        """
        if not self.backbone.padded:
            assert isinstance(self.head, ClassicHead)
            return self.head(self.energy(template, search)), None
        z, weight = template[:, :-1], template[:, -1:]
        if isinstance(self.head, ClassicHead):
            margin = z.shape[-1] // 2
            return self.head(self.energy(z, F.pad(search, (margin,) * 4), weight)), None
        if search.shape[0] != z.shape[0]:
            search = search.expand(z.shape[0], -1, -1, -1)
        score, sides = self.head(z, weight, search, self.energy)
        height, width = score.shape[-2:]
        # Cell i of a padded backbone is at pixel index stride * i, which is stride * i + 0.5 in continuous coordinates.
        # At least float32, whatever the type of the sides: half precision has steps of a quarter of a pixel at 257.
        kind = torch.promote_types(sides.dtype, torch.float32)
        xs = torch.arange(width, device=score.device, dtype=kind) * self.stride + 0.5
        ys = torch.arange(height, device=score.device, dtype=kind) * self.stride + 0.5
        left, top, right, bottom = sides.unbind(1)
        boxes = torch.stack([xs - left, ys[:, None] - top, xs + right, ys[:, None] + bottom], dim=1)
        return score, boxes

    def unit(self, search: Tensor) -> Tensor:
        """(B, C + F, H, W) search embedding -> the same with cells of unit length, the fine channels at `FINE_SHARE`.

        Input of the online filter (`tracker.tracking.online_filter`).
        """
        coarse = F.normalize(search[:, : self.channels], dim=1)
        return torch.cat([coarse, FINE_SHARE * search[:, self.channels :]], dim=1) if self.fine else coarse

    def forward(self, template: Tensor, search: Tensor, target: Tensor, start: int = 0) -> MatchOutput:
        """Both branches and the match; see `embed_template` and `match`.

        Used in training; tracking embeds the template only once.
        """
        z = self.embed_template(template, target, start)
        x = self.embed(search, start)
        score, boxes = self.match(z, x)
        return MatchOutput(score, boxes, z[:, : self.channels], x[:, : self.channels])
