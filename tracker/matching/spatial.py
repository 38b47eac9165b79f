"""The tracker as a matcher: its template embedding compares a whole thing cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import ConfigError
from tracker.matching.calibration import Calibration
from tracker.matching.inputs import Region, Sample, open_picture

if TYPE_CHECKING:
    from tracker.matching.matcher import Matcher
    from tracker.tracking.core import Core
    from tracker.tracking.tracker import SiamTracker


def tracker_matcher(name_or_file: str | Path | SiamTracker, device: str = "auto") -> Matcher:
    """A matcher of a tracker's weights.

    Args:
        name_or_file: Of the tracker, or the tracker itself.
        device: As of `SiamTracker.from_pretrained`.

    Raises:
        WeightsError, DeviceError: With the value, the reason and the next step.
    """
    from tracker.matching.matcher import Matcher
    from tracker.tracking.embedding import embed_views
    from tracker.tracking.tracker import SiamTracker, fingerprint

    single = (
        name_or_file if isinstance(name_or_file, SiamTracker) else SiamTracker.from_pretrained(name_or_file, device)
    )
    core = single.core

    def encode(side: int, items: Sequence[Any]) -> NDArray[np.float32]:
        return embed_views(core, [_view(core, item) for item in items])

    return Matcher(single.name, encode, "cosine", fingerprint(single.model), stored_calibration(single.name))


def _view(core: Core, item: Any) -> Any:
    from tracker.tracking.embedding import view_of

    if isinstance(item, Region):
        return view_of(core, open_picture(item.image), item.box)
    if isinstance(item, Sample) and item.box is not None:
        return view_of(core, Sample(item.path, item.member).read(), item.box)
    return view_of(core, open_picture(item))


def stored_calibration(name: str) -> Calibration | None:
    """What likenesses of a shipped tracker's embedding mean, from `weights/match-trackers.json`; None for another tracker.

    Raises:
        ConfigError: The file is damaged.
    """
    import json

    from tracker.matching.store import WEIGHTS

    file = WEIGHTS / "match-trackers.json"
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"The calibration file {file} is damaged ({error}); install the package again.") from None
    return Calibration.from_dict(values[name]) if name in values else None
