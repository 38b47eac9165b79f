"""Start of a worker process: its environment is set before numpy, OpenCV or torch are loaded in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from multiprocessing import connection


def enter(environment: Mapping[str, str], pipe: connection.Connection) -> None:
    """Begin as a worker of `pool.run_tasks`; this module imports nothing that reads the environment when it is loaded.

    Args:
        environment: Variables to set. The parent's environment is never changed: its other threads may be reading it.
        pipe: Tasks in, results out.
    """
    os.environ.update(environment)
    from tracker.evaluation.workers import serve

    serve(pipe)
