"""Exceptions for mistakes of the user and of the environment; their messages are sentences."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class SiamTrackError(Exception):
    """A mistake of the user or a limitation of the machine: the message names the value, the reason and the next step.

    The command lines print the message alone and exit with code 2; they never show a traceback for it.
    """


class ConfigError(SiamTrackError):
    """A configuration file or override that can't be used."""


class SourceError(SiamTrackError):
    """A source of frames that can't be opened ("cannot open") or that failed after it was opened ("failed in the
    middle").

    Attributes:
        passing: Whether the failure may be temporary, so that trying again can help (for example a camera that is still
            starting).
    """

    def __init__(self, message: str = "", *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class BoxError(SiamTrackError, ValueError):
    """A box that can't be tracked: not four finite numbers, no area, or outside the frame."""


class ImageError(SiamTrackError, ValueError):
    """An image with a shape or type that the trackers don't accept."""


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
    """Context manager around code that parses a user's file or text: any exception inside means that the input is
    damaged.

    Decoders of zip, npy, json, yaml and pickled tensors raise nearly any exception on damaged bytes, including
    NotImplementedError and MemoryError, so no list of types is complete. Keep the block to reading and checking; the
    original exception is kept in `__cause__`.

    Args:
        sentence: Builds the error from the reason, which is one line.

    Raises:
        SiamTrackError: The error that `sentence` builds, for any exception except a SiamTrackError or a missing
            package.
    """
    try:
        yield
    except (SiamTrackError, ImportError):
        raise
    except Exception as error:
        raise sentence(reason(error)) from error


def reason(error: Exception) -> str:
    """The message of an exception in one line of at most 200 characters; its type if the message is empty or only a
    key."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = " ".join(str(error).split())[:200]
    return f"{type(error).__name__} {lines}".strip() if isinstance(error, KeyError) or not lines else lines


def shown(value: Any, most: int = 80) -> str:
    """The `repr` of a value in one line, truncated, for an error message; only the type if `repr` fails."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of 5,000 digits, or any class's __repr__
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def misfit(path: Path | None, error: Exception | str) -> WeightsError:
    """The error message for arrays that don't match their configuration."""
    reason = " ".join(str(error).split())[:300]
    return WeightsError(f"The checkpoint {path or 'in memory'} does not fit its model configuration: {reason}")
