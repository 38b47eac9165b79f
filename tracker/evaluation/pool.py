"""Execution of tasks: processes of this machine, or a Ray cluster. Both call only `runner.evaluate_sequence`."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

from tracker.errors import DeviceError, SiamTrackError
from tracker.evaluation.process import enter
from tracker.evaluation.runner import EvaluationTask, crashed
from tracker.evaluation.specs import PACKAGE
from tracker.evaluation.workers import ONE_THREAD, work
from tracker.metrics.results import SequenceResult

logger = logging.getLogger(__name__)

ENVIRONMENT = ONE_THREAD | {
    "OPENCV_LOG_LEVEL": "ERROR"
}  # its network code prints an irrelevant warning for each tracker


def run_tasks(
    tasks: list[EvaluationTask], workers: int = 1, ray_address: str | None = None
) -> Iterator[SequenceResult]:
    """Runs tasks, longest first, and yields each result as soon as it is complete.

    Args:
        tasks: What to run.
        workers: Number of processes (local), or of concurrent tasks ("local" Ray).
        ray_address: None for processes of this machine; "local" for a Ray instance on this machine; else a cluster's
            address.

    Raises:
        SiamTrackError: A tracker can't be built, or the cluster can't be reached.
    """
    ordered = sorted(tasks, key=lambda t: -len(t.sequence))
    return _ray(ordered, ray_address, workers) if ray_address else _processes(ordered, workers)


@dataclass
class _WorkerProcess:
    process: Any
    pipe: connection.Connection
    task: EvaluationTask | None = None


def _start() -> _WorkerProcess:
    context = multiprocessing.get_context(
        "spawn"
    )  # fork would copy the locks of threads that torch and OpenCV have started
    ours, theirs = context.Pipe()
    process = context.Process(target=enter, args=(ENVIRONMENT, theirs), daemon=True)
    process.start()
    theirs.close()
    return _WorkerProcess(process, ours)


def _processes(tasks: list[EvaluationTask], count: int) -> Iterator[SequenceResult]:
    """Each process has its own pipe, so that if it dies the sequence at fault is known."""
    waiting = list(reversed(tasks))
    workers = [_start() for _ in range(min(count, len(tasks)))]
    try:
        for worker in workers:
            _give(worker, waiting)
        while any(w.task for w in workers):
            ready = connection.wait([w.pipe for w in workers if w.task])
            for index, worker in enumerate(workers):
                if worker.pipe not in ready or worker.task is None:
                    continue
                task = worker.task
                try:
                    result: Any = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    worker.process.join()
                    result = crashed(
                        task,
                        f"the process died with exit code {worker.process.exitcode} (a crash in native code, or no "
                        "memory)",
                    )
                    worker = workers[index] = _start()
                if isinstance(result, SiamTrackError):
                    raise result
                _give(worker, waiting)
                yield result
    finally:
        for worker in workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


def _give(worker: _WorkerProcess, waiting: list[EvaluationTask]) -> None:
    worker.task = waiting.pop() if waiting else None
    if worker.task:
        worker.pipe.send(worker.task)


def is_token_failure(error: Exception) -> bool:
    """Whether Ray failed because of its authentication token rather than for lack of a cluster; its exception classes
    for that are not public."""
    words = f"{type(error).__name__} {error}".lower()
    return any(
        word in words
        for word in ("authentic", "unauthorized", "auth_token", "auth token", "auth_mode", "invalid token")
    )


def _ray(tasks: list[EvaluationTask], address: str, workers: int) -> Iterator[SequenceResult]:
    """The same tasks on Ray.

    The package travels with the job; data sets and weight files given by path must be on every node.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise DeviceError(
            "--ray needs the package ray; `pip install ray` adds it, or use --workers N on this machine."
        ) from None

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    options["runtime_env"] = {"py_modules": [str(PACKAGE)], "env_vars": ENVIRONMENT}
    if address == "local":
        options |= {"address": "local", "num_cpus": max(1, workers), "include_dashboard": False}
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        if is_token_failure(error):
            raise DeviceError(
                f"The Ray cluster at {address!r} refuses the token that this machine gives, or gets none ({why}); "
                "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, as on the cluster."
            ) from None
        raise DeviceError(f"No Ray cluster answers at {address!r} ({why}); `ray start --head` makes one.") from None
    try:
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        logger.info("Ray: %d node(s), %g CPUs", nodes, ray.cluster_resources().get("CPU", 0))
        remote = ray.remote(num_cpus=1, max_retries=0)(work)
        pending = {remote.remote(task): task for task in tasks}
        while pending:
            done, _ = ray.wait(list(pending), num_returns=1)
            for reference in done:
                task = pending.pop(reference)
                try:
                    result: Any = ray.get(reference)
                except ray.exceptions.RayError as error:
                    result = crashed(
                        task, f"the Ray worker died ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
                    )
                if isinstance(result, SiamTrackError):
                    raise result
                yield result
    finally:
        ray.shutdown()
