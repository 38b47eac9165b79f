"""Rooms that read words of a user: settings, overrides, recipes, command lines."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.bench import Bench, check_track
from tests.fuzz.hostile import (
    Rng,
    anything,
    damaged_bytes,
    damaged_text,
    word,
)
from tracker.settings import changed


def settings(bench: Bench, rng: Rng) -> None:
    """One setting of any section with any value; if it is taken, two frames are tracked with it."""
    from tracker import SiamTracker
    from tracker.cli.settings import sections
    from tracker.settings import fields_of

    cls = sections()[int(rng.integers(len(sections())))] if rng.random() < 0.4 else sections()[2]
    names = fields_of(cls)  # type: ignore[arg-type]
    given = {}
    for _ in range(int(rng.integers(1, 4))):
        name, _, facts = names[int(rng.integers(len(names)))]
        edge = [v for v in (facts.low, facts.high) if v is not None]
        given[name] = edge[int(rng.integers(len(edge)))] if edge and rng.random() < 0.4 else anything(rng)
        if (
            facts.low is not None
            and float(facts.low).is_integer()
            and isinstance(given[name], float)
            and rng.random() < 0.5
        ):
            with contextlib.suppress(ValueError, OverflowError):
                given[name] = int(given[name])
    made = cls(**given)
    if cls.__name__ == "TrackingConfig":
        base = bench.tracker if rng.random() < 0.7 else bench.classic
        if not made.calibration.confidence:
            made = changed(
                made,
                {
                    "calibration.confidence": base.config.calibration.confidence,
                    "calibration.verification": made.calibration.verification or base.config.calibration.verification,
                },
            )
        tracker = SiamTracker(base.model, base.engine, made)
        tracker.init(bench.frames[0], (20, 30, 28, 28))
        for frame in (*bench.frames[1:3], np.zeros_like(bench.frames[0]), bench.frames[3]):
            check_track(tracker.update(frame))


def overrides(bench: Bench, rng: Rng) -> None:
    """`--set` texts."""
    from tracker.config import load_config
    from tracker.training.config import train_config
    from tracker.training.data.build import pair_config

    keys = (
        "tracking.scales",
        "tracking.context",
        "model.energy",
        "name",
        "train",
        "train.losses.0.weight",
        "train.data",
        "tracking",
        "",
        "x",
    )
    keys += (
        "tracking.calibration.confidence",
        "model",
        "train.optim.learning_rate",
        ".",
        "a.b.c",
        "tracking..x",
        "train.data.material.sources",
    )
    text = keys[int(rng.integers(len(keys)))] + "=" + (word(rng) if rng.random() < 0.7 else str(rng.normal()))
    texts = [damaged_text(text, rng) if rng.random() < 0.4 else text for _ in range(int(rng.integers(1, 3)))]
    config = load_config(None, texts if rng.random() < 0.95 else anything(rng))
    if config.train:
        train_config(config.train)
        pair_config(config.train.get("data", {}))


def yaml(bench: Bench, rng: Rng) -> None:
    """A recipe with lines that are no yaml, or no recipe."""
    from tracker.config import load_config
    from tracker.training.config import train_config
    from tracker.training.data.build import pair_config

    path = bench.folder / "recipe.yaml"
    recipes = sorted((Path(__file__).parents[2]).glob("**/siamtrack-n.yaml"))
    text = recipes[0].read_text()
    if rng.random() < 0.8:
        path.write_bytes(damaged_text(text, rng).encode("utf-8", "surrogatepass"))
    else:
        path.write_bytes(damaged_bytes(text.encode(), rng))
    config = load_config(path if rng.random() < 0.95 else anything(rng))
    train_config(config.train)
    pair_config(config.train.get("data", {}))


COMMANDS = (
    "track live train prepare finetune ablate evaluate report tune export benchmark verify calibrate stress settings "
    "doctor"
).split()
OPTIONS = (
    "--box --model --config --set --device --engine --start-frame --max-frames --output --save-boxes --dataset --root "
    "--subset --sequences --workers --tracker --init-file --find --steps --seed --help --version --results --resume "
    "--check-zip --markdown --nonsense -x --"
).split()


def command_line(rng: Rng) -> list[str]:
    """The words of a command line that nobody could mean."""
    name = COMMANDS[int(rng.integers(len(COMMANDS)))] if rng.random() < 0.95 else word(rng)
    values = (
        "clip.mp4",
        "1,2,3,4",
        "1,2,3",
        "nan,0,0,0",
        "no/such/file",
        "siamtrack-n",
        "otb",
        "got10k",
        ".",
        "/dev/null",
        "-5",
        "tracking.scales=[",
    )
    words = [name]
    for _ in range(int(rng.integers(0, 6))):
        words.append(OPTIONS[int(rng.integers(len(OPTIONS)))])
        if rng.random() < 0.8:
            words.append(values[int(rng.integers(len(values)))] if rng.random() < 0.6 else word(rng))
    # What would look for cameras, draw windows or measure this machine for minutes is another matter than a wrong word.
    if name in ("live", "benchmark", "doctor"):
        words.append("--nonsense")
    return [w.replace("\x00", "").encode("utf-8", "replace").decode() for w in words]


def commands(bench: Bench, rng: Rng) -> None:
    """`siamtrack COMMAND ...` in this process."""
    import sys

    from tracker.cli.__main__ import main

    words = command_line(rng)
    argv, out, before = sys.argv, io.StringIO(), Path.cwd()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            os.chdir(bench.folder)  # contextlib.chdir needs Python 3.11
            sys.argv = ["siamtrack", *words]
            code: Any = main(words)
        except SystemExit as stop:
            code = stop.code
        finally:
            sys.argv = argv
            os.chdir(before)
    if code not in (0, 1, 2):
        raise AssertionError(f"exit code {code} of {words}")
