"""The tracker as a matcher: its template embedding compares a thing as a whole, by quarters and cell by cell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import ConfigError
from tracker.matching.calibration import Calibration
from tracker.matching.inputs import Region, Sample, open_picture
from tracker.matching.store import WEIGHTS
from tracker.tracking.embedding import embed_views, view_of
from tracker.tracking.observer import Observer
from tracker.tracking.tracker import SiamTracker, fingerprint

EMBEDDING = "pyramid-1-2-cells"
"""How a template becomes a vector (`tracker.tracking.embedding.pyramid`)."""


def tracker_encoder(tracker: SiamTracker) -> Callable[[int, Sequence[Any]], NDArray[np.float32]]:
    """The template embedding of a tracker as the encoder of a matcher: (side, things) -> one row for each."""

    def encode(side: int, items: Sequence[Any]) -> NDArray[np.float32]:
        return embed_views(tracker.observer, [_view(tracker.observer, item) for item in items])

    return encode


def embedding_mark(tracker: SiamTracker) -> str:
    """What a gallery is bound to: the weights, and how their maps become a vector."""
    return hashlib.sha256(f"{fingerprint(tracker.model)}:{EMBEDDING}".encode()).hexdigest()


def _view(observer: Observer, item: Any) -> Any:
    if isinstance(item, Region):
        return view_of(observer, open_picture(item.image), item.box)
    if isinstance(item, Sample) and item.box is not None:
        return view_of(observer, Sample(item.path, item.member).read(), item.box)
    return view_of(observer, open_picture(item))


def stored_calibration(name: str) -> Calibration | None:
    """What likenesses of a shipped tracker's embedding mean, from `weights/match-trackers.json`; None for another
    tracker.

    Raises:
        ConfigError: The file is damaged.
    """
    file = WEIGHTS / "match-trackers.json"
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"The calibration file {file} is damaged ({error}); install the package again.") from None
    return Calibration.from_dict(values[name]) if name in values else None
