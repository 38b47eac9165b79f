"""Main loop of a worker process: tasks in, results out, each computed on one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing import connection

from tracker.errors import ConfigError, SiamTrackError
from tracker.evaluation.runner import EvaluationTask, evaluate_sequence
from tracker.metrics.results import SequenceResult

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SIAMTRACK_THREADS")}
"""Each worker computes on one thread: speeds are comparable, and results don't depend on how sums are split."""


def limit_threads(threads: int = 1) -> None:
    """Limits libraries, loaded already or later, to one thread (or the given number), in a process that only serves as
    a worker."""
    import cv2

    os.environ.update({name: str(threads) for name in ONE_THREAD})
    cv2.setNumThreads(threads)


def follow_parent() -> None:
    """Leaves Ctrl-C, which reaches the whole process group, to the parent; a process whose parent was killed ends
    itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:  # a parent killed with -9 can't stop its children
        threading.Thread(target=lambda: (connection.wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _limit_torch(task: EvaluationTask) -> None:
    if task.spec.kind == "siamtrack":
        import torch

        torch.set_num_threads(1)


def work(task: EvaluationTask) -> SequenceResult | SiamTrackError:
    """`evaluate_sequence` on one thread; if the tracker can't be built, the result is the error."""
    limit_threads()
    _limit_torch(task)
    try:
        return evaluate_sequence(task)
    except SiamTrackError as error:
        return error
    except (
        Exception
    ) as error:  # building an external tracker can fail in any way; what tracking raises is in the result already
        return ConfigError(f"{task.spec.label} can't be built: {type(error).__name__}: {' '.join(str(error).split())}")


def serve(pipe: connection.Connection) -> None:
    """Main loop of a worker process: runs until the pipe closes or the parent is gone."""
    follow_parent()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(work(task))
