"""What a source of frames is, and what all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TypeVar

from tracker.types import Frame, VideoInfo

S = TypeVar("S", bound="Source")


class Source(ABC):
    """Frames in order, until StopIteration ("ended") or SourceError ("failed in the middle").

    Attributes:
        info: What is known of it.
    """

    info: VideoInfo

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self

    @abstractmethod
    def __next__(self) -> Frame: ...

    def close(self) -> None:  # noqa: B027 (not all have something)
        """Give back file, thread or camera; safe to call twice. Nothing to give back unless a subclass says so."""
