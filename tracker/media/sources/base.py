"""The interface of frame sources, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TypeVar

from tracker.types import Frame, VideoInfo

S = TypeVar("S", bound="Source")


class Source(ABC):
    """Frames in order, until StopIteration ("ended") or SourceError ("failed in the middle").

    Attributes:
        info: Properties of the source.
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
        """Releases file, thread or camera; safe to call twice. Does nothing unless a subclass overrides it."""
