"""What every command line shares: a parser that answers in one sentence, exit codes, and the options that name a model.

Exit codes of all commands:
    0    done
    1    failed in the middle (a stream broke off, a disk filled up); what was written until then is valid and reported
    2    a request that can't be served; nothing was written
    130  stopped by Ctrl-C, 143 by SIGTERM; outputs are valid up to the last finished frame
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tracker._version import __version__
from tracker.errors import DeviceError, SiamTrackError

if TYPE_CHECKING:
    from tracker.tracking.tracker import SiamTracker

DONE, FAILED_MIDWAY, BAD_REQUEST, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
DEFAULT_MODEL = "siamtrack-s"
DEBUG_VARIABLE = "SIAMTRACK_DEBUG"


class Terminated(BaseException):
    """SIGTERM, turned into an exception so that open files are closed the way Ctrl-C closes them."""


class HelpFormatter(argparse.HelpFormatter):
    """Adds "(default: X)" where there is a default worth knowing."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if text and "%(default)" not in text and action.default not in (None, False, True, [], (), argparse.SUPPRESS):
            text += " (default: %(default)s)"
        return text


class RawEpilog(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of description and epilog as they are written."""


class StoreOnce(argparse._StoreAction):
    """An option that names what to follow or write: a second one is refused, where of other options the last one counts."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        given = parser.given if isinstance(parser, Parser) and self.option_strings else {}
        if given.setdefault(self.dest, values) != values:
            parser.error(f"{option_string} is given twice ({given[self.dest]} and {values}); give it once")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one sentence, with a guess at what was meant by an unknown option."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("prog", os.path.basename(sys.argv[0]) or "siamtrack")
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.given: dict[str, Any] = {}

    def parse_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None) -> argparse.Namespace:  # type: ignore[override]
        self.given = {}
        given = join_negative_values(sys.argv[1:] if args is None else args, self._option_string_actions)
        # Intermixed: `key=value` words may stand before and after options.
        parsed, unknown = self.parse_known_intermixed_args(given, namespace)
        if unknown:
            options = [text for text in unknown if text.startswith("-")]
            word = (options or unknown)[0].split("=")[0]
            hint = did_you_mean(word, self._option_string_actions) if options else ""
            self.error(f"there is no option {word!r} here{hint}" if options else f"one argument too many: {word!r}")
        return parsed

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message.rstrip('.')}. (--help lists the options.)\n")
        raise SystemExit(BAD_REQUEST)


def join_negative_values(args: Sequence[str], options: Sequence[str] | dict[str, argparse.Action]) -> list[str]:
    """`--box -5,10,20,20` -> `--box=-5,10,20,20`: argparse would take the value for an option otherwise."""
    out: list[str] = []
    for text in args:
        if out and out[-1] in options and out[-1].startswith("--") and len(text) > 1 and text[0] == "-" and text[1] in "0123456789.":
            out[-1] += "=" + text
        else:
            out.append(text)
    return out


def did_you_mean(word: str, known: Sequence[str] | dict[str, argparse.Action]) -> str:
    """`; did you mean "X"?` for the closest known word, or nothing if none is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a command line and turn what stops it into a sentence on stderr and an exit code.

    Args:
        main: The command's `main(argv) -> int`.
        argv: Its arguments; None takes them from the process.

    Returns:
        The exit code (see the module's docstring). Any other exception is a bug of ours and keeps its traceback; with
        the environment variable SIAMTRACK_DEBUG=1 a user's error shows its traceback too.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    previous = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        return main(argv)
    except SiamTrackError as error:
        return _report(str(error), error)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "tracker"):
            raise
        return _report(f"The package {package!r} is needed for this and is not installed; `pip install {package}` adds it.", error)
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader of our stdout went away (`| head`): nothing to say
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        where = f"{error.filename}: " if error.filename else ""
        return _report(f"{where}{error.strerror or error}.", error)
    except KeyboardInterrupt:
        say_error("Stopped by Ctrl-C.")
        return INTERRUPTED
    except Terminated:
        say_error("Stopped by SIGTERM.")
        return TERMINATED
    finally:
        signal.signal(signal.SIGTERM, previous)


def _on_sigterm(number: int, frame: object) -> None:
    raise Terminated


def say_error(sentence: str) -> None:
    """One sentence on stderr, after the name of the command."""
    sys.stderr.write(f"{os.path.basename(sys.argv[0]) or 'siamtrack'}: {' '.join(sentence.split())}\n")


def _report(sentence: str, error: Exception) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        raise error
    say_error(sentence)
    return BAD_REQUEST


def parse_box(text: str) -> tuple[float, float, float, float]:
    """`x,y,w,h` as typed -> four floats, for `type=` of an option.

    Raises:
        argparse.ArgumentTypeError: Not four numbers.
    """
    try:
        x, y, w, h = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a box: four numbers x,y,w,h in pixels are needed (left, top, width, height), for example 10,20,64,48"
        ) from None
    return x, y, w, h


def whole_number(low: int) -> Callable[[str], int]:
    """A `type=` for whole numbers of at least `low`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {low}")
        return value

    return parse


def positive_seconds(text: str) -> float:
    """A `type=` for a duration above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """--model, --config, --set, --device, --engine: which tracker to build (see `load_tracker`)."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|FILE", help="shipped model or a checkpoint file")
    group.add_argument("--config", type=Path, metavar="FILE.yaml", help="settings of the tracker; without it, those stored with the model")
    group.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting, for example tracking.window_influence=0.3; may be repeated",
    )
    group.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]", help="where the network runs; auto takes CUDA when present")
    group.add_argument("--engine", default="auto", metavar="auto|NAME", help="what runs the network, for example torch or onnxruntime")


def add_version(parser: argparse.ArgumentParser) -> None:
    """--version."""
    parser.add_argument("--version", action="version", version=f"siamtrack {__version__}")


def check_model_options(args: argparse.Namespace) -> None:
    """Find mistakes in the model options that need no torch to be seen: unknown model, missing file, unknown setting.

    Raises:
        WeightsError, ConfigError, DeviceError: What is wrong, as a sentence.
    """
    from tracker.config import load_config
    from tracker.model.zoo import find_weights

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise DeviceError(f"The device {args.device!r} is unknown; it is auto, cpu, cuda or cuda:N.")
    find_weights(args.model)
    load_config(args.config, args.overrides)


LIVE_BUDGET_MS = 40
"""Milliseconds of search for a LOST target in a frame of a live source; files are searched without a limit, so that runs repeat."""


def load_tracker(args: argparse.Namespace, live: bool = False) -> SiamTracker:
    """The tracker that the options of `add_model_options` describe.

    Args:
        args: Parsed options.
        live: Frames don't wait: the search for a LOST target is limited in time, unless the options say how.
    """
    from tracker.tracking.tracker import SiamTracker

    overrides = list(args.overrides)
    if live and args.config is None:
        overrides.insert(0, f"tracking.redetect_budget_ms={LIVE_BUDGET_MS}")
    return SiamTracker.from_pretrained(args.model, args.device, engine=args.engine, config=args.config, overrides=overrides)
