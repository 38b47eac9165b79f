"""Many streams at once: `siamtrack serve streams.yaml`. No other package except `cli` imports this one.

streams.yaml -> config -> Supervisor -> Worker (one for each core group or GPU) -> Supervisor -> results, metrics,
control within a worker: Reader (one thread for each stream) -> Batcher (one network call for all targets of all
streams) -> outbox
"""

from __future__ import annotations
