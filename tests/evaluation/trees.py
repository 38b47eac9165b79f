"""Small data sets in the layouts of the benchmarks, and trackers that misbehave on purpose."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np

SIZE = (96, 72)


def walk(count: int, seed: int) -> np.ndarray:
    """(count, 4) xywh of a target that wanders, grows, and leaves the frame partly (negative corners, beyond the
    border)."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(0, 4, (count, 2)), axis=0)
    size = 18 + 6 * np.sin(np.arange(count) / 3)[:, None] + rng.uniform(-1, 1, (count, 2))
    return np.round(np.concatenate([steps + np.array([10, 15]), size], axis=1), 2)


def wobble(truth: np.ndarray, seed: int, noise: float = 5.0) -> np.ndarray:
    """Boxes of a mediocre tracker: truth with noise, first row exact."""
    rng = np.random.default_rng(seed)
    boxes = truth + rng.normal(0, noise, truth.shape)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 2)
    boxes[0] = truth[0]
    return np.round(boxes, 3)


def images(
    folder: Path, count: int, pattern: str = "{:08d}.jpg", first: int = 1, truth: np.ndarray | None = None
) -> None:
    """Frames with a bright patch at the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    ground = rng.integers(0, 120, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for k in range(count):
        image = ground.copy()
        if truth is not None and np.isfinite(truth[k]).all():
            x, y, w, h = truth[k].astype(int)
            cv2.rectangle(image, (x, y), (x + w, y + h), (250, 200, 40), -1)
        cv2.imwrite(str(folder / pattern.format(k + first)), image)


def text(path: Path, rows: np.ndarray, fmt: str = "%.4f", delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, fmt=fmt, delimiter=delimiter)


def got10k_tree(root: Path, subset: str = "val", count: int = 4, frames: int = 14) -> Path:
    """A GOT-10k tree with absence, cover and border cases."""
    names = [f"GOT-10k_{subset.capitalize()}_{k + 1:06d}" for k in range(count)]
    for k, name in enumerate(names):
        folder, truth = root / subset / name, walk(frames, k)
        images(folder, frames, truth=truth)
        cover = np.full(frames, 8)
        cover[3:5], cover[6] = 4, 0
        absence = np.zeros(frames)
        absence[6] = 1
        truth[6] = 0
        text(folder / "groundtruth.txt", truth[:1] if subset == "test" else truth)
        if subset != "test":
            text(folder / "cover.label", cover, "%d")
            text(folder / "absence.label", absence, "%d")
            text(folder / "cut_by_image.label", np.zeros(frames), "%d")
            meta = {"url": "none", "object_class": ("cat", "dog")[k % 2], "resolution": f"({SIZE[0]}, {SIZE[1]})"}
            (folder / "meta_info.ini").write_text("[METAINFO]\n" + "".join(f"{a}: {b}\n" for a, b in meta.items()))
    (root / subset / "list.txt").write_text("\n".join(names) + "\n")
    return root


def otb_tree(root: Path, names: tuple[str, ...] = ("Boy", "Car4", "Deer"), frames: int = 12) -> Path:
    """An OTB tree; the delimiters differ as they do in the original."""
    for k, name in enumerate(names):
        truth = np.round(walk(frames, 10 + k))
        images(root / name / "img", frames, "{:04d}.jpg", truth=truth)
        text(root / name / "groundtruth_rect.txt", truth, "%d", (",", "\t", " ")[k % 3])
    return root


def vot_tree(root: Path, count: int = 2, frames: int = 40, colour: bool = False) -> Path:
    """A VOT tree with rotated truth and tags."""
    names = [f"seq{k}" for k in range(count)]
    for k, name in enumerate(names):
        boxes = walk(frames, 20 + k)
        angle = np.linspace(0, 0.6, frames)
        centre, half = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:] / 2
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])[None] * half[:, None]
        turn = np.stack(
            [np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], 1
        )
        points = np.einsum("nij,nkj->nki", turn, corners) + centre[:, None]
        images(root / name / ("color" if colour else "."), frames, truth=boxes)
        text(root / name / "groundtruth.txt", points.reshape(frames, 8))
        text(root / name / "occlusion.tag", np.arange(frames) % 3 == 0, "%d")
        text(root / name / "camera_motion.tag", np.arange(frames) < 9, "%d")
    (root / "list.txt").write_text("\n".join(names) + "\n")
    return root


class Drifter:
    """Deterministic: walks right, so that it loses the target now and then."""

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        self.box = np.asarray(box, dtype=np.float64).copy()

    def update(self, image: np.ndarray) -> np.ndarray:
        self.box[0] += 2.5
        return self.box.copy()


class Slow(Drifter):
    """Takes its time, so that a test can kill it in the middle."""

    def update(self, image: np.ndarray) -> np.ndarray:
        time.sleep(0.03)
        return super().update(image)


class Moody(Drifter):
    """Raises on wide first boxes, dies like native code does on others; which, an environment variable says."""

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        super().init(image, box)
        self.count = 0

    def update(self, image: np.ndarray) -> np.ndarray:
        self.count += 1
        how = os.environ.get("MOODY", "")
        if self.count == 5 and abs(self.box[1] - float(os.environ.get("MOODY_Y", "nan"))) < 0.01:
            if how == "exit":
                os._exit(11)
            if how == "nan":
                return np.full(4, np.nan)
            raise RuntimeError("I am lost")
        return super().update(image)


class Unbuildable(Drifter):
    def __init__(self) -> None:
        raise OSError("no licence file")
