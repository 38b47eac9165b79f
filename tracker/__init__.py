"""SiamTrack: point at something in a video once, and the program follows it.

The public API. Every name is imported on first access, so `import tracker` is fast and needs neither torch nor a
display.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tracker._version import __version__

if TYPE_CHECKING:
    from tracker.config import TrackingConfig
    from tracker.errors import SiamTrackError
    from tracker.loop import track
    from tracker.loop import track as track_video
    from tracker.matching.gallery import Gallery
    from tracker.matching.matcher import Matcher
    from tracker.media.sources.open import open_source
    from tracker.model.checkpoint import load_model
    from tracker.model.checkpoint import shipped_models as list_models
    from tracker.tracking.multi import MultiTracker
    from tracker.tracking.template_memory import KnownTarget, load_target
    from tracker.tracking.tracker import SiamTracker
    from tracker.types import Frame, Track, TrackState, VideoInfo

_HOMES = {
    "Frame": "tracker.types",
    "KnownTarget": "tracker.tracking.template_memory",
    "MultiTracker": "tracker.tracking.multi",
    "SiamTrackError": "tracker.errors",
    "SiamTracker": "tracker.tracking.tracker",
    "Track": "tracker.types",
    "TrackState": "tracker.types",
    "TrackingConfig": "tracker.config",
    "VideoInfo": "tracker.types",
    "list_models": "tracker.model.checkpoint:shipped_models",
    "load_model": "tracker.model.checkpoint",
    "load_target": "tracker.tracking.template_memory",
    "open_source": "tracker.media.sources.open",
    "track": "tracker.loop",
    "Matcher": "tracker.matching.matcher:Matcher",
    "Gallery": "tracker.matching.gallery:Gallery",
    "track_video": "tracker.loop:track",
}

__all__ = [
    "Frame",
    "Gallery",
    "KnownTarget",
    "Matcher",
    "MultiTracker",
    "SiamTrackError",
    "SiamTracker",
    "Track",
    "TrackState",
    "TrackingConfig",
    "VideoInfo",
    "__version__",
    "list_models",
    "load_model",
    "load_target",
    "open_source",
    "track",
    "track_video",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, _, other = _HOMES[name].partition(":")
        return getattr(importlib.import_module(module), other or name)
    raise AttributeError(f"module 'tracker' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
