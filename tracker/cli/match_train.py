"""`match train RECIPE`: train a matcher."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracker.cli.common import BAD_REQUEST, DONE, FAILED_MIDWAY, Parser, RawEpilog, add_version, say_error, whole_number
from tracker.cli.run_folder import LAST, check_run_folder, open_run_folder, tell_results
from tracker.errors import SiamTrackError

EPILOG = """\
  siamtrack match train match-faces data.root=DATA/extra --output runs/faces
  siamtrack match train my.yaml train.steps=300 data.classes=5
  siamtrack match train --output runs/faces --resume
  torchrun --nproc-per-node 2 -m tracker.cli match train match-faces ...       two processes, the same run

Ctrl-C stops after the step; --resume goes on as if nothing had happened.
"""
CONFIG = "recipe.yaml"
RUN_FILES = ("*.pt", "*.csv", "*.safetensors", CONFIG)


def train(argv: Sequence[str] | None = None) -> int:
    """Trains; returns the exit code."""
    parser = Parser(description="Train a matcher.", epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument(
        "words", nargs="*", metavar="RECIPE|KEY=VALUE", help="a shipped recipe's name or a yaml file, then changes"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the run goes; runs/NAME where not given")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output")
    parser.add_argument("--overwrite", action="store_true", help="remove the run in --output first")
    parser.add_argument(
        "--max-steps", type=whole_number(1), default=0, metavar="N", help="stop at this step of the run"
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    add_version(parser)
    args = parser.parse_args(argv)
    recipe = [word for word in args.words if "=" not in word]
    overrides = [word for word in args.words if "=" in word]
    if len(recipe) > 1:
        parser.error(f"one recipe at a time: {recipe[0]!r} and {recipe[1]!r} were given")
    if not recipe and not (args.resume and args.output):
        parser.error("which recipe? Give a shipped name such as match-faces, a yaml file, or --output FOLDER --resume")
    from tracker.matching.config import load_recipe

    config = load_recipe(recipe[0] if recipe else args.output / CONFIG, overrides)
    folder = args.output or Path("runs") / config.name
    check_run_folder(folder, args)
    return _run(config, folder, args)


def _run(config: Any, folder: Path, args: argparse.Namespace) -> int:
    from tracker.matching.batches import MatchSource
    from tracker.matching.train import run
    from tracker.training import distributed

    if not args.quiet:
        logging.getLogger("tracker").setLevel(logging.INFO)
    source = MatchSource(config)  # mistakes in the data are found before anything is written
    device = distributed.start(config.train.device)
    first = distributed.rank() == 0
    try:
        open_run_folder(folder, CONFIG, config, args.overwrite, RUN_FILES)
        if not first:
            logging.getLogger("tracker").setLevel(logging.WARNING)
        began = (folder / LAST).stat().st_mtime if (folder / LAST).exists() else 0.0
        try:
            result = run(
                config,
                folder,
                resume=args.resume,
                device=device,
                max_steps=args.max_steps,
                progress=first and not args.quiet and sys.stderr.isatty(),
                source=source,
            )
        except SiamTrackError as error:
            say_error(str(error))
            midway = (folder / LAST).exists() and (folder / LAST).stat().st_mtime != began
            return FAILED_MIDWAY if midway else BAD_REQUEST
    finally:
        distributed.stop()
    if first and not args.quiet:
        print(
            f"{result.stopped} at step {result.step} of {config.train.steps}: {result.pairs} samples in "
            f"{result.seconds:.0f} s"
        )
        tell_results(result, folder)
    return 128 + result.signal if result.signal else DONE
