"""Messages between supervisor and workers: a JSON header and binary parts, which can't carry code; and the plan, the
configuration of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tracker.config_merge import merge
from tracker.serve.config import BatchConfig, LimitsConfig, ServeConfig
from tracker.web.framing import join_parts, split_parts


def pack(kind: str, values: Mapping[str, Any] | None = None, parts: Mapping[str, bytes] | None = None) -> bytes:
    """Serialises a message (`tracker.web.framing`).

    Args:
        kind: Type of the message.
        values: Values that JSON can represent.
        parts: name -> bytes.
    """
    return join_parts({"kind": kind, "values": values or {}}, (parts or {}).items())


def unpack(message: bytes) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    """The inverse of `pack`: kind, values, parts."""
    header, parts = split_parts(message)
    return header["kind"], header["values"], parts


def is_kind(message: bytes, kind: str) -> bool:
    """Whether a message has this type, without parsing the rest."""
    start = f'{{"kind":"{kind}",'.encode()
    return message[4 : 4 + len(start)] == start


@dataclass(frozen=True)
class Plan:
    """The configuration of a worker.

    Attributes:
        model, device, engine: As in `ServeConfig`.
        overrides: Settings of the tracker, as `key=value`.
        threads: CPU threads of the network.
        decode: cpu, or an FFmpeg device.
        batch, limits: As in `ServeConfig`.
        save_every: Seconds between two messages with the targets' state.
        wait: Whether a full outbox blocks the worker; if not, lost messages are counted.
        observer: `module:function` that adds entries to results, for measurements; "" for none.
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
        """Plain values for `from_dict`."""
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
