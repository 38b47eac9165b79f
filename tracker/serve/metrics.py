"""Counters of a stream: frames received, dropped and tracked, and the latency from arrival to result; and their export
to Prometheus through prometheus-client (the project's own library)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracker.errors import SiamTrackError

COUNTS = {
    "frames": "Frames that came.",
    "dropped": "Frames that a newer one replaced before they were looked at.",
    "tracked": "Frames that were looked at.",
    "missed_recording": "Frames that the recording left out.",
    "reconnects": "How often the source was opened again.",
}


def exposition(state: Callable[[], dict[str, Any]]) -> Callable[[], tuple[bytes, str]]:
    """The function that renders the answer to /metrics, and its content type.

    Args:
        state: `Supervisor.state`.

    Raises:
        SiamTrackError: prometheus-client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
        from prometheus_client.exposition import CONTENT_TYPE_LATEST
    except ImportError:
        raise SiamTrackError(
            "/metrics needs the package prometheus-client; `pip install prometheus-client` adds it (the extra "
            "`serve` holds it)."
        ) from None

    class Collector:
        """Reads the current state at each scrape: nothing is counted twice."""

        def collect(self) -> Iterator[Metric]:
            now = state()
            streams = now["streams"]
            for key, text in COUNTS.items():
                counter = CounterMetricFamily(f"siamtrack_stream_{key}", text, labels=["stream"])
                for one in streams:
                    counter.add_metric([one["name"]], one[key])
                yield counter
            up = GaugeMetricFamily("siamtrack_stream_up", "1 while frames come.", labels=["stream", "state"])
            latency = GaugeMetricFamily(
                "siamtrack_stream_latency_seconds", "Arrival to result, late frames.", labels=["stream", "quantile"]
            )
            targets = GaugeMetricFamily("siamtrack_stream_targets", "Targets by state.", labels=["stream", "state"])
            for one in streams:
                up.add_metric([one["name"], one["state"]], float(one["state"] == "live"))
                for key, quantile in (("p50", "0.5"), ("p95", "0.95")):
                    if one["latency_ms"][key] is not None:
                        latency.add_metric([one["name"], quantile], one["latency_ms"][key] / 1000)
                for kind in ("tracking", "uncertain", "lost"):
                    targets.add_metric([one["name"], kind], float(sum(t["state"] == kind for t in one["targets"])))
            yield from (up, latency, targets)
            written = CounterMetricFamily(
                "siamtrack_results_written", "Lines that a listener took.", labels=["listener"]
            )
            missed = CounterMetricFamily(
                "siamtrack_results_missed", "Lines that a slow or absent listener missed.", labels=["listener"]
            )
            for name, counts in now["results"].items():
                written.add_metric([name], counts["written"])
                missed.add_metric([name], counts["missed"])
            yield from (written, missed)
            yield CounterMetricFamily("siamtrack_worker_deaths", "Workers that died.", value=now["worker_deaths"])
            yield GaugeMetricFamily(
                "siamtrack_workers_ready", "Workers that are ready.", value=sum(w["ready"] for w in now["workers"])
            )

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return lambda: (generate_latest(registry), CONTENT_TYPE_LATEST)


KEPT = 500
"""Number of latencies for the quantiles: 20 seconds at 25 frames a second."""


@dataclass
class Counters:
    """Counters of one stream in one worker; each number is changed by one thread, or under the reader's lock.

    Attributes:
        frames: Frames received.
        dropped: Frames replaced by a newer one before they were processed.
        tracked: Frames with a result.
        missed_recording: Frames missing in the recording because the encoder was too slow.
        reconnects: Number of reconnections.
        latencies: Seconds from arrival to result, the newest ones.
    """

    frames: int = 0
    dropped: int = 0
    tracked: int = 0
    missed_recording: int = 0
    reconnects: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers; the 50 and 95 per cent quantiles of latency in milliseconds, or None before the first."""
        kept = list(self.latencies)
        p50, p95 = (round(1000 * float(q), 2) for q in np.quantile(kept, (0.5, 0.95))) if kept else (None, None)
        return {
            "frames": self.frames,
            "dropped": self.dropped,
            "tracked": self.tracked,
            "missed_recording": self.missed_recording,
            "reconnects": self.reconnects,
            "latency_ms": {"p50": p50, "p95": p95},
        }
