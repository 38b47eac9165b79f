"""`siamtrack serve streams.yaml`: tracks targets in many streams at once."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import BAD_REQUEST, DONE, FAILED_MIDWAY, Parser, RawEpilog, add_version, say_error
from tracker.cli.signals import stop_on_signal
from tracker.errors import SiamTrackError

if TYPE_CHECKING:
    from tracker.serve.config import ServeConfig
    from tracker.serve.process import Handle

EPILOG = """\
docs/serve.md explains streams.yaml field by field. In short:

  streams:
    gate: {source: rtsp://user:password@host/path, targets: {car: {box: [10, 20, 64, 48]}}}
    clip: {source: clip.mp4, targets: {dog: {box: [5, 6, 40, 30]}}, record: {video: dog.mp4}}

exit codes: 0 all files ended, 1 a file could not be read to its end, 2 can't be done, 130 Ctrl-C, 143 SIGTERM
(recordings are complete)

  siamtrack serve streams.yaml --check            open every source, say what it is, and stop
  siamtrack serve streams.yaml > results.jsonl    results are JSON lines on standard output
  siamtrack serve streams.yaml --ray auto         on all machines of the Ray cluster that this one belongs to
"""


def build_parser() -> Parser:
    """The options of `siamtrack serve`."""
    parser = Parser(description="Follow targets in many streams at once.", epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument("streams", type=Path, metavar="STREAMS.yaml", help="what to follow, and where results go")
    parser.add_argument("--check", action="store_true", help="open every source, say what it is, and stop")
    parser.add_argument(
        "--fresh", action="store_true", help="ignore the state file: targets start as streams.yaml says"
    )
    parser.add_argument(
        "--ray", metavar="auto|ADDRESS", help="run the workers in a Ray cluster instead of processes of this machine"
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the service; returns the exit code."""
    args = build_parser().parse_args(argv)
    from tracker.serve.config_file import load_serve_config

    config = load_serve_config(args.streams)
    check_all(config)
    if args.check:
        from tracker.serve.check import check_sources

        return DONE if check_sources(config, print) else BAD_REQUEST
    return serve(args, config)


def check_all(config: ServeConfig) -> None:
    """Checks before anything is opened: model, device, files that a stream names.

    Raises:
        SiamTrackError: With the reason.
    """
    from tracker.cli.model_options import check_model_options
    from tracker.serve.check import check_devices, check_files

    options = {"device": config.device, "model": config.model, "config": None, "overrides": config.overrides}
    check_model_options(argparse.Namespace(**options))
    check_files(config)
    check_devices(config)
    if not config.streams and config.control.address is None:
        raise SiamTrackError(
            "There is nothing to serve: name `streams`, or a `control: {address: ...}` to add them by."
        )
    if config.control.address is not None:
        from tracker.web.access import parse_address

        parse_address(config.control.address)
    if config.control.address is not None and importlib.util.find_spec("aiohttp") is None:
        raise SiamTrackError(
            "Control over HTTP needs the package aiohttp; `pip install aiohttp` adds it (the extra `serve` holds it)."
        )


def serve(args: argparse.Namespace, config: ServeConfig) -> int:
    """Runs until all files have ended or a signal arrives; returns the exit code."""
    from tracker.serve.listeners import Results
    from tracker.serve.supervisor import Supervisor

    over = threading.Event()

    def tell(stream: str, about: str, text: str) -> None:
        if not args.quiet or about in ("target", "recording", "broken"):
            sys.stderr.write(f"{stream + ': ' if stream else ''}{text.rstrip('.')}.\n")

    with ExitStack() as stack:
        hire, count = workers_of(args, config, stack)
        if args.ray is not None:  # the other workers take over if one dies
            config = replace(config, workers=replace(config.workers, spare=False))
        supervisor = Supervisor(config, hire, count, Results(config.results), tell, fresh=args.fresh)
        if config.control.address is not None:
            from tracker.serve.control import Control

            control = stack.enter_context(Control(supervisor, config.control))
            sys.stderr.write(f"Control and status page: {control.url}\n")
        stopped = stack.enter_context(stop_on_signal(over.set))
        supervisor.run(over)
    if supervisor.failed:
        say_error(supervisor.failed)
        return BAD_REQUEST
    if stopped.code:
        say_error(f"Stopped by {stopped.word}; recordings are complete.")
        return stopped.code
    if supervisor.results.nobody:
        problems = [one.problem for one in supervisor.results.listeners if not one.reader_gone]
        for problem in problems:
            say_error(problem)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # prevents a flush into the closed pipe
        return FAILED_MIDWAY if problems else DONE
    failed = [entry for entry in supervisor.entries.values() if entry.state == "failed"]
    for entry in failed:
        say_error(f"{entry.name}: {entry.text}")
    return FAILED_MIDWAY if failed else DONE


def workers_of(
    args: argparse.Namespace, config: ServeConfig, stack: ExitStack
) -> tuple[Callable[[], Handle | None], int]:
    """The function that starts a worker, and the number of workers."""
    if args.ray is not None:
        from tracker.serve.ray_cluster import Cluster

        cluster = stack.enter_context(Cluster(config, args.ray))
        return cluster.hire, cluster.count
    from tracker.serve.process import Machine

    machine = Machine(config)
    return machine.hire, machine.count
