"""Output files of a search of tracking settings: a configuration with its provenance, and all trials as json."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

from tracker.evaluation.tuning.plan import Tuning
from tracker.files import write_atomic
from tracker.metrics.bootstrap import Interval
from tracker.metrics.result_store import plain
from tracker.settings import flat


def interval_text(gain: Interval, digits: int = 4) -> str:
    """`+0.0123 [+0.0010, +0.0240]`, or without the interval where there is none."""
    if not gain.count:
        return "none"
    ends = f" [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}]" if gain.known else ""
    return f"{gain.value:+.{digits}f}{ends}"


def score_lines(tuning: Tuning) -> list[str]:
    """Scores before and after on both splits, the gains and the warnings, one sentence a line."""
    what = {"ao": "AO (mean IoU, frame 1 left out)", "auc": "success AUC (frame 1 left out)"}[tuning.search.metric]
    lines = [f"{what}, mean over sequences; gains with 95 % bootstrap intervals over sequences:"]
    for split, title in (("validation", "validation"), ("holdout", "hold-out")):
        before, after = list(tuning.before[split].values()), list(tuning.after[split].values())
        if before:
            means = f"{sum(before) / len(before):.4f} -> {sum(after) / len(after):.4f}"
            lines.append(f"  {title} ({len(before)} sequences): {means}, gain {interval_text(tuning.gain(split))}")
    if tuning.before["holdout"]:
        lines.append(f"  gain on validation - gain on hold-out: {interval_text(tuning.gap)}")
    return lines + [f"WARNING: {text}" for text in tuning.warnings]


def config_yaml(tuning: Tuning, provenance: Mapping[str, str]) -> str:
    """The configuration: the searched settings under `tracking:`, their provenance as comments above.

    Args:
        tuning: The result.
        provenance: Further facts (date, versions, machine, data, command), shown in this order.
    """
    search, split = tuning.search, tuning.search.split
    pruned = sum(t.state == "pruned" for t in tuning.trials)
    facts = {
        **provenance,
        "model": search.model,
        "metric": search.metric,
        "seed": str(search.seed),
        "trials": f"{len(tuning.trials)}, of which {pruned} pruned; the best is number {tuning.best.number}",
        "searched": ", ".join(f"{k} in [{r.low:g}, {r.high:g}]" for k, r in search.space.items()),
        "frames": f"the first {search.max_frames} of each sequence" if search.max_frames else "all",
        "validation": ", ".join(sorted(split.validation)),
        "hold-out": ", ".join(sorted(split.holdout)) or "none",
    }
    lines = [
        "Tracking constants found by `siamtrack tune`. Use them with --config THIS_FILE; what isn't listed "
        "stays as the model has it.",
        "",
    ]
    for key, value in facts.items():
        lines += textwrap.wrap(
            f"{key}: {value}", 130, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
    lines += ["", *score_lines(tuning)]
    comments = "\n".join(f"# {line}".rstrip() for line in lines)
    before, values, section = flat(search.start), ["tracking:"], ""
    for key in sorted(tuning.best.constants, key=lambda k: ("." in k, k.rpartition(".")[0])):
        within, _, name = key.rpartition(".")
        if within != section:
            values.append(f"  {within}:")
        section = within
        indent = "    " if within else "  "
        values.append(f"{indent}{name}: {tuning.best.constants[key]!r}  # before: {before[key]!r}")
    return "\n".join([comments, "", *values, ""])


def trials_json(tuning: Tuning, provenance: Mapping[str, str]) -> str:
    """Everything as json: trials with their scores per sequence, both splits before and after, gains and warnings."""
    table = {
        "provenance": {**provenance, "model": tuning.search.model},
        "search": json.loads(tuning.search.key),
        "best": {"number": tuning.best.number, "constants": tuning.best.constants},
        "before": tuning.before,
        "after": tuning.after,
        "gain": {split: tuning.gain(split).facts for split in ("validation", "holdout")},
        "gap": tuning.gap.facts,
        "warnings": tuning.warnings,
        "seconds": round(tuning.seconds, 1),
        "trials": [
            {
                "number": t.number,
                "state": t.state,
                "score": t.score,
                "constants": t.constants,
                "scores": t.scores,
            }
            for t in tuning.trials
        ],
    }
    return json.dumps(plain(table), indent=1, allow_nan=False) + "\n"


def write_tuning(path: Path, tuning: Tuning, provenance: Mapping[str, str]) -> tuple[Path, Path]:
    """Write PATH (yaml) and PATH with the suffix .json beside it, atomically.

    Returns:
        Both paths.
    """
    write_atomic(path, config_yaml(tuning, provenance))
    record = path.with_suffix(".json")
    write_atomic(record, trials_json(tuning, provenance))
    return path, record
