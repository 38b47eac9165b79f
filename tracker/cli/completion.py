"""`siamtrack completion SHELL`: a script for Tab completion of commands, options and file names."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from tracker.cli.common import DONE, HelpFormatter, Parser, RawEpilog, add_version
from tracker.errors import SiamTrackError

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
EPILOG = """\
  bash:  siamtrack completion bash > ~/.local/share/bash-completion/completions/siamtrack
  zsh:   siamtrack completion zsh > ~/.zfunc/_siamtrack     (~/.zshrc: fpath+=~/.zfunc; autoload -U compinit; compinit)
  fish:  siamtrack completion fish > ~/.config/fish/completions/siamtrack.fish
"""


def build_parser() -> Parser:
    """The options of `siamtrack completion`."""
    parser = Parser(
        description="Print a script that completes the commands and options of siamtrack in a shell.",
        epilog=EPILOG,
        formatter_class=RawEpilog,
    )
    parser.add_argument("shell", choices=SHELLS, help="for which shell")
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the script; returns the exit code."""
    args = build_parser().parse_args(argv)
    if importlib.util.find_spec("shtab") is None:
        raise SiamTrackError(
            "Completion needs the package shtab, which is not installed; `pip install shtab` adds it (the extra "
            "`completion` holds it)."
        )
    import shtab

    if args.shell not in shtab.SUPPORTED_SHELLS:
        raise SiamTrackError(
            f"The installed shtab {shtab.__version__} makes no script for {args.shell}; "
            "`pip install -U shtab` brings one that does."
        )
    print(shtab.complete(whole_parser(), args.shell))
    return DONE


def whole_parser() -> argparse.ArgumentParser:
    """One parser of all commands, used only as a description; it is never run."""
    from tracker.cli.__main__ import available

    whole = argparse.ArgumentParser("siamtrack", description="Follow what is in a box through a video.")
    whole.add_argument("--version", action="store_true", help="print the version and exit")
    commands = whole.add_subparsers(dest="command")
    for name, text in available().items():
        module = importlib.import_module(f"tracker.cli.{name}")
        made = commands.add_parser(name, help=text, description=text, formatter_class=HelpFormatter)
        if hasattr(module, "build_parser"):
            copy_options(module.build_parser(), made)
        else:  # a command with subcommands
            family = made.add_subparsers(dest="subcommand")
            for inner, (_, said) in module.COMMANDS.items():
                family.add_parser(inner, help=said, description=said)
    return whole


def copy_options(source: argparse.ArgumentParser, target: argparse.ArgumentParser) -> None:
    """The options of a command, with the kind of file name that each takes."""
    import shtab

    for action in source._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        metavar = str(action.metavar or "")
        if not action.choices and (action.type is Path or action.dest in ("source", "sources", "model", "clip")):
            folder = "DIR" in metavar and "FILE" not in metavar
            action.complete = shtab.DIRECTORY if folder else shtab.FILE  # type: ignore[attr-defined]
        target._add_action(action)
