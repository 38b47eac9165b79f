"""Tracks as an image for notebooks: some frames with their boxes, and below them the score over time."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tracker.errors import SiamTrackError
from tracker.files import write_atomic
from tracker.loop import Source, open_frames
from tracker.media.draw import colour_of, draw_tracks
from tracker.media.images import encode_image, fit_into
from tracker.types import Image, Track

COLUMNS, GAP, STRIP = 3, 4, 44
GROUND, LINE, DOUBT = (250, 250, 250), (200, 200, 200), 0.5


@dataclass(frozen=True)
class TrackSheet:
    """The image of tracks in a notebook (as the last value of a cell, or by `display`).

    Attributes:
        image: The picture, BGR uint8.
        caption: A sentence that describes it.
    """

    image: Image
    caption: str

    def _repr_png_(self) -> bytes:
        return encode_image(self.image, ".png")

    def _repr_html_(self) -> str:
        data = base64.b64encode(self._repr_png_()).decode()
        text = html.escape(self.caption)
        return (
            f'<figure style="margin:0"><img alt="{text}" style="max-width:100%" src="data:image/png;base64,{data}">'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def save(self, path: str | Path) -> None:
        """Write the picture (.png).

        Raises:
            OutputError: It can't be written.
        """
        write_atomic(path, self._repr_png_())


def show(source: Source, tracks: Iterable[Track], frames: int = 6, width: int = 320) -> TrackSheet:
    """A picture of tracks: frames spread evenly over them with their boxes, and the score of each target over time.

    Args:
        source: The tracked video: anything that `tracker.track` accepts except a live source.
        tracks: The result of `tracker.track`, or tracks read by `tracker.interop.table`.
        frames: Greatest number of frames to show.
        width: Pixels of each.

    Raises:
        SiamTrackError: There are no tracks, or the source has none of their frames.

    Examples:
        >>> tracks = list(track("clip.mp4", (100, 80, 40, 30)))  # doctest: +SKIP
        >>> show("clip.mp4", tracks)  # doctest: +SKIP
    """
    at: dict[int, list[Track]] = {}
    for track in tracks:
        at.setdefault(track.index, []).append(track)
    if not at or frames < 1:
        raise SiamTrackError(
            "There are no tracks to show; give what `track` yielded, as a list, and at least one frame."
        )
    known = sorted(at)
    wanted = {known[round(k)] for k in np.linspace(0, len(known) - 1, min(frames, len(known)))}
    pictures: list[Image] = []
    with open_frames(source) as opened:
        for frame in opened:
            if frame.index in wanted:
                height = max(1, round(frame.image.shape[0] * width / frame.image.shape[1]))
                drawn = draw_tracks(frame, at[frame.index])
                pictures.append(fit_into(drawn, width, height if not pictures else pictures[0].shape[0]))
            if len(pictures) == len(wanted):
                break
    if not pictures:
        raise SiamTrackError(f"The source has none of the frames {known[0]} to {known[-1]} that the tracks are of.")
    every = [track for rows in at.values() for track in rows]
    lost, ids = sum(not track.visible for track in every), sorted({track.target_id for track in every})
    caption = (
        f"{len(ids)} target{'s' * (len(ids) != 1)}, frames {known[0]} to {known[-1]}, mean score "
        f"{np.mean([track.score for track in every]):.2f}, lost in {lost} of {len(every)}"
    )
    return TrackSheet(
        np.concatenate([_grid(pictures), *(_strip(every, k, known, _wide(pictures)) for k in ids)]), caption
    )


def _wide(pictures: Sequence[Image]) -> int:
    return min(len(pictures), COLUMNS) * (pictures[0].shape[1] + GAP) - GAP


def _grid(pictures: Sequence[Image]) -> Image:
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // COLUMNS)
    out = np.full((rows * (height + GAP), _wide(pictures), 3), GROUND, np.uint8)
    for k, picture in enumerate(pictures):
        y, x = k // COLUMNS * (height + GAP), k % COLUMNS * (width + GAP)
        out[y : y + height, x : x + width] = picture
    return out


def _strip(every: Sequence[Track], number: int, known: Sequence[int], width: int) -> Image:
    """The score of a target over time, from 0 at the bottom to 1; empty where it is lost."""
    out = np.full((STRIP + GAP, width, 3), GROUND, np.uint8)
    first, span = known[0], max(known[-1] - known[0], 1)
    at = STRIP - 1 - round(DOUBT * (STRIP - 1))
    out[at] = LINE
    points: list[Any] = []
    for track in sorted((t for t in every if t.target_id == number), key=lambda t: t.index):
        if track.visible:
            points.append((round((track.index - first) / span * (width - 1)), round((1 - track.score) * (STRIP - 1))))
            continue
        _line(out, points, number)
        points = []
    _line(out, points, number)
    return out


def _line(image: Image, points: Sequence[tuple[int, int]], number: int) -> None:
    if points:
        cv2.polylines(image, [np.array(points, np.int32)], False, colour_of(number), 2, cv2.LINE_AA)
