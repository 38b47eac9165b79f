"""`tools/ablate.py`: trains each energy with each loss at a small fixed budget and writes the table."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import DONE, FAILED_MIDWAY, Parser, RawEpilog, say_error, whole_number

if TYPE_CHECKING:
    from tracker.config import Config
    from tracker.datasets.tracks import AnnotatedTrack
    from tracker.training.ablation import Cell

EXAMPLES = """examples:
  siamtrack ablate --config siamtrack-s --validate got/train --names "davis-camel,davis-parkour" \\
      --output runs/ablation
  siamtrack ablate ... --minutes 60    an hour at most; the same command again goes on with what is not finished"""


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = Parser(
        description="Trains each energy with each loss of the score for the same steps, from the same prepared cache "
        "and the same first scores, tracks validation clips with the result, and writes ablation.md, "
        "ablation.json and ablation.png.",
        epilog=EXAMPLES,
        formatter_class=RawEpilog,
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument(
        "--config",
        required=True,
        type=Path,
        metavar="NAME|YAML",
        help="the recipe that `siamtrack prepare` was run with",
    )
    recipe.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes, such as train.data.cache.path=cache/small"
    )
    table = parser.add_argument_group("table")
    table.add_argument("--energies", default="dot,cosine,euclidean", metavar="A,B", help="rows")
    losses = "none,logistic,focal,contrastive,triplet,circle,angular"
    table.add_argument("--losses", default=losses, metavar="A,B", help="columns; none: untrained")
    table.add_argument(
        "--steps", type=whole_number(1), default=400, metavar="N", help="budget of a cell, of the recipe's batch size"
    )
    table.add_argument(
        "--minutes", type=float, default=0.0, metavar="M", help="wall time at most; 0: no limit (default: 0)"
    )
    clips = parser.add_argument_group("validation")
    clips.add_argument(
        "--validate",
        metavar="PATH",
        help="folder of clips, relative to the data root; default: that of train.validation",
    )
    clips.add_argument(
        "--kind", default="clips", metavar="KIND", help="how it is laid out: clips (GOT-10k), otb, folder, ..."
    )
    clips.add_argument("--names", default="*", metavar="A,B", help="names or patterns of its sequences")
    clips.add_argument(
        "--max-frames", type=whole_number(0), default=60, metavar="N", help="frames tracked of each; 0: all"
    )
    clips.add_argument("--engine", default="auto", metavar="auto|NAME", help="what runs the tracker")
    parser.add_argument("--output", type=Path, default=Path("runs/ablation"), metavar="FOLDER", help="cells and table")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    args = build_parser().parse_args(argv)
    from tracker.config import load_config
    from tracker.errors import ConfigError, OutputError, TrainingError

    config = load_config(args.config, args.overrides)
    energies, losses = args.energies.split(","), args.losses.split(",")
    from tracker.training.ablation import Ablation, cell_config

    for energy in energies:
        for loss in losses:
            cell_config(config, energy, loss, args.steps)
    if args.minutes < 0:
        raise ConfigError(f"--minutes is {args.minutes:g}; it must not be negative, and 0 means no limit.")
    clips = _clips(args, config)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {args.output} can't be made: {error.strerror}.") from None
    logging.getLogger("tracker.training").setLevel(logging.WARNING)
    work = Ablation(config, clips, args.output, args.steps, args.max_frames, args.engine, own_process=True)
    note = _note(args, config, clips)
    cells: dict[tuple[str, str], Cell | None] = {(e, n): work.known(e, n) for n in losses for e in energies}
    begun, code = time.monotonic(), DONE
    for (energy, loss), cell in cells.items():
        left = args.minutes - (time.monotonic() - begun) / 60 if args.minutes else 0.0
        if cell is not None and cell.finished:
            print(f"{energy} x {loss}: AUC {cell.auc:.3f} (there already)")
            continue
        if args.minutes and left <= 0:
            break
        try:
            cell = work.run(energy, loss, left, progress=sys.stderr.isatty())
        except TrainingError as error:
            say_error(f"{energy} x {loss}: {error}")
            code = FAILED_MIDWAY
            continue
        cells[energy, loss] = cell
        figure = f"AUC {cell.auc:.3f}" if cell.auc is not None else f"step {cell.steps} of {cell.wanted}"
        print(f"{energy} x {loss}: {figure} ({cell.seconds:.0f} s of training)", flush=True)
        _write(args.output, cells, energies, losses, note)
    files = _write(args.output, cells, energies, losses, note)
    missing = sum(1 for c in cells.values() if c is None or not c.finished)
    print(f"wrote {', '.join(str(f) for f in files)}")
    if missing:
        print(f"{missing} of {len(cells)} cells are not finished; the same command goes on with them")
    return code


def _write(
    folder: Path, cells: dict[tuple[str, str], Cell | None], energies: Sequence[str], losses: Sequence[str], note: str
) -> list[Path]:
    from tracker.training.ablation_table import write_table

    return write_table(folder, cells, energies, losses, note)


def _clips(args: argparse.Namespace, config: Config) -> list[AnnotatedTrack]:
    """The validation clips."""
    from tracker.config_merge import merge
    from tracker.errors import ConfigError
    from tracker.training.data.build import pair_config
    from tracker.training.data.cache import frame_store
    from tracker.training.data.sources import SourceConfig, read_tracks
    from tracker.training.validation import ValidationConfig

    pairs = pair_config(config.train.get("data", {}))
    section = merge(ValidationConfig(), config.train.get("validation", {}), where="train.validation")
    root = Path(section.root or pairs.material.root).expanduser()
    if args.validate:
        source = SourceConfig(kind=args.kind, path=args.validate, names=args.names.split(","))
    elif section.path:
        source = SourceConfig(kind="clips", path=section.path, names=section.names, exclude=section.exclude)
    else:
        raise ConfigError(
            "Which clips say how good a cell is? Name their folder by --validate, for example --validate got/train."
        )
    return read_tracks(source, root / source.path, frame_store(pairs.cache))


def _note(args: argparse.Namespace, config: Config, clips: Sequence[AnnotatedTrack]) -> str:
    frames = sum(min(len(c.present), args.max_frames or len(c.present)) for c in clips)
    batch = int(config.train.get("batch_size", 32))
    return (
        f"AUC, mean over {len(clips)} validation clips ({frames} frames, one pass). Recipe {config.name}, "
        f"{args.steps} steps of {batch} pairs for each cell, seed {int(config.train.get('seed', 0))}; all cells "
        "see the same pairs and start with the same scores."
    )
