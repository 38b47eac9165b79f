"""Distractors that were visible beside the target in earlier frames: re-detection must not accept them.

Distractors that were never inside the search region were never learnt by the online filter, and the matcher responds to
some of them (team-mates, other runners) as strongly as to the target. But the target is at one position only: if an
object with a similar response was near the candidate in a frame in which the target was tracked elsewhere, the
candidate is that object. KeepTrack associates all peaks of all frames for the same purpose (Mayer et al., "Learning
Target Candidate Association to Keep Track of What Not to Track", ICCV 2021); here one earlier frame is stored, and
compared only with re-detection candidates: while tracking, the only cost is the copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracker.crops import Crop
from tracker.tracking.decode import Map
from tracker.tracking.peaks import outside
from tracker.types import Image

Vector = NDArray[np.float64]

REACH, DRIFT = 0.75, 0.1
"""Distance from its last position at which a distractor is expected, in sqrt(w h), and its growth per frame since."""

PROVED = 15
"""Number of frames after which an object has to be told from the target again: if it was the target after all, it must
not be refused for good because it resembles itself."""
ALIKE = 0.0
"""Least logit of a distractor in the stored frame: the matcher alone must prefer to call it the target. Where even the
target's own response is weak, many things respond as strongly, which proves nothing."""


@dataclass(frozen=True)
class Other:
    """An object beside the target: its centre and size (2,), frame pixels, and its response, a logit."""

    centre: Vector
    size: Vector
    logit: float


@dataclass
class KnownDistractor:
    """An object that is not the target.

    Attributes:
        centre: (2,) where it was seen last, frame pixels.
        age: Age of the target at that time, frames.
        embedding: (1, C, h, w) its embedding as a template at that time.
        proved: Age of the target when the two were told apart.
    """

    centre: Vector
    age: int
    embedding: NDArray[np.float32]
    proved: int = field(init=False)

    def __post_init__(self) -> None:
        self.proved = self.age

    def seen(self, centre: Vector, age: int, embedding: NDArray[np.float32] | None = None) -> None:
        """Moves it; `embedding` None: not embedded there."""
        self.centre, self.age = centre, age
        self.embedding = self.embedding if embedding is None else embedding


@dataclass
class StoredView:
    """An earlier frame in which the target was tracked reliably, or a window of it.

    Attributes:
        frame: A copy of the image, or the pixels of `window`.
        centre, size: (2,) x, y and w, h of the target in it, frame pixels.
        age: Age of the target in it, frames.
        embedding: (1, C, h, w) embedding of the target in it, as a template; None until it was needed.
        window: The window of the frame; None: the whole frame.
    """

    frame: Image
    centre: Vector
    size: Vector
    age: int
    embedding: NDArray[np.float32] | None = None
    window: Crop | None = None

    def seen_from(self, place: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
        """The centre and size (2,) of a position of the frame, in pixels of the view."""
        if self.window is None:
            return place
        return (place[0] - (self.window.left, self.window.top)) * self.window.scale, place[1] * self.window.scale


@dataclass
class DistractorMemory(StoredView):
    """A frame in which a target was tracked reliably, and the distractors found so far.

    Attributes:
        earlier: An earlier frame of this kind, used if something was too close to the target in this one.
        others: The distractors.
        cleared: Whether a jump with a high score was compared with it and was the target's: the next one, until another
            frame is stored, would only cost time.
    """

    earlier: DistractorMemory | None = None
    others: list[KnownDistractor] = field(default_factory=list)
    cleared: bool = False

    def other_near(
        self, logits: Map, boxes: NDArray[np.float32] | None, crop: Crop, stride: int, place: Vector
    ) -> Other | None:
        """The strongest response near a position in the stored frame, outside the target and closer than it.

        Args:
            logits: (H, W) response of a window of the stored frame.
            boxes: (4, H, W) xyxy in window pixels, or None (classic head: the target's size).
            crop: The window.
            stride: Crop pixels for one cell.
            place: (2,) position of the candidate, frame pixels.
        """
        x, y, w, h = crop.to_crop(np.concatenate([self.centre - self.size / 2, self.size]))
        clear = np.where(outside(logits.shape, (x, y, x + w, y + h), stride, crop.size), logits, -np.inf)
        row, column = divmod(int(np.argmax(clear)), logits.shape[1])
        if not np.isfinite(clear[row, column]):
            return None
        off = (np.array([column, row]) - (np.array(logits.shape[::-1]) - 1) / 2) * stride
        centre, size = np.array([crop.left, crop.top]) + (crop.size / 2 + off) / crop.scale, self.size
        if np.linalg.norm(place - centre) >= np.linalg.norm(place - self.centre):
            return None
        if boxes is not None:
            left, top, right, bottom = boxes[:, row, column].astype(np.float64).tolist()
            centre = np.array([crop.left, crop.top]) + np.array([left + right, top + bottom]) / 2 / crop.scale
            size = np.maximum(np.array([right - left, bottom - top]) / crop.scale, 1.0)
        return Other(centre, size, float(clear[row, column]))

    def known_at(self, place: Vector, age: int, longest: int) -> list[KnownDistractor]:
        """The distractors that a position (2,) may be of, by the distance from where they were seen last.

        Args:
            place: Frame pixels.
            age: Age of the target now.
            longest: Number of frames after which an unseen distractor is forgotten.
        """
        self.others = [o for o in self.others if age - o.age <= longest and age - o.proved <= PROVED]
        scale = float(np.sqrt(np.prod(self.size)))
        return [
            other
            for other in self.others
            if float(np.linalg.norm(place - other.centre)) <= (REACH + DRIFT * (age - other.age)) * scale
        ]
