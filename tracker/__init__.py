"""SiamTrack: point at something in a video once, and the program follows it.

The public door. Everything is imported when it is first asked for, so that `import tracker` stays quick and needs
neither torch nor a display.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tracker._version import __version__

if TYPE_CHECKING:
    from tracker.errors import SiamTrackError
    from tracker.loop import track
    from tracker.matching.gallery import Gallery
    from tracker.matching.matcher import Matcher
    from tracker.media.sources.open import open_source
    from tracker.model.checkpoint import load_model
    from tracker.tracking.tracker import SiamTracker
    from tracker.types import Frame, Track, TrackState, VideoInfo

_HOMES = {
    "SiamTracker": "tracker.tracking.tracker",
    "Track": "tracker.types",
    "TrackState": "tracker.types",
    "Frame": "tracker.types",
    "VideoInfo": "tracker.types",
    "SiamTrackError": "tracker.errors",
    "load_model": "tracker.model.checkpoint",
    "open_source": "tracker.media.sources.open",
    "track": "tracker.loop",
    "Matcher": "tracker.matching.matcher",
    "Gallery": "tracker.matching.gallery",
}

__all__ = [
    "Frame",
    "Gallery",
    "Matcher",
    "SiamTrackError",
    "SiamTracker",
    "Track",
    "TrackState",
    "VideoInfo",
    "__version__",
    "load_model",
    "open_source",
    "track",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tracker' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
