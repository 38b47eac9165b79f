"""The options for model and engine, and the construction of the tracker."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.errors import DeviceError

if TYPE_CHECKING:
    from tracker.tracking.tracker import SiamTracker

DEFAULT_MODEL = "siamtrack-s"


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """--model, --config, --set, --device, --engine: which tracker to build (see `load_tracker`)."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|FILE", help="shipped model or a checkpoint file")
    group.add_argument(
        "--config",
        type=Path,
        metavar="NAME|FILE.yaml",
        help="settings of the tracker; without it, those stored with the model",
    )
    add_engine_options(group)
    group.add_argument(
        "--thorough",
        action="store_true",
        help="no limit on the search work per frame of a LOST target: it is found sooner, at several times the cost",
    )


def add_engine_options(group: argparse._ArgumentGroup) -> None:
    """--set, --device, --engine."""
    group.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting, for example tracking.window_influence=0.3; may be repeated; `siamtrack "
        "settings` lists them",
    )
    group.add_argument(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:N]",
        help="where the network runs; auto: CUDA if available",
    )
    group.add_argument(
        "--engine",
        default="auto",
        metavar="auto|NAME",
        help="engine, for example torch or onnxruntime; auto takes the fastest on this processor, which "
        "is timed once (`siamtrack doctor` says which)",
    )


def check_model_options(args: argparse.Namespace) -> None:
    """Checks the model options without importing torch: unknown model, missing file, unknown setting.

    Raises:
        WeightsError, ConfigError, DeviceError: With the reason.
    """
    from tracker.config import load_config
    from tracker.model.checkpoint import find_weights

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise DeviceError(f"The device {args.device!r} is unknown; it is auto, cpu, cuda or cuda:N.")
    find_weights(args.model)
    load_config(args.config, args.overrides)


def load_tracker(args: argparse.Namespace, live: bool = False) -> SiamTracker:
    """Builds the tracker that the options of `add_model_options` describe.

    Args:
        args: Parsed options.
        live: Whether the source is live: the search for a LOST target is then limited in time, unless the options set a
            limit.
    """
    from tracker.tracking.tracker import SiamTracker
    from tracker.tracking_sections import LIVE_BUDGET_MS

    overrides = list(args.overrides)
    if args.thorough:
        overrides[:0] = ["tracking.redetection.work=0", "tracking.redetection.tiles=2"]
    if live and args.config is None:
        overrides.insert(0, f"tracking.redetection.budget_ms={LIVE_BUDGET_MS}")
    return SiamTracker.from_pretrained(
        args.model, args.device, engine=args.engine, config=args.config, overrides=overrides
    )
