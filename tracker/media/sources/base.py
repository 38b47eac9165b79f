"""What a source of frames is, and what all of them share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar, runtime_checkable

from tracker.types import Frame, VideoInfo

S = TypeVar("S")


@runtime_checkable
class Source(Protocol):
    """Frames in order, until StopIteration ("ended") or SourceError ("failed in the middle")."""

    @property
    def info(self) -> VideoInfo: ...

    def __enter__(self: S) -> S: ...

    def __exit__(self, *exc: object) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...

    def __next__(self) -> Frame: ...

    def close(self) -> None:
        """Give back file, thread or camera; safe to call twice."""
        ...


class SourceBase:
    """Context manager and iterator, for the sources to inherit."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        raise StopIteration

    def close(self) -> None:
        """Nothing to give back unless a subclass says so."""
