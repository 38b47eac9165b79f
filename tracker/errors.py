"""What goes wrong because of what a user gave us, as sentences."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class SiamTrackError(Exception):
    """A user's mistake or a user's machine: the message names the value, the reason and the next step.

    The command lines print the message alone and exit with code 2; they never show a traceback for it.
    """


class ConfigError(SiamTrackError):
    """A configuration file or override that can't be used."""


class SourceError(SiamTrackError):
    """A source of frames that can't be opened ("cannot open") or that failed after it was opened ("failed in the
    middle").

    Attributes:
        passing: Whether trying again in some seconds may help (nothing answers yet: a camera that is still starting).
    """

    def __init__(self, message: str = "", *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class BoxError(SiamTrackError, ValueError):
    """A box that can't be tracked: not four finite numbers, no area, or outside the frame."""


class ImageError(SiamTrackError, ValueError):
    """An image of a shape or type that the trackers can't read."""


class WeightsError(SiamTrackError):
    """A checkpoint that is missing, damaged or made for another model."""


class DeviceError(SiamTrackError):
    """A compute device that is absent, without driver, or out of memory."""


class OutputError(SiamTrackError):
    """A path that can't be written, or that exists and would be overwritten."""


class TrainingError(SiamTrackError):
    """A training run that can't go on: a loss that is not finite, a batch that can't be made."""


@contextlib.contextmanager
def reading(sentence: Callable[[str], SiamTrackError]) -> Iterator[None]:
    """A block that takes apart what a user gave (a file, a text): whatever goes wrong in it means that this is damaged.

    Decoders of zip, npy, json, yaml and pickled tensors raise nearly anything on damaged bytes, down to
    NotImplementedError and MemoryError, and no list of types stays complete. Keep the block to reading and checking;
    the cause stays in `__cause__`.

    Args:
        sentence: Makes the error from the reason in one line.

    Raises:
        SiamTrackError: What `sentence` makes, for any exception but one that is a SiamTrackError already or a missing
            package.
    """
    try:
        yield
    except (SiamTrackError, ImportError):
        raise
    except Exception as error:
        raise sentence(reason(error)) from error


def reason(error: Exception) -> str:
    """What an exception says, in one line of at most 200 characters; its kind where it says nothing, or only a key."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = " ".join(str(error).split())[:200]
    return f"{type(error).__name__} {lines}".strip() if isinstance(error, KeyError) or not lines else lines


def shown(value: Any, most: int = 80) -> str:
    """A value as an error shows it: its `repr` in one line, cut; only its type where it has none."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a whole number of 5,000 digits, or anybody's __repr__
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def misfit(path: Path | None, error: Exception | str) -> WeightsError:
    """The sentence for arrays that don't fit their configuration."""
    reason = " ".join(str(error).split())[:300]
    return WeightsError(f"The checkpoint {path or 'in memory'} does not fit its model configuration: {reason}")
