"""A toy for the training tests: textured squares on noise, a matcher of two layers, and a run of it as a command."""

from __future__ import annotations

import argparse
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tracker.training import distributed
from tracker.training.config import train_config
from tracker.training.data.batch import Match, PairBatch
from tracker.training.run_state import RunResult
from tracker.training.trainer import Trainer

TEMPLATE, SEARCH, TARGET = 33, 65, 14


@dataclass(frozen=True)
class ToyConfig:
    search_size: int = SEARCH


@dataclass
class ToyOutput:
    score: Tensor
    boxes: Tensor | None
    template: Tensor
    search: Tensor


class ToyMatcher(nn.Module):
    stride = 4

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = ToyConfig()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, 12, 3, 2, 1),
        )
        self.scale = nn.Parameter(torch.tensor(4.0))
        self.bias = nn.Parameter(torch.tensor(0.0))
        self.sides = nn.Conv2d(12, 4, 1)

    def forward(self, template: Tensor, search: Tensor, target: Tensor, start: int = 0) -> ToyOutput:
        z, x = self.backbone((template - 128) / 64), self.backbone((search - 128) / 64)
        core = F.normalize(z[:, :, 2:-2, 2:-2].flatten(1), dim=1).view(len(z), -1, 5, 5)
        dots = F.conv2d(x.reshape(1, -1, *x.shape[-2:]), core, groups=len(z)).transpose(0, 1)
        size = F.avg_pool2d(x.square(), 5, 1).sum(1, keepdim=True).mul(25).clamp(min=1e-6).sqrt()
        score = self.scale * dots / size + self.bias
        cut = self.sides(x)[:, :, 2:-2, 2:-2]
        sides = F.softplus(cut) * 8
        cells = torch.arange(score.shape[-1], dtype=score.dtype, device=score.device)
        c = cells * 4 + SEARCH / 2 - 4 * (score.shape[-1] - 1) / 2
        left, top, right, bottom = sides.unbind(1)
        boxes = torch.stack([c - left, c[:, None] - top, c + right, c[:, None] + bottom], dim=1)
        return ToyOutput(score, boxes, z, x)


class ToySource:
    """Squares with one of 32 textures; every third pair of a batch is a negative pair.

    A pure function of (step, row).
    """

    def __init__(self, batch_size: int = 8, seed: int = 0, break_at: int = -1, delay: float = 0.0) -> None:
        self.batch_size, self.seed, self.break_at, self.delay = batch_size, seed, break_at, delay
        self.signal_at: tuple[int, int] | None = None
        self.textures = torch.rand(32, 3, 7, 7, generator=torch.Generator().manual_seed(99)) * 255

    def batch(self, step: int, rank: int, world: int) -> PairBatch:
        if self.signal_at is not None and step == self.signal_at[0]:
            signal.raise_signal(self.signal_at[1])
        if self.delay:
            time.sleep(self.delay)
        share = self.batch_size // world
        rows = [self.pair(step, row) for row in range(rank * share, (rank + 1) * share)]
        parts = [torch.stack(values) for values in zip(*rows, strict=True)]
        if step == self.break_at:
            parts[1] = parts[1] * float("nan")
        template, search, size, box, positive, track = parts
        return PairBatch(template, search, size, box, positive, track)

    def pair(self, step: int, row: int) -> tuple[Tensor, ...]:
        g = torch.Generator().manual_seed((self.seed * 7919 + step) * 1000 + row)
        track = int(torch.randint(0, 32, (), generator=g))
        positive = row % 3 != 2
        shown = track if positive else (track + 1 + int(torch.randint(0, 31, (), generator=g))) % 32
        x, y = (int(v) for v in torch.randint(14, SEARCH - 14 - TARGET, (2,), generator=g))
        template, search = self.noise(TEMPLATE, g), self.noise(SEARCH, g)
        edge = (TEMPLATE - TARGET) // 2
        template[:, edge : edge + TARGET, edge : edge + TARGET] = self.patch(track)
        search[:, y : y + TARGET, x : x + TARGET] = self.patch(shown)
        size = torch.tensor([TARGET, TARGET], dtype=torch.float32)
        box = torch.tensor([x, y, x + TARGET, y + TARGET], dtype=torch.float32)
        return template, search, size, box, torch.tensor(positive), torch.tensor(track)

    def noise(self, side: int, g: torch.Generator) -> Tensor:
        return torch.rand(3, side, side, generator=g) * 255

    def patch(self, track: int) -> Tensor:
        return F.interpolate(self.textures[track][None], scale_factor=2, mode="nearest")[0]


def toy_match(batch: int = 3, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Match, PairBatch]:
    """A random answer on a 9 x 9 grid with stride 4 in a 65 px search, and its batch: two genuine pairs and a negative
    pair."""
    g = torch.Generator().manual_seed(seed)
    corner = 18 + torch.randint(0, 12, (batch, 2), generator=g).to(dtype)
    boxes = torch.rand(batch, 4, 9, 9, generator=g, dtype=dtype) * 6
    boxes[:, 2:] += 30
    boxes[:, :2] += 16
    match = Match(
        score=torch.randn(batch, 1, 9, 9, generator=g, dtype=dtype),
        boxes=boxes,
        template=torch.randn(batch, 4, 9, 9, generator=g, dtype=dtype),
        search=torch.randn(batch, 4, 17, 17, generator=g, dtype=dtype),
        stride=4,
        search_size=65,
    )
    positive = torch.arange(batch) % 3 != 2
    size = torch.full((batch, 2), 14.0, dtype=dtype)
    empty = torch.zeros(batch, 1)
    return match, PairBatch(empty, empty, size, torch.cat([corner, corner + 14], dim=1), positive, torch.arange(batch))


SETTINGS: dict[str, object] = {
    "steps": 60,
    "batch_size": 8,
    "precision": "fp32",
    "workers": 0,
    "log_every": 3,
    "checkpoint_every": 7,
    "tensorboard": False,
    "losses": [{"name": "logistic", "options": {"radius": 4.0}}, {"name": "giou", "weight": 0.2}],
    "optim": {"name": "adamw", "learning_rate": 0.01},
    "schedule": {"warmup_steps": 5},
    "ema_decay": 0.9,
    "threads": 1,
}


METRIC: dict[str, object] = {
    "losses": [
        {"name": "focal", "options": {"radius": 4.0}},
        {"name": "triplet", "options": {"compare": "embedding", "radius": 4.0}},
        {"name": "contrastive", "options": {"compare": "embedding", "radius": 4.0, "hard_share": 0.5}},
        {"name": "giou", "weight": 0.2},
    ],
    "mining": {"negative_pair_temperature": 0.5, "hard_share": 0.75},
}
"""Losses that compare pairs, and mining that ranks them, across processes."""


def toy_run(
    folder: Path, resume: bool = False, max_steps: int = 0, dropout: float = 0.0, delay: float = 0.0, **changes: object
) -> RunResult:
    """One run (or the rest of it) on this process or as one of torchrun's."""
    config = train_config({**SETTINGS, **changes})
    torch.manual_seed(config.seed)
    source = ToySource(config.batch_size, delay=delay)
    trainer = Trainer(ToyMatcher(dropout), source, config, folder, device=distributed.start("cpu"), own_process=True)
    if resume:
        trainer.resume()
    return trainer.run(max_steps)


def main() -> None:
    """python -m tests.training.standin FOLDER [--resume] [--steps N] [--max-steps N] [--slow]."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--max-steps", type=int, default=0)
    parser.add_argument("--slow", action="store_true", help="leave time to be interrupted")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--worker-kind", default="thread")
    parser.add_argument("--metric", action="store_true", help="losses that compare pairs across processes")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    changes: dict[str, object] = {"steps": args.steps, "workers": args.workers, "worker_kind": args.worker_kind}
    if args.metric:
        changes.update(METRIC)
    dropout, delay = 0.0 if args.metric else 0.2, 0.1 if args.slow else 0.0
    result = toy_run(args.folder, args.resume, args.max_steps, dropout, delay, **changes)
    distributed.stop()
    if result.signal:
        raise SystemExit(128 + result.signal)


if __name__ == "__main__":
    main()
