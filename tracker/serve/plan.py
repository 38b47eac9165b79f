"""What a worker has to know before its first stream, as plain values that travel to a process or an actor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tracker.config_merge import merge
from tracker.serve.config import BatchConfig, LimitsConfig, ServeConfig


@dataclass(frozen=True)
class Plan:
    """How a worker tracks.

    Attributes:
        model, device, engine: As in `ServeConfig`.
        overrides: Settings of the tracker, as `key=value`.
        threads: CPU threads of the network.
        decode: cpu, or an FFmpeg device.
        batch, limits: As in `ServeConfig`.
        save_every: Seconds between two messages with the targets' own state.
        wait: Whether a full outbox stops the worker rather than being counted.
        observer: `module:function` that adds to results, for measurements; "" for none.
    """

    model: str = "siamtrack-s"
    device: str = "auto"
    engine: str = "auto"
    overrides: list[str] = field(default_factory=list)
    threads: int = 1
    decode: str = "cpu"
    batch: BatchConfig = field(default_factory=BatchConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    save_every: float = 2.0
    wait: bool = False
    observer: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `from_dict` takes."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The inverse of `to_dict`."""
        return merge(cls(), values, where="the plan")


def plan_of(config: ServeConfig, device: str | None = None) -> Plan:
    """The plan of a configuration, for a worker on this device."""
    return Plan(
        model=config.model,
        device=device or config.device,
        engine=config.engine,
        overrides=config.overrides,
        threads=config.workers.threads,
        decode=config.workers.decode,
        batch=config.batch,
        limits=config.limits,
        save_every=config.state.every,
        wait=config.results.when_full == "wait",
    )
