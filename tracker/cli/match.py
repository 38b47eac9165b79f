"""`match`: Siamese matchers of any modality - train, enrol known objects, verify, search, test, calibrate."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from tracker.cli.common import BAD_REQUEST, DONE, did_you_mean

COMMANDS = {
    "train": ("match_train", "train a matcher by a recipe"),
    "enrol": ("match_gallery", "add known things to a gallery"),
    "list": ("match_gallery", "what a gallery holds"),
    "forget": ("match_gallery", "take a thing out of a gallery"),
    "verify": ("match_verify", "whether two things are the same, or something is a known thing"),
    "search": ("match_search", "find known things in pictures, folders and videos"),
    "test": ("match_test", "measure a matcher: one-shot, verification, sentence similarity, placing"),
    "calibrate": ("match_test", "fit probabilities and thresholds to pictures of known classes"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Finds the subcommand and passes its arguments on."""
    args = list(sys.argv[1:] if argv is None else argv)
    program = os.path.basename(sys.argv[0]) or "siamtrack match"
    if not args or args[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
        print(
            "\n".join(
                [f"usage: {program} COMMAND ...", "", *lines, "", f"`{program} COMMAND --help` explains a command."]
            )
        )
        return DONE if args else BAD_REQUEST
    name, *rest = args
    if name not in COMMANDS:
        hint = did_you_mean(name, list(COMMANDS)) or f"; it is one of {', '.join(COMMANDS)}."
        sys.stderr.write(f"{program}: there is no command {name!r}{hint}\n")
        return BAD_REQUEST
    sys.argv[0] = f"{program} {name}"
    module = importlib.import_module(f"tracker.cli.{COMMANDS[name][0]}")
    # a function named `list` would hide the built-in in its module
    return int(getattr(module, "show" if name == "list" else name)(rest))
