"""`siamtrack settings`: every setting with its default, bounds, unit and meaning, from the dataclass fields."""

from __future__ import annotations

import argparse
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from tracker.cli.common import DONE, Parser, add_version
from tracker.errors import ConfigError
from tracker.files import suggest
from tracker.settings import Setting, default_of, fields_of, sections_of

HEAD = """# Settings

Every setting of a recipe or of `--set KEY=VALUE`. A value out of its bounds is refused when it is read. This page is
the output of `siamtrack settings --markdown`; `siamtrack settings tracking.redetection` prints a part of it in the
terminal.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of `settings`."""
    parser = Parser(
        description="Every setting of a recipe or of --set KEY=VALUE: default, bounds, unit and meaning.",
        epilog="Example: siamtrack settings tracking.online",
    )
    parser.add_argument(
        "prefix", nargs="?", default="", metavar="PREFIX", help="only settings whose name begins with or contains this"
    )
    parser.add_argument("--markdown", action="store_true", help="as the page docs/settings.md")
    add_version(parser)
    return parser


def sections() -> list[type]:
    """The configuration classes, in the order of a recipe."""
    from tracker.config import Config, TrackingConfig
    from tracker.model_config import ModelConfig
    from tracker.training.config import (
        FreezeConfig,
        LayerConfig,
        LossConfig,
        MiningConfig,
        OptimConfig,
        ScheduleConfig,
        TrainConfig,
    )
    from tracker.training.data.augment import AugmentConfig
    from tracker.training.data.cache import CacheConfig
    from tracker.training.data.device_moves import DeviceMoves
    from tracker.training.data.sampling import PairConfig
    from tracker.training.data.sources import DataConfig, SourceConfig
    from tracker.training.finetune import FinetuneConfig
    from tracker.training.validation import ValidationConfig

    training = [TrainConfig, LossConfig, MiningConfig, OptimConfig, LayerConfig, ScheduleConfig, FreezeConfig]
    material = [PairConfig, DeviceMoves, CacheConfig, DataConfig, SourceConfig, AugmentConfig, ValidationConfig]
    tracking = [cls for _, cls in sections_of(TrackingConfig)]
    return [Config, ModelConfig, *tracking, *training, *material, FinetuneConfig]


def rows(prefix: str = "") -> Iterator[tuple[str, Any, Setting]]:
    """(dotted key, default, setting) of each setting that is not a section."""
    for cls in sections():
        section: str = cls.section  # type: ignore[attr-defined]
        for name, kind, facts in fields_of(cls):  # type: ignore[arg-type]
            key = f"{section}.{name}" if section else name
            if (key.startswith(prefix) or prefix in key) and not hasattr(kind, "section"):
                yield key, default_of(cls, name), facts


def markdown() -> str:
    """The page docs/settings.md."""
    lines = [HEAD]
    for cls in sections():
        section: str = cls.section  # type: ignore[attr-defined]
        summary = " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split())
        lines += [
            f"## {section or 'top level'}",
            "",
            summary,
            "",
            "| setting | default | values | meaning |",
            "|---|---|---|---|",
        ]
        for name, kind, facts in fields_of(cls):  # type: ignore[arg-type]
            if not hasattr(kind, "section"):
                cells = [f"`{name}`", f"`{_value(default_of(cls, name))}`", _values(kind, facts), facts.help]
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | dict) and not value:
        return "{}" if isinstance(value, dict) else "[]"
    return f"{value:g}" if isinstance(value, float) else str(value) if value != "" else '""'


def _values(kind: Any, facts: Setting) -> str:
    if facts.bounds:
        return " ".join(filter(None, [facts.bounds, facts.unit]))
    return "true or false" if kind is bool else "text" if kind is str else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the settings."""
    args = build_parser().parse_args(argv)
    if args.markdown:
        print(markdown(), end="")
        return DONE
    found = list(rows(args.prefix))
    if not found:
        known = [key for key, _, _ in rows()]
        raise ConfigError(
            f"No setting is called {args.prefix!r}.{suggest(args.prefix, known)} `siamtrack settings` lists them all."
        )
    for key, default, facts in found:
        values = _values(None, facts)
        print(f"{key} = {_value(default)}" + (f"   ({values})" if values else ""))
        if facts.help:
            print(textwrap.fill(facts.help, 110, initial_indent="    ", subsequent_indent="    "))
    return DONE
