"""Drawing of tracks on frames: boxes by state, labels, badges, and a side-by-side view of template, search crop and
response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.media.images import fit_into
from tracker.types import Frame, Image, Track, TrackState

Colour = tuple[int, int, int]

COLOURS: tuple[Colour, ...] = (
    (96, 214, 42), (255, 158, 46), (214, 94, 255), (236, 214, 40), (120, 120, 255), (190, 230, 130), (255, 120, 150),
    (60, 190, 190),
)  # fmt: skip
"""BGR per target id: distinct in hue and lightness, and from the two below."""

AMBER: Colour = (0, 176, 255)
RED: Colour = (58, 58, 232)
DARK: Colour = (24, 24, 24)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class NetworkViewsLike(Protocol):
    """The network's inputs and output: two BGR uint8 crops and an (H, W) response in [0, 1]."""

    @property
    def template(self) -> Image: ...

    @property
    def search(self) -> Image: ...

    @property
    def response(self) -> NDArray[np.float32]: ...


def colour_of(target_id: int) -> Colour:
    """The BGR colour of a target, the same in every frame."""
    return COLOURS[target_id % len(COLOURS)]


def stroke(image: Image) -> int:
    """Line thickness in pixels, proportional to the frame size."""
    return max(1, round(min(image.shape[:2]) / 240))


def text_scale(image: Image) -> float:
    """Scale of the font that is readable on frames of any size."""
    return max(0.38, min(image.shape[:2]) / 900)


def draw_tracks(
    frame: Frame, tracks: Sequence[Track], *, note: str = "", names: Mapping[int, str] | None = None
) -> Image:
    """A copy of a frame with its tracks drawn on it.

    Tracking: a solid box in the colour of the target. Uncertain: thinner, amber, dashed. Lost: no box, a badge in the
    corner.

    Args:
        frame: The frame; unchanged.
        tracks: Its tracks.
        note: A line for the lower left corner, such as "31 fps".
        names: target id -> name; without it targets are numbered if there are several.
    """
    image = frame.image.copy()
    several = len(tracks) > 1 or any(t.target_id for t in tracks)
    known = names or {}
    called = {t.target_id: known.get(t.target_id, f"#{t.target_id}" if several else "") for t in tracks}
    for track in tracks:
        if track.visible:
            _draw_box(image, track, called[track.target_id])
    lost = [f"{called[t.target_id]} LOST".strip() for t in tracks if not t.visible]
    x = y = 3 * stroke(image)
    for text in lost:
        y += put_label(image, text, (x, y), RED) + stroke(image)
    if note:
        put_label(image, note, (x, image.shape[0]), DARK, above=True)
    return image


def _draw_box(image: Image, track: Track, name: str) -> None:
    thick = stroke(image)
    limit = 4 * max(image.shape[:2])  # OpenCV uses 16-bit coordinates internally; a box far outside need not be exact
    x0, y0 = (round(float(v)) for v in np.clip(track.box[:2], -limit, limit))
    x1, y1 = (round(float(v)) for v in np.clip(track.box[:2] + track.box[2:], -limit, limit))
    unsure = track.state is TrackState.UNCERTAIN
    colour = AMBER if unsure else colour_of(track.target_id)
    if unsure:
        _dashed(image, (x0, y0, x1, y1), colour, max(1, thick - 1))
    else:
        cv2.rectangle(
            image, (x0, y0), (x1, y1), DARK, thick + 2, cv2.LINE_AA
        )  # a dark edge keeps it visible on a bright background
        cv2.rectangle(image, (x0, y0), (x1, y1), colour, thick, cv2.LINE_AA)
    text = f"{name}  {track.score:.2f}".lstrip()
    put_label(image, text + (" ?" if unsure else ""), (x0, y0), colour, above=True, below=y1)


def _dashed(image: Image, edges: tuple[int, int, int, int], colour: Colour, thick: int) -> None:
    x0, y0, x1, y1 = edges
    height, width = image.shape[:2]
    dash = 4 * thick + 4
    for horizontal, at, begin, end in (
        (True, y0, x0, x1),
        (True, y1, x0, x1),
        (False, x0, y0, y1),
        (False, x1, y0, y1),
    ):
        last = min(end, width if horizontal else height)
        for k in range(max(begin, begin % (2 * dash) - 2 * dash), last, 2 * dash):
            stop = min(k + dash, last)
            cv2.line(
                image,
                (k, at) if horizontal else (at, k),
                (stop, at) if horizontal else (at, stop),
                colour,
                thick,
                cv2.LINE_AA,
            )


def put_label(
    image: Image,
    text: str,
    at: tuple[int, int],
    colour: Colour,
    *,
    above: bool = False,
    below: int | None = None,
    scale: float | None = None,
) -> int:
    """Text on a filled background, kept inside the image.

    Args:
        image: Drawn on in place.
        text: One line of ASCII.
        at: Left edge x and top edge y (with `above`: bottom edge) in pixels.
        colour: BGR of the background; the text is black or white, for contrast.
        above: Whether the label ends at y rather than begins there.
        below: With `above`: y where it goes instead if there is no room above.
        scale: Font scale; from the size of the image if None.

    Returns:
        Height of the label in pixels.
    """
    scale = text_scale(image) if scale is None else scale
    thick = max(1, round(scale * 1.6))
    (width, height), base = cv2.getTextSize(text, FONT, scale, thick)
    pad = max(2, round(6 * scale))
    box_w, box_h = width + 2 * pad, height + base + pad
    x, y = at[0], at[1] - box_h if above else at[1]
    if above and y < 0 and below is not None:
        y = below
    x = max(0, min(x, image.shape[1] - box_w))
    y = max(0, min(y, image.shape[0] - box_h))
    cv2.rectangle(image, (x, y), (x + box_w, y + box_h), colour, cv2.FILLED)
    bright = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 130
    cv2.putText(
        image,
        text,
        (x + pad, y + pad // 2 + height),
        FONT,
        scale,
        (0, 0, 0) if bright else (255, 255, 255),
        thick,
        cv2.LINE_AA,
    )
    return box_h


def heat_map(response: NDArray[np.float32], width: int, height: int) -> Image:
    """A response in [0, 1] as colours (dark blue 0, red 1), scaled up smoothly to width x height."""
    values = np.nan_to_num(np.clip(np.asarray(response, np.float32), 0, 1))
    gray = cv2.resize((values * 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.applyColorMap(gray, cv2.COLORMAP_TURBO), dtype=np.uint8)


def response_view(
    frame: Frame, tracks: Sequence[Track], views: NetworkViewsLike | None, *, note: str = "", min_height: int = 480
) -> Image:
    """The annotated frame, and beside it the template, the search window under its heat map, and the response alone.

    Args:
        frame, tracks, note: As for `draw_tracks`.
        views: The network's views in this frame, or None before the first update.
        min_height: Smaller frames are scaled up to it, so that the panels are readable.

    Returns:
        BGR uint8; its size depends only on the size of the frame, as a video requires.
    """
    height, width = frame.image.shape[:2]
    if height < min_height:  # scaled before drawing, so that lines and text stay sharp
        factor = min_height / height
        width, height = round(width * factor), min_height
        frame = replace(frame, image=fit_into(frame.image, width, height))
        tracks = [replace(t, box=t.box * factor) for t in tracks]
    image = draw_tracks(frame, tracks, note=note)
    side = height // 3
    out = np.full((height, width + side, 3), 24, np.uint8)
    out[:, :width] = image
    for k, (name, panel) in enumerate(_panels(views, side)):
        top = k * side
        out[top : top + side, width:] = panel
        scale = max(0.35, side / 420)
        put_label(out[top : top + side, width:], name, (0, 0), DARK, scale=scale)
        cv2.rectangle(out, (width, top), (width + side - 1, top + side - 1), DARK, 1)
    return out


def _panels(views: NetworkViewsLike | None, side: int) -> list[tuple[str, Image]]:
    empty = np.full((side, side, 3), 48, np.uint8)
    if views is None:
        return [("template", empty), ("search", empty), ("response", empty)]
    search = fit_into(views.search, side, side)
    response = np.asarray(views.response, np.float32)
    heat = heat_map(response, side, side)
    # Opaque only where the response is high, so that the image stays visible elsewhere.
    weight = (
        cv2.resize(np.nan_to_num(np.clip(response, 0, 1)), (side, side), interpolation=cv2.INTER_LINEAR)[..., None]
        * 0.65
    )
    mixed = (search * (1 - weight) + heat * weight).astype(np.uint8)
    y, x = np.unravel_index(int(np.argmax(response)), response.shape)
    spot = (int((x + 0.5) * side / response.shape[1]), int((y + 0.5) * side / response.shape[0]))
    cv2.drawMarker(heat, spot, (255, 255, 255), cv2.MARKER_CROSS, max(7, side // 14), 1, cv2.LINE_AA)
    peak = float(response.max())
    return [("template", fit_into(views.template, side, side)), ("search", mixed), (f"response, peak {peak:.2f}", heat)]
