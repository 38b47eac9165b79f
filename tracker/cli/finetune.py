"""`tools/finetune.py`: adapts a model to an object or domain from a few labelled clips, in minutes on a CPU."""

from __future__ import annotations

import argparse
import copy
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tracker.cli.common import BAD_REQUEST, DONE, FAILED_MIDWAY, Parser, RawEpilog, say_error, whole_number
from tracker.cli.model_options import DEFAULT_MODEL

if TYPE_CHECKING:
    from tracker.datasets.tracks import AnnotatedTrack
    from tracker.training.finetune import FinetuneConfig, FinetuneScores

EXAMPLES = """examples:
  siamtrack finetune clip.mp4 --boxes clip.txt --output my.safetensors
  siamtrack finetune a.mp4 b.mp4 c.mp4 --output my.safetensors        boxes beside the clips: a.txt, b.txt, c.txt
  siamtrack track new.mp4 --model my.safetensors --box 10,20,64,48    the adapted model at work

The end of each clip is held out: the model is never trained on it, and both models are tracked over it,
before and after.
An adapted model that tracks no better there is not saved."""


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = Parser(
        description="Adapts a model to your own object or domain from a few labelled clips. The backbone stays as it "
        "is.",
        epilog=EXAMPLES,
        formatter_class=RawEpilog,
    )
    clips = parser.add_argument_group("clips")
    clips.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="videos or folders of pictures")
    clips.add_argument(
        "--boxes",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="box files, one line x,y,w,h a frame, or rows that name their frames; without: CLIP.txt",
    )
    clips.add_argument(
        "--boxes-format",
        choices=("auto", "boxes", "polygon", "mot", "csv", "jsonl"),
        default="auto",
        help="what the lines of the box files are, where several formats fit",
    )
    clips.add_argument(
        "--first-row-frame",
        type=whole_number(0),
        metavar="N",
        help="frame of the first line of each box file, where the lines name no frame and are fewer than the frames",
    )
    clips.add_argument("--every", type=whole_number(1), default=1, metavar="N", help="take every N-th frame")
    clips.add_argument(
        "--hold-out", type=float, default=0.3, metavar="SHARE", help="end of each clip that is measured, not trained on"
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|FILE",
        help="what to start from: a shipped model or a checkpoint",
    )
    model.add_argument("--output", type=Path, required=True, metavar="FILE.safetensors", help="the adapted model")
    model.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    model.add_argument(
        "--keep-worse", action="store_true", help="save the adapted model even if it tracks no better than before"
    )
    effort = parser.add_argument_group("effort")
    effort.add_argument("--steps", type=whole_number(1), default=200, metavar="N", help="training steps")
    effort.add_argument("--batch-size", type=whole_number(2), default=32, metavar="N", help="pairs in a step")
    effort.add_argument(
        "--groups", type=whole_number(1), default=150, metavar="N", help="samples to cut from the clips"
    )
    effort.add_argument("--learning-rate", type=float, default=2e-4, metavar="X", help="AdamW's, at its highest")
    effort.add_argument(
        "--max-frames",
        type=whole_number(0),
        default=150,
        metavar="N",
        help="held-out frames to measure on, of each; 0: all",
    )
    effort.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="decides views and pairs")
    effort.add_argument(
        "--threads", type=whole_number(0), default=0, metavar="N", help="CPU threads; 0: as many as there are cores"
    )
    effort.add_argument("--engine", default="auto", metavar="auto|NAME", help="what runs the tracker while measuring")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    args = build_parser().parse_args(argv)
    from tracker.errors import ConfigError
    from tracker.model.checkpoint import find_weights

    check_output(args.output, args.overwrite)
    if not 0.05 <= args.hold_out <= 0.9:
        raise ConfigError(f"--hold-out is {args.hold_out:g}; it must be between 0.05 and 0.9, for example 0.3.")
    pairs = pair_up(args.clips, args.boxes)
    find_weights(args.model)
    from tracker.training.finetune import FinetuneConfig

    adapt = FinetuneConfig(
        groups=args.groups,
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        hold_out=args.hold_out,
        max_frames=args.max_frames,
        seed=args.seed,
        threads=args.threads,
    )
    with tempfile.TemporaryDirectory(prefix="finetune-") as folder:
        return _run(args, adapt, pairs, Path(folder))


def check_output(path: Path, overwrite: bool) -> None:
    """Checks the output's name before any work.

    Raises:
        OutputError: It can't be written, or exists.
    """
    from tracker.errors import OutputError

    if path.suffix != ".safetensors":
        raise OutputError(f"The model can't be written to {path}: its name must end in .safetensors.")
    if not path.resolve().parent.is_dir():
        raise OutputError(f"The model can't be written to {path}: the folder {path.resolve().parent} does not exist.")
    if path.exists() and not overwrite:
        raise OutputError(f"The output {path} exists; name another, or give --overwrite.")


def pair_up(clips: Sequence[Path], boxes: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pairs each clip with its box file.

    Raises:
        DataError: A file is missing, or only some clips have box files.
    """
    from tracker.datasets.clips import find_boxes
    from tracker.datasets.tracks import DataError

    if boxes and len(boxes) != len(clips):
        raise DataError(
            f"There are {len(clips)} clips and {len(boxes)} box files; give one for each, or none if they lie beside "
            "the clips."
        )
    found = list(boxes) or [find_boxes(c) or c.with_suffix(".txt") for c in clips]
    for path in [*clips, *found]:
        if not path.exists():
            raise DataError(f"The file {path} does not exist; each clip needs a box file, one line x,y,w,h a frame.")
    return list(zip(clips, found, strict=True))


def _run(args: argparse.Namespace, adapt: FinetuneConfig, pairs: Sequence[tuple[Path, Path]], folder: Path) -> int:
    import torch
    from tqdm import tqdm

    from tracker.datasets.clips import read_clip
    from tracker.errors import TrainingError
    from tracker.model.checkpoint import load_model, save_model
    from tracker.training.finetune import FinetuneScores, embed_samples, measure_clips, split, train_on

    logging.getLogger("tracker.training").setLevel(logging.WARNING)
    if args.threads:
        torch.set_num_threads(args.threads)
    began = time.monotonic()
    tracks = [
        track
        for clip, boxes in pairs
        for track in read_clip(
            clip, boxes, folder / "frames", args.every, form=args.boxes_format, first=args.first_row_frame
        )
    ]
    first, held = split(tracks, args.hold_out)
    loaded = load_model(args.model)
    config, model = loaded.config, copy.deepcopy(loaded.module)
    terminal = sys.stderr.isatty()
    print(
        f"{loaded.name}: {len(tracks)} track{'s' * (len(tracks) > 1)}; {_frames(first)} frames to train on, "
        f"{_frames(held)} held out"
    )

    before = measure_clips(model, config, held, adapt.max_frames, args.engine)
    with tqdm(total=adapt.groups, unit="group", desc="views", disable=None if terminal else True) as bar:
        samples = embed_samples(model, config, first, adapt, lambda: _advance(bar))
    cut = time.monotonic()
    try:
        train_on(model, samples, adapt, _made(folder / "run"), progress=terminal)
    except TrainingError as error:
        say_error(str(error))
        return FAILED_MIDWAY
    trained = time.monotonic()
    after = measure_clips(model, config, held, adapt.max_frames, args.engine)
    shown = tuple(min(len(t.present), adapt.max_frames or len(t.present)) for t in held)
    figures = FinetuneScores(tuple(t.name for t in held), before, after, sum(shown))
    print(table(figures))
    seconds = time.monotonic() - began
    print(f"{seconds:.0f} s, {trained - cut:.0f} of them for {adapt.steps} steps of {adapt.batch_size} pairs")
    if figures.gain <= 0 and not args.keep_worse:
        say_error(
            f"Not saved: on the held-out frames the adapted model is no better ({figures.gain:+.3f} AUC); stay with "
            f"{loaded.name}. Label more or other clips, try fewer --steps or a lower --learning-rate; --keep-worse "
            "saves it all the same."
        )
        return BAD_REQUEST
    save_model(args.output, model, config, _notes(args, loaded.name, adapt, figures))
    worse = "" if figures.gain > 0 else " although it tracks no better (--keep-worse)"
    print(f"saved {args.output}{worse}; use it with --model {args.output}")
    return DONE


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _frames(tracks: Sequence[AnnotatedTrack]) -> int:
    return sum(len(t.present) for t in tracks)


def table(figures: FinetuneScores) -> str:
    """The scores before and after as text."""
    means = ("mean", fmean(figures.before), fmean(figures.after))
    rows = [*zip(figures.names, figures.before, figures.after, strict=True), means]
    width = max(len(name) for name, _, _ in rows)
    lines = [
        f"AUC on {figures.frames} held-out frames, one pass from the first of them",
        f"{'':<{width}}  before  after",
    ]
    lines += [f"{name:<{width}}   {a:.3f}  {b:.3f}  {b - a:+.3f}" for name, a, b in rows]
    return "\n".join(lines)


def _notes(args: argparse.Namespace, name: str, adapt: FinetuneConfig, figures: FinetuneScores) -> dict[str, Any]:
    """Facts on the training for the checkpoint's header."""
    from dataclasses import asdict

    return {"adapted_from": name, "clips": [c.name for c in args.clips], "adapt": asdict(adapt), "auc": asdict(figures)}


def _advance(bar: Any) -> None:
    bar.update()
