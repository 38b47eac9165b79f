"""The options of `siamtrack tune`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from tracker.cli.common import Parser, RawEpilog, add_version, whole_number
from tracker.cli.model_options import add_model_options

DESCRIPTION = """\
Search the tracking constants of a model on a validation split and judge the result on a hold-out.

The search (Optuna, TPE) sees the validation sequences only. The hold-out is measured once, with the constants
before and after, and a warning is given where the gain doesn't carry over. The result is a yaml for --config of
the other commands, with all that made it in its comments; the .json beside it holds all trials.
"""


EXAMPLES = """\
  siamtrack tune --dataset got10k --root GOT-10k --subset val --trials 60 --workers 4 --output tuned.yaml
  siamtrack tune --dataset folder --root my-clips --holdout-sequences 'b-*' --search window_influence=0.1:0.6
  siamtrack track clip.mp4 --box 10,20,64,48 --config tuned.yaml
"""


def share(text: str) -> float:
    """A `type=` for a fraction in [0, 0.9]."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 0.9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 0.9")
    return value


def span(text: str) -> tuple[str, float, float]:
    """A `type=` for KEY=LOW:HIGH."""
    match = re.fullmatch(r"(?:tracking\.)?(\w+(?:\.\w+)?)=([-+.\deE]+):([-+.\deE]+)", text)
    try:
        name, low, high = match.group(1), float(match.group(2)), float(match.group(3))  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form KEY=LOW:HIGH, for example window_influence=0.1:0.6"
        ) from None
    if not low < high:
        raise argparse.ArgumentTypeError(f"in {text!r} the lower end is not below the upper one")
    return name, low, high


def pattern(text: str) -> re.Pattern[str]:
    """A `type=` for a regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None


def build_parser() -> argparse.ArgumentParser:
    """The options of `tools/tune.py`."""
    parser = Parser(description=DESCRIPTION, epilog=EXAMPLES, formatter_class=RawEpilog)
    data = parser.add_argument_group("data")
    data.add_argument(
        "--dataset",
        required=True,
        metavar="NAME",
        help="got10k, lasot, trackingnet (val or train), or folder for your own",
    )
    data.add_argument("--root", required=True, type=Path, metavar="DIR", help="where it lies")
    data.add_argument("--subset", metavar="NAME", help="split: val or train; a test split is refused")
    data.add_argument("--sequences", metavar="GLOBS", help="only these, for example 'davis-*,vots*'")
    data.add_argument("--max-sequences", type=whole_number(2), metavar="N", help="a random N of them")
    data.add_argument("--max-frames", type=whole_number(2), metavar="N", help="only the first N frames of each")
    data.add_argument(
        "--holdout", type=share, default=0.3, metavar="SHARE", help="share of the sequences that only judges the result"
    )
    data.add_argument("--holdout-sequences", metavar="GLOBS", help="these judge the result, instead of a random share")
    data.add_argument(
        "--group",
        type=pattern,
        metavar="REGEX",
        help="sequences for which REGEX finds the same text (clips of one video) stay on one side",
    )
    search = parser.add_argument_group("search")
    search.add_argument(
        "--search",
        type=span,
        action="append",
        default=[],
        metavar="KEY=LOW:HIGH",
        help="a constant of the section tracking and its range; may be repeated; replaces the usual ones "
        "(window_influence, scale_penalty, size_lr; with the classic head also scale_step)",
    )
    search.add_argument(
        "--metric", choices=("ao", "auc"), default="ao", help="mean IoU or success AUC, averaged over sequences"
    )
    search.add_argument(
        "--trials",
        type=whole_number(1),
        default=60,
        metavar="N",
        help="total number, including those of a resumed study",
    )
    search.add_argument("--minutes", type=float, metavar="M", help="start no new trial after this time")
    search.add_argument("--no-prune", action="store_true", help="finish bad trials too")
    search.add_argument("--seed", type=int, default=0, metavar="N", help="of the split, the sampler and the bootstrap")
    add_model_options(parser)
    work = parser.add_argument_group("work and output")
    work.add_argument(
        "--workers", type=whole_number(1), default=1, metavar="N", help="processes; the result doesn't depend on it"
    )
    work.add_argument(
        "--cache-gb",
        type=float,
        default=4.0,
        metavar="GB",
        help="room for decoded frames in the temporary folder; 0 for none",
    )
    work.add_argument(
        "--output", type=Path, default=Path("tuned.yaml"), metavar="FILE.yaml", help="the configuration that was found"
    )
    work.add_argument(
        "--study",
        type=Path,
        metavar="FILE",
        help="Optuna journal of the trials (default: the output's name with .study)",
    )
    work.add_argument(
        "--resume", action="store_true", help="go on with an interrupted study, or add trials to a finished one"
    )
    work.add_argument("--overwrite", action="store_true", help="replace the output and start the study again")
    work.add_argument("--quiet", action="store_true", help="no line per trial")
    add_version(parser)
    return parser
