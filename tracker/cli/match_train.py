"""`match train RECIPE`: train a matcher."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracker.cli.common import BAD_REQUEST, DONE, FAILED_MIDWAY, Parser, RawEpilog, add_version, say_error, whole_number
from tracker.errors import OutputError, SiamTrackError

EPILOG = """\
  siamtrack match train match-faces data.root=DATA/extra --output runs/faces
  siamtrack match train my.yaml train.steps=300 data.classes=5
  siamtrack match train --output runs/faces --resume
  torchrun --nproc-per-node 2 -m tracker.cli match train match-faces ...       two processes, the same run

Ctrl-C stops after the step; --resume goes on as if nothing had happened.
"""
LAST, CONFIG = "last.pt", "recipe.yaml"
RUN_FILES = ("*.pt", "*.csv", "*.safetensors", CONFIG)


def train(argv: Sequence[str] | None = None) -> int:
    """Train as the options say; returns the exit code."""
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
    if args.resume and args.overwrite:
        raise OutputError("--resume goes on with a run and --overwrite removes it; give one of them.")
    if len(recipe) > 1:
        parser.error(f"one recipe at a time: {recipe[0]!r} and {recipe[1]!r} were given")
    if not recipe and not (args.resume and args.output):
        parser.error("which recipe? Give a shipped name such as match-faces, a yaml file, or --output FOLDER --resume")
    from tracker.matching.config import load_recipe

    config = load_recipe(recipe[0] if recipe else args.output / CONFIG, overrides)
    folder = args.output or Path("runs") / config.name
    _check(folder, args)
    return _run(config, folder, args)


def _check(folder: Path, args: argparse.Namespace) -> None:
    """Mistakes that need no torch to be seen."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"The output {folder} is a file; name a folder by --output.")
    there = (folder / LAST).exists()
    if args.resume and not there:
        raise OutputError(
            f"The folder {folder} holds no {LAST} to resume from; start without --resume or name the right --output."
        )
    if there and not (args.resume or args.overwrite):
        raise OutputError(
            f"The folder {folder} holds a run already; go on with --resume, remove it with --overwrite, or name "
            "another."
        )


def _run(config: Any, folder: Path, args: argparse.Namespace) -> int:
    from omegaconf import OmegaConf

    from tracker.config_merge import to_dict
    from tracker.files import write_atomic
    from tracker.matching.batches import MatchSource
    from tracker.matching.train import run
    from tracker.training import distributed

    if not args.quiet:
        logging.getLogger("tracker").setLevel(logging.INFO)
    source = MatchSource(config)  # mistakes in the data are found before anything is written
    device = distributed.start(config.train.device)
    first = distributed.rank() == 0
    try:
        if first:
            if args.overwrite and folder.is_dir():
                for pattern in RUN_FILES:
                    for file in folder.glob(pattern):
                        file.unlink()
                shutil.rmtree(folder / "tensorboard", ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(to_dict(config))))
        else:
            logging.getLogger("tracker").setLevel(logging.WARNING)
        distributed.barrier()
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
        if result.best:
            best = ", ".join(f"{name} {value:.4f}" for name, value in result.best.items() if name != "step")
            print(f"best validation: {best} at step {result.best['step']:.0f} ({folder / 'best.safetensors'})")
        print(f"model: {folder / 'last.safetensors'}; log: {folder / 'log.csv'}")
    return 128 + result.signal if result.signal else DONE
