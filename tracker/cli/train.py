"""`tools/train.py`: trains a model from a recipe, in one process or in many under torchrun."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli.common import BAD_REQUEST, DONE, FAILED_MIDWAY, Parser, whole_number
from tracker.cli.run_folder import LAST, check_run_folder, open_run_folder, tell_results
from tracker.errors import ConfigError
from tracker.model_config import PARTS

if TYPE_CHECKING:
    from torch import nn

    from tracker.config import Config
    from tracker.training.config import TrainConfig
    from tracker.training.data.batch import PairSource
    from tracker.training.run_state import RunResult

CONFIG = "config.yaml"
RUN_FILES = (
    LAST,
    CONFIG,
    "log.csv",
    "validation.csv",
    "best.safetensors",
    "last.safetensors",
    "bad-step-*.pt",
    "preview-*.png",
)

EXAMPLES = """examples:
  siamtrack train --config siamtrack-s train.data.material.root=FOLDER
  siamtrack train --config siamtrack-s --preview            contact sheets of pairs, then stop
  siamtrack train --output runs/siamtrack-s --resume                     go on after an interruption
  torchrun --nproc-per-node=4 -m tracker.cli train --config siamtrack-s"""


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = Parser(
        description="Trains a model from a recipe. Ctrl-C writes a checkpoint first; --resume goes on from the last "
        "one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument(
        "--config",
        type=Path,
        metavar="NAME|YAML",
        help="the recipe, such as siamtrack-s; with --resume, that of the run where not given",
    )
    recipe.add_argument("overrides", nargs="*", metavar="key=value", help="changes, such as train.batch_size=64")
    recipe.add_argument(
        "--init",
        default="imagenet",
        metavar="imagenet|random|MODEL",
        help="first weights: the backbone's ImageNet weights, none, or a shipped model or .safetensors file "
        "(default: imagenet)",
    )
    recipe.add_argument(
        "--init-parts",
        metavar="PART[,PART]",
        help="of backbone, neck and head, what is taken from the model of --init; the others start at random "
        "(default: all)",
    )
    out = parser.add_argument_group("run")
    out.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where checkpoints, logs and models go (default: runs/NAME)"
    )
    out.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    out.add_argument(
        "--overwrite", action="store_true", help="start again in a folder that holds a run, which is removed"
    )
    out.add_argument(
        "--max-steps",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="stop at this step of the run (default: at the end)",
    )
    out.add_argument("--preview", action="store_true", help="write contact sheets of pairs with their labels, and stop")
    out.add_argument("--quiet", action="store_true", help="neither progress bar nor messages")
    return parser


def _init_parts(args: argparse.Namespace) -> Sequence[str]:
    """What --init-parts names, or all parts."""
    if args.init_parts is None:
        return PARTS
    if args.init in ("imagenet", "random"):
        raise ConfigError(
            f"--init-parts says what is taken from a model, and --init {args.init} is none; name one, for example "
            "--init siamtrack-s."
        )
    parts = [part.strip() for part in args.init_parts.split(",")]
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"--init-parts {part!r} is not a part of a model; these are: {', '.join(PARTS)}.")
    return parts


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    args = build_parser().parse_args(argv)
    _init_parts(args)  # a mistake is found before the data are opened
    from tracker.config import load_config
    from tracker.training.config import train_config

    path = args.config or (args.output / CONFIG if args.resume and args.output else None)
    if path is None:
        raise ConfigError("Which recipe? Name one by --config, for example siamtrack-s (or --resume with --output).")
    config = load_config(path, args.overrides)
    settings = train_config(config.train, where=str(path))
    folder = args.output or Path("runs") / config.name
    check_run_folder(folder, args)

    from tracker.training import distributed
    from tracker.training.data.build import build_pair_source
    from tracker.training.losses.objective import build_objective

    build_objective(settings)  # an unknown loss is found before the data are opened
    if not args.quiet:
        logging.getLogger("tracker").setLevel(logging.INFO)
    device = distributed.start(settings.device)
    try:
        if distributed.rank() != 0:
            logging.getLogger("tracker").setLevel(logging.WARNING)
        source = build_pair_source(config, settings.seed, device)
        if args.preview:
            from tracker.training.visualize.pairs import write_preview

            for sheet in write_preview(folder, config, settings, source):
                print(f"wrote {sheet}")
            return DONE
        return _run(args, folder, config, settings, source, device)
    finally:
        distributed.stop()


def _run(
    args: argparse.Namespace, folder: Path, config: Config, settings: TrainConfig, source: PairSource, device: Any
) -> int:
    from tracker.config_merge import to_dict
    from tracker.errors import SiamTrackError
    from tracker.model.checkpoint import save_model
    from tracker.training import distributed
    from tracker.training.initialise import even_start, initial_model
    from tracker.training.trainer import Trainer
    from tracker.training.validation import build_validator

    first = distributed.rank() == 0
    validate = (
        build_validator(config, device.type)
        if settings.validate_every and first
        else _nobody
        if settings.validate_every
        else None
    )
    model = initial_model(config, settings.seed, "random" if args.resume else args.init, _init_parts(args))
    if settings.even_start and not args.resume:
        even_start(model, config.model.energy, source)

    def export(module: nn.Module, name: str, facts: dict[str, Any]) -> None:
        save_model(folder / f"{name}.safetensors", module, config, facts)  # type: ignore[arg-type]

    open_run_folder(folder, CONFIG, config, args.overwrite, RUN_FILES)
    trainer = Trainer(
        model,
        source,
        settings,
        folder,
        device=device,
        validate=validate,
        export=export,
        full_config=to_dict(config),
        progress=first and not args.quiet and sys.stderr.isatty(),
        own_process=True,
    )
    if args.resume:
        trainer.resume()
    try:
        result = trainer.run(args.max_steps)
    except SiamTrackError as error:
        # Something was written: the exit code says that the run was interrupted.
        sys.stderr.write(f"train.py: {' '.join(str(error).split())}\n")
        return FAILED_MIDWAY if trainer.step else BAD_REQUEST
    if first and not args.quiet:
        _tell(result, settings, folder)
    return 128 + result.signal if result.signal else DONE


def _nobody(model: nn.Module, step: int) -> dict[str, float]:
    """Replaces the validation on ranks that only wait for it."""
    raise RuntimeError("only rank 0 validates")


def _tell(result: RunResult, settings: TrainConfig, folder: Path) -> None:
    """Prints a short summary."""
    why = {
        "finished": "finished",
        "max-steps": "stopped at --max-steps",
        "max-minutes": f"stopped after {settings.max_minutes:g} minutes",
        "signal": "interrupted",
    }[result.stopped]
    print(f"{why} at step {result.step} of {settings.steps}: {result.pairs} pairs in {result.seconds:.0f} s")
    tell_results(result, folder)
    if result.step < settings.steps:
        print(f"go on with: siamtrack train --output {folder} --resume")
