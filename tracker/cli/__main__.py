"""`siamtrack COMMAND ...`: dispatches to all tools. Imports only the requested command."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from tracker._version import __version__
from tracker.cli.common import BAD_REQUEST, DONE, did_you_mean, entry, run

COMMANDS = {
    "track": "follow a target through a video, a folder of images or a stream",
    "live": "follow a target in a camera or stream, always in the newest frame",
    "serve": "follow targets in many streams at once",
    "annotate": "draw a few boxes, have the rest tracked, export to what people use",
    "effort": "how many boxes a person must draw in `annotate`, simulated",
    "doctor": "what works on this machine, and what is off and why",
    "completion": "complete commands and options in bash, zsh or fish",
    "train": "train a model",
    "prepare": "cut and cache training crops",
    "finetune": "adapt a model to your own object",
    "ablate": "train each energy with each loss and tabulate them",
    "evaluate": "measure trackers on a benchmark",
    "report": "draw the results of evaluations as one page",
    "tune": "search the tracking settings on a validation split",
    "export": "write a model as ONNX or TorchScript",
    "benchmark": "where every millisecond goes",
    "verify": "how alike two crops are",
    "match": "is this the same thing? matchers, galleries, search",
    "calibrate": "fit the score of a model on disturbed clips",
    "crossval": "score and states of a model on clips that they were not fitted on",
    "findtest": "how often a known target is found, and a look-alike taken for it",
    "settings": "every setting: default, bounds, unit, meaning",
    "stress": "how reliable score and states are on a target that is gone",
}


def available() -> dict[str, str]:
    """The commands whose module is installed, with their one-line descriptions."""
    return {name: text for name, text in COMMANDS.items() if importlib.util.find_spec(f"tracker.cli.{name}")}


def main(argv: Sequence[str] | None = None) -> int:
    """Finds the command and passes its arguments on."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["--version"]:
        return _say(f"siamtrack {__version__}")
    if not args or args[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {name:<{width}}  {text}" for name, text in available().items()]
        text = ["usage: siamtrack COMMAND ...", "", *lines, "", "`siamtrack COMMAND --help` explains a command."]
        code = _say("\n".join(text))
        return code if args else code or BAD_REQUEST
    name, *rest = args
    if name not in available():
        hint = did_you_mean(name, list(available())) or f"; it is one of {', '.join(available())}."
        return _say(f"siamtrack: there is no command {name!r}{hint}", BAD_REQUEST)
    sys.argv[0] = f"siamtrack {name}"
    return entry(name, rest)


def _say(text: str, code: int = DONE) -> int:
    """Prints a text, to stderr with an exit code; a full disk or a closed pipe gives an error message here too."""

    def say(argv: Sequence[str] | None) -> int:
        print(text, file=sys.stderr if code else sys.stdout)
        return code

    return run(say)


if __name__ == "__main__":
    raise SystemExit(main())
