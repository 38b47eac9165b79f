"""From the maps of all targets of a frame to their observations: the same arithmetic for one and for many, where the
engine left the maps, with one read from a device for all of them.

Only a few numbers per target, and the response that a track shows, are copied to the host; the rest of the maps stays
where it is until it is needed (for a contested position, or a possible distractor).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.config import TrackingConfig
from tracker.crops import Crop, SearchRegion
from tracker.runtime.base import Response
from tracker.tracking.arrays import Array, to_host
from tracker.tracking.confidence import FEATURES, confidence_features, probability
from tracker.tracking.decode import Decoded, Weighed, decode_scales, weigh_boxes
from tracker.tracking.numbers import column, module_of, split, values
from tracker.tracking.observation import Maps, Observation
from tracker.tracking.peaks import PEAK, box_of, read_peaks, read_scales
from tracker.tracking.target import Target
from tracker.types import Image

if TYPE_CHECKING:
    from tracker.tracking.observer import Observer

ONLINE = FEATURES.index("online")


@dataclass(frozen=True)
class Matched:
    """Targets matched in one call, with windows of one size.

    Attributes:
        numbers: Indices of the targets.
        response: With one row per window, numpy's or torch's.
    """

    numbers: Sequence[int]
    response: Response


@dataclass(frozen=True)
class _Peaks:
    """The result for some targets, `peaks` and `responses` still where the engine left them."""

    numbers: Sequence[int]
    crops: Sequence[Crop]
    sizes: NDArray[np.float64]
    maps: Sequence[Maps]
    pictures: Sequence[Image | None]
    peaks: Array
    responses: Array


def read_all(
    observer: Observer, targets: Sequence[Target], regions: Sequence[SearchRegion], matched: Sequence[Matched]
) -> list[Observation]:
    """The best position in the maps of each target, and its confidence.

    Args:
        observer: Provides model and settings.
        targets: All targets.
        regions: What was looked at for each.
        matched: Their responses, each target in one of them.
    """
    observations: dict[int, Observation] = {}
    found: list[_Peaks] = []
    for one in matched:
        if one.response.boxes is None:
            each = len(observer.factors)
            for place, k in enumerate(one.numbers):
                scores = one.response.score[place * each : (place + 1) * each]
                observations[k] = _classic(observer, targets[k], regions[k], scores)
        else:
            mine = [targets[k] for k in one.numbers], [regions[k] for k in one.numbers]
            found.append(_find(observer, *mine, one))
    hosted = to_host([array for one in found for array in (one.peaks, one.responses)])
    for look, peaks, responses in zip(found, hosted[::2], hosted[1::2], strict=True):
        own = [targets[k] for k in look.numbers], look.crops, look.sizes, look.maps, look.pictures
        observations.update(zip(look.numbers, _observations(observer.config, *own, peaks, responses), strict=True))
    return [observations[k] for k in range(len(targets))]


def _find(observer: Observer, targets: Sequence[Target], regions: Sequence[SearchRegion], matched: Matched) -> _Peaks:
    """The best cells of targets with boxes, and the numbers read there."""
    response, crops = matched.response, [region.crops[region.middle] for region in regions]
    sizes = np.array([region.size for region in regions])
    online, there = None, np.zeros(len(targets), np.bool_)
    if response.embedding is not None:
        online, there = observer.filters.respond([target.filter for target in targets], response.embedding)
    weighed = weigh_boxes(
        response.score,
        response.boxes,
        sizes * np.array([crop.scale for crop in crops])[:, None],
        observer.config,
        online,
        (observer.sizes[1] - 1) // observer.stride + 1,
        narrowness(observer, targets),
        there,
    )
    best = weighed.mixed.reshape(len(targets), -1).argmax(axis=1)
    peaks = read_peaks(weighed, best, observer.stride, crops[0].size)
    maps = [Maps(weighed, response.embedding, row, bool(has)) for row, has in enumerate(there)]
    pictures = [region.picture for region in regions]
    return _Peaks(matched.numbers, crops, sizes, maps, pictures, peaks, weighed.response)


def at_cell(observer: Observer, target: Target, observation: Observation, cell: int) -> Observation:
    """The same observation, read at another cell, in row-major order."""
    assert observation.weighed is not None and observation.maps is not None
    batch = Weighed(*(None if one is None else one[None] for one in vars(observation.weighed).values()))
    peaks = read_peaks(batch, np.array([cell]), observer.stride, observation.crop.size)
    look = [observation.crop], observation.size[None], [observation.maps], [observation.picture]
    return _observations(observer.config, [target], *look, peaks, batch.response)[0]


def _observations(
    config: TrackingConfig,
    targets: Sequence[Target],
    crops: Sequence[Crop],
    sizes: NDArray[np.float64],
    maps: Sequence[Maps],
    pictures: Sequence[Image | None],
    read: NDArray[np.float32],
    responses: NDArray[np.float32],
) -> list[Observation]:
    """Observations of targets with boxes, from the numbers read at their cells; `sizes` (B, 2) frame pixels."""
    side, width = crops[0].size, responses.shape[2]
    online = np.array([one.online for one in maps])
    peaks, scales = read.astype(np.float64), np.array([crop.scale for crop in crops])
    features, scores = _judge(config, targets, peaks, sizes * scales[:, None], side, online)
    index, left, top, right, bottom, response, weighted, logit = split(peaks[:, :8])
    dx, dy = (left + right) / 2 - side / 2, (top + bottom) / 2 - side / 2
    most = module_of(left).maximum
    found = [values(one) for one in (dx, dy, most(right - left, 1.0), most(bottom - top, 1.0))]
    read_there = [values(one) for one in (response, weighted, logit, index)]
    heard = features[:, ONLINE].tolist()
    made = []
    for x, y, across, down, own, weight, peak, cell, said, score, image, judged, crop, size, look, cut in zip(
        *found, *read_there, heard, scores.tolist(), responses, features, crops, sizes, maps, pictures, strict=True
    ):
        place = divmod(int(cell), width)
        decoded = Decoded(x, y, across, down, 1.0, own, weight, place, peak, image, said if look.online else None)
        made.append(Observation(decoded, crop, judged, score, size, look, cut))
    return made


def _judge(
    config: TrackingConfig,
    targets: Sequence[Target],
    peaks: NDArray[np.float64],
    sizes: NDArray[np.float64],
    crop: int,
    online: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B, F) features of some positions, and (B,) their scores: calibrated if the model is, otherwise the network's
    own."""
    usual, usual_online = np.array([(t.reference_logit, t.online_peak) for t in targets], dtype=np.float64).T
    features = confidence_features(peaks, sizes, crop, usual, usual_online, online)
    scores = peaks[:, PEAK.index("response")].copy()
    learnt = config.calibration.confidence, config.calibration.knots
    plain = (config.calibration.confidence_plain, ()) if config.calibration.confidence_plain else learnt
    count = int(online.sum())
    if count and learnt[0]:
        scores[online] = probability(features[online] if count < len(online) else features, *learnt)
    if count < len(online) and plain[0]:
        scores[~online] = probability(features[~online] if count else features, *plain)
    return features, scores


def _classic(observer: Observer, target: Target, region: SearchRegion, logits: NDArray[np.float32]) -> Observation:
    """An observation with the classic head: one of several scales, no boxes."""
    found, chosen = decode_scales(logits, region.factors, observer.stride, observer.config)
    crop = region.crops[region.middle]
    size = region.size * crop.scale
    peaks = read_scales(found, chosen, box_of(found, size, crop.size), observer.stride, crop.size)
    features, scores = _judge(observer.config, [target], peaks, size[None], crop.size, np.zeros(1, np.bool_))
    return Observation(found, crop, features[0], float(scores[0]), region.size, None, region.picture)


def narrowness(observer: Observer, targets: Sequence[Target]) -> NDArray[np.float64]:
    """(N,) exponents of the cosine window for targets."""
    small = observer.config.small_search
    if small.step <= 0:
        return np.ones(len(targets))
    motion = column([small.step if target.lost else target.recent_motion for target in targets])
    more = small.narrowing * module_of(motion).maximum(0.0, 1.0 - motion / small.step)
    return np.asarray(1.0 + more, dtype=np.float64).reshape(-1)
