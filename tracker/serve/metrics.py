"""Numbers for Prometheus, through prometheus-client (the project's own library): read from the state when they are
asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tracker.errors import SiamTrackError

COUNTS = {
    "frames": "Frames that came.",
    "dropped": "Frames that a newer one replaced before they were looked at.",
    "tracked": "Frames that were looked at.",
    "missed_recording": "Frames that the recording left out.",
    "reconnects": "How often the source was opened again.",
}


def exposition(state: Callable[[], dict[str, Any]]) -> Callable[[], tuple[bytes, str]]:
    """What makes the answer to /metrics, and its content type.

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
        """Reads the state anew at each scrape: nothing is counted twice."""

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
