"""Workers on several machines: one Ray actor for each GPU or group of cores. The worker itself is the same as on one
machine.

Ray starts processes, reports their death, and carries messages: results, commands, the targets' state. Frames never
leave the worker that decoded them.
"""

from __future__ import annotations

import contextlib
import logging
import queue
from collections import deque
from typing import TYPE_CHECKING, Any

from tracker.errors import DeviceError, SiamTrackError
from tracker.serve.config import ServeConfig
from tracker.serve.messages import Plan, pack, plan_of

if TYPE_CHECKING:
    from tracker.serve.worker import StreamWorker

logger = logging.getLogger(__name__)

SILENCE = 3.0
"""Seconds without an answer after which an actor counts as dead: Ray itself takes much longer to notice a machine
without power."""
LONG_POLL, AT_ONCE = 0.5, 256
"""Seconds that an actor waits for its first message, and greatest number of messages in one answer."""
START_WAIT = 120.0


class WorkerActor:
    """A worker behind Ray's calls; `actor_class` turns it into an actor.

    Args:
        plan: `Plan.to_dict`.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        import cv2

        from tracker.serve.worker import StreamWorker

        cv2.setNumThreads(int(plan["threads"]))  # a separate process: the other cores belong to other workers
        self._worker: StreamWorker | None = None
        self._problem = ""
        try:
            self._worker = StreamWorker(Plan.from_dict(plan))
            self._worker.warm_up()
            self._worker.start()
        except SiamTrackError as error:
            self._problem = str(error)

    def handle(self, message: bytes) -> None:
        """Receives a message of the supervisor."""
        if self._worker is not None:
            self._worker.handle(message)

    def take(self) -> list[bytes]:
        """The pending messages; waits up to `LONG_POLL` seconds for one."""
        if self._worker is None:
            return [pack("unable", {"text": self._problem})]
        out: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            out.append(self._worker.outbox.get(timeout=LONG_POLL))
            while len(out) < AT_ONCE:
                out.append(self._worker.outbox.get_nowait())
        return out


class RayHandle:
    """The supervisor's end of an actor.

    Args:
        actor: The `WorkerActor`.
        place: Where it runs, in words.
        silence: Seconds without an answer after which it counts as dead.
    """

    pid: int | None = None

    def __init__(self, actor: Any, place: str, silence: float) -> None:
        self._actor, self.place, self._silence = actor, place, silence
        self._messages: deque[bytes] = deque()
        self._patience = START_WAIT

    def send(self, message: bytes) -> None:
        """As `process.Handle`."""
        self._actor.handle.remote(message)

    def receive(self) -> bytes | None:
        """As `process.Handle`."""
        import ray

        while not self._messages:
            try:
                self._messages.extend(ray.get(self._actor.take.remote(), timeout=self._patience))
            except ray.exceptions.RayError as error:  # includes the time-out
                logger.info("%s: %s", self.place, type(error).__name__)
                return None
            self._patience = self._silence
        return self._messages.popleft()

    def kill(self) -> None:
        """As `process.Handle`."""
        import ray

        with contextlib.suppress(Exception):  # the actor, or the cluster, is already gone
            ray.kill(self._actor)


class Cluster:
    """Starts actors of a Ray cluster; a context manager around the connection.

    Args:
        config: What streams.yaml says.
        address: HOST:PORT of the head node, or auto: the cluster that this machine belongs to.

    Attributes:
        count: The number of workers: one for each GPU of the cluster, or for each `workers.threads` of its cores.

    Raises:
        DeviceError: Ray is not installed, there is no such cluster, or its token is missing.
    """

    def __init__(self, config: ServeConfig, address: str) -> None:
        try:
            import ray
        except ImportError:
            raise DeviceError(
                "--ray needs the package ray, which is not installed; `pip install ray` adds it (the extra `ray` "
                "holds it)."
            ) from None
        self._config = config
        try:
            ray.init(address=address, namespace="siamtrack", log_to_driver=True, configure_logging=False)
        except Exception as error:  # Ray has a dozen exception types, beside Python's own
            raise DeviceError(
                f"Can't join the Ray cluster {address!r}: {' '.join(str(error).split())[:300]}. Is it started (`ray "
                "start --head`), and is its token in RAY_AUTH_TOKEN where it asks for one?"
            ) from None
        there = ray.cluster_resources()
        self._cards = config.device != "cpu" and there.get("GPU", 0) >= 1
        each = int(there.get("GPU", 0)) if self._cards else int(there.get("CPU", 1)) // config.workers.threads
        wanted = config.workers.count or each
        self.count = max(1, min(wanted, len(config.streams) or wanted) if not config.control.address else wanted)
        # Commands and messages have a thread each, so that both keep their order and neither waits for the other.
        self._actor = ray.remote(concurrency_groups={"orders": 1, "words": 1})(_with_groups(WorkerActor))
        self._number = 0

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exc: object) -> None:
        import ray

        ray.shutdown()

    def hire(self) -> RayHandle | None:
        """Starts an actor on the node with the lowest load; None if the cluster has no room now (a node has died)."""
        import ray

        threads = self._config.workers.threads
        free = ray.available_resources()
        if free.get("CPU", 0) < threads or (self._cards and free.get("GPU", 0) < 1):
            return None
        self._number += 1
        options = {
            "num_cpus": threads,
            "num_gpus": 1 if self._cards else 0,
            "scheduling_strategy": "SPREAD",
            "max_restarts": 0,
        }
        plan = plan_of(self._config, "cuda" if self._cards else "cpu" if self._config.device == "auto" else None)
        actor = self._actor.options(**options).remote(plan.to_dict())
        return RayHandle(actor, f"Ray actor {self._number}", self._config.workers.gone_seconds or SILENCE)


def _with_groups(cls: type[WorkerActor]) -> type[WorkerActor]:
    """A copy of the class whose methods carry the names of their concurrency groups: Ray's decorator requires ray,
    which is optional."""
    import ray

    class Actor(cls):  # type: ignore[valid-type,misc]
        """The class that Ray starts."""

        @ray.method(concurrency_group="orders")
        def handle(self, message: bytes) -> None:
            super().handle(message)

        @ray.method(concurrency_group="words")
        def take(self) -> list[bytes]:
            out: list[bytes] = super().take()
            return out

    return Actor
