"""Shared by all commands: an argument parser with one-sentence errors, exit codes, and common option types.

Exit codes of all commands:
    0    done
    1    failed in the middle (a stream broke off, a disk filled up); what was written until then is valid and reported
    2    a request that can't be served; nothing was written
    130  stopped by Ctrl-C, 143 by SIGTERM; outputs are valid up to the last finished frame
    141  what the command prints was its result, and the reader went away (`| head -1`)
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

from tracker._version import __version__
from tracker.cli.streams import Survivor, drop_stdout, open_standard_streams
from tracker.errors import SiamTrackError
from tracker.files import nearest_word

DONE, FAILED_MIDWAY, BAD_REQUEST, INTERRUPTED, TERMINATED, CUT_OFF = 0, 1, 2, 130, 143, 141
DEBUG_VARIABLE = "SIAMTRACK_DEBUG"


class Terminated(BaseException):
    """SIGTERM as an exception, so that open files are closed as after Ctrl-C."""


class HelpFormatter(argparse.HelpFormatter):
    """Adds "(default: X)" if the default is informative."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help, action.default
        given = not text or "(default" in text or "%(default)" in text
        if text and not given and default not in (None, False, True, "", [], (), argparse.SUPPRESS):
            text += f" (default: {' '.join(map(str, default)) if isinstance(default, list) else '%(default)s'})"
        return text


class RawEpilog(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of description and epilog."""


class StoreOnce(argparse._StoreAction):
    """An option that names a target or output: giving it twice is an error, whereas of other options the last one
    counts."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given = parser.given if isinstance(parser, Parser) and self.option_strings else {}
        if given.setdefault(self.dest, values) != values:
            parser.error(f"{option_string} is given twice ({given[self.dest]} and {values}); give it once")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one sentence, with a suggestion for an unknown option."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("prog", os.path.basename(sys.argv[0]) or "siamtrack")
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.given: dict[str, Any] = {}

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        self.given = {}
        given = join_negative_values(sys.argv[1:] if args is None else args, self._option_string_actions)
        # Intermixed: `key=value` arguments may come before and after options.
        parsed, unknown = self.parse_known_intermixed_args(given, namespace)
        if unknown:
            options = [text for text in unknown if text.startswith("-")]
            word = (options or unknown)[0].split("=")[0]
            hint = did_you_mean(word, self._option_string_actions) if options else ""
            if os.path.exists(word):
                hint = f"; to name the file of that name, write ./{word}"
            self.error(f"there is no option {word!r} here{hint}" if options else f"one argument too many: {word!r}")
        return parsed

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)  # argparse's own method ignores write errors

    def error(self, message: str) -> NoReturn:
        sentence = message if message.endswith((".", "?")) else f"{message}."
        sys.stderr.write(f"{self.prog}: {sentence} (--help lists the options.)\n")
        raise SystemExit(BAD_REQUEST)


def join_negative_values(args: Sequence[str], options: Sequence[str] | dict[str, argparse.Action]) -> list[str]:
    """`--box -5,10,20,20` -> `--box=-5,10,20,20`: argparse would otherwise parse the value as an option."""
    out: list[str] = []
    for text in args:
        if (
            out
            and out[-1] in options
            and out[-1].startswith("--")
            and len(text) > 1
            and text[0] == "-"
            and text[1] in "0123456789."
        ):
            out[-1] += "=" + text
        else:
            out.append(text)
    return out


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "X"?` for the most similar known word, or nothing if none is similar."""
    near = nearest_word(word, known)
    return f"; did you mean {near!r}?" if near else ""


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Runs a command and turns its errors into a sentence on stderr and an exit code.

    Args:
        main: The command's `main(argv) -> int`.
        argv: Its arguments; None: those of the process.

    Returns:
        The exit code (see the module's docstring). Any other exception is a bug and keeps its traceback; with the
        environment variable SIAMTRACK_DEBUG=1 a user's error shows its traceback too.
    """
    open_standard_streams()
    console, sys.stderr = sys.stderr, cast("TextIO", Survivor(sys.stderr))
    # Process-wide settings are made here, once, before there are threads; library code makes none.
    _one_blas_thread()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    previous = {number: _on_signal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        try:
            code = main(argv)
        except SystemExit:  # after --help: a failed write must not count as success
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return code
    except SiamTrackError as error:
        return _report(str(error), error)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "tracker"):
            raise
        return _report(
            f"The package {package!r} is needed for this and is not installed; `pip install {package}` adds it.", error
        )
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader of our stdout has closed it (`| head`)
            drop_stdout()
            say_error("The reader of the output went away before its end, so the command stopped.")
            return CUT_OFF
        where = f"{error.filename}: " if error.filename else ""
        return _report(f"{where}{error.strerror or error}.", error)
    except KeyboardInterrupt:
        say_error("Stopped by Ctrl-C.")
        return INTERRUPTED
    except Terminated:
        say_error("Stopped by SIGTERM.")
        return TERMINATED
    finally:
        for number, handler in previous.items():
            if handler is not None:
                signal.signal(number, handler)
        sys.stderr = console


def _one_blas_thread() -> None:
    """See `one_blas_thread`, which has to import numpy; if numpy isn't imported yet, an environment variable has the
    same effect."""
    if "numpy" in sys.modules:
        from tracker.runtime.processor import one_blas_thread

        one_blas_thread()
    elif not os.environ.get("OMP_NUM_THREADS"):
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
            os.environ.setdefault(name, "1")


def entry(name: str, argv: Sequence[str] | None = None) -> int:
    """Runs the command `tracker.cli.NAME` for the tools and `siamtrack`; see `run`."""
    return run(lambda rest: importlib.import_module(f"tracker.cli.{name}").main(rest), argv)


def _on_signal(number: int) -> Any:
    """Sets a signal handler and returns the previous one, or None if that isn't possible (another thread) or the signal
    is ignored (nohup)."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(number) is signal.SIG_IGN:
        return None
    return signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    """Handles SIGTERM and Ctrl-C.

    Some packages catch every exception while they are imported (OpenCV: `except: pass`), so an exception would be
    swallowed and the job would continue. Outputs are valid at any moment, so during an import the process exits at
    once.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            interrupted = number == signal.SIGINT
            say_error("Stopped by Ctrl-C." if interrupted else "Stopped by SIGTERM.")
            children = sys.modules.get("multiprocessing.process")
            for child in children.active_children() if children else ():
                child.terminate()
            os._exit(INTERRUPTED if interrupted else TERMINATED)
        frame = frame.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated


def end_with_parent(seconds: float = 2.0) -> None:
    """For worker processes: exit as soon as the parent process is gone, however it ended (kill -9)."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os._exit(FAILED_MIDWAY)

    threading.Thread(target=watch, name="siamtrack-parent", daemon=True).start()


def say_error(sentence: str) -> None:
    """Prints one sentence on stderr, after the name of the command."""
    sys.stderr.write(f"{os.path.basename(sys.argv[0]) or 'siamtrack'}: {' '.join(sentence.split())}\n")


def _report(sentence: str, error: Exception) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        raise error
    say_error(sentence)
    return BAD_REQUEST


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Parses `x,y,w,h` into four floats, for `type=` of an option.

    Raises:
        argparse.ArgumentTypeError: Not four numbers.
    """
    try:
        x, y, w, h = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a box: four numbers x,y,w,h in pixels are needed (left, top, width, height), for "
            "example 10,20,64,48"
        ) from None
    return x, y, w, h


def whole_number(low: int) -> Callable[[str], int]:
    """A `type=` for integers of at least `low`."""

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


def add_version(parser: argparse.ArgumentParser) -> None:
    """--version."""
    parser.add_argument("--version", action="version", version=f"siamtrack {__version__}")
