"""What goes wrong because of what a user gave us, as sentences."""

from __future__ import annotations


class SiamTrackError(Exception):
    """A user's mistake or a user's machine: the message names the value, the reason and the next step.

    The command lines print the message alone and exit with code 2; they never show a traceback for it.
    """


class ConfigError(SiamTrackError):
    """A configuration file or override that can't be used."""


class SourceError(SiamTrackError):
    """A source of frames that can't be opened ("cannot open") or that failed after it was opened ("failed in the middle").

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
