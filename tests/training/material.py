"""Small material for the tests of training data: clips, layouts of data sets, boxed stills, cutouts and photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.conftest import moving_square
from tracker.config import Config
from tracker.config_merge import merge
from tracker.model_config import ModelConfig
from tracker.types import Image

MODEL = ModelConfig(template_size=65, search_size=129, neck_channels=24, head_channels=8, head_layers=1)


def write_frames(folder: Path, images: list[Image], name: str = "{:08d}.jpg", first: int = 1) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.format(k) for k in range(first, first + len(images))]
    for path, image in zip(paths, images, strict=True):
        assert cv2.imwrite(str(path), image)
    return paths


def write_rows(path: Path, rows: np.ndarray, delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, fmt="%g", delimiter=delimiter)
    return path


def got10k(root: Path, names: tuple[str, ...] = ("alpha", "beta"), frames: int = 12) -> Path:
    """A subset in the GOT-10k layout; in "beta" the target is absent from frame 5 on by the label file alone."""
    for seed, name in enumerate(names):
        images, boxes = moving_square(frames, seed=seed)
        write_frames(root / name, images)
        write_rows(root / name / "groundtruth.txt", boxes)
        (root / name / "meta_info.ini").write_text("[METAINFO]\nobject_class: square\n")
        if name == "beta":
            write_rows(root / name / "absence.label", (np.arange(frames) >= 5).astype(int)[:, None])
    (root / "list.txt").write_text("\n".join(names))
    return root


def write_video(path: Path, images: list[Image]) -> Path:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return path


def own_clips(root: Path, names: tuple[str, ...] = ("a", "b"), frames: int = 12) -> Path:
    """Videos with a box file beside each."""
    for seed, name in enumerate(names):
        images, boxes = moving_square(frames, seed=seed)
        write_video(root / f"{name}.mp4", images)
        write_rows(root / f"{name}.txt", boxes)
    return root


def stills(root: Path, seed: int = 5) -> Path:
    """stills/photos, stills/cutouts (two kinds) and stills/boxed/instances.json with two objects in each of two
    pictures."""
    rng = np.random.default_rng(seed)
    photos = root / "photos"
    photos.mkdir(parents=True)
    for k in range(3):
        cv2.imwrite(
            str(photos / f"photo{k}.png"),
            cv2.GaussianBlur(rng.integers(0, 256, (150, 200, 3), dtype=np.uint8), (0, 0), 1.5),
        )
    cutouts = root / "cutouts"
    cutouts.mkdir()
    for k in range(4):
        picture = rng.integers(0, 256, (60, 50, 4), dtype=np.uint8)
        picture[..., 3] = 0
        cv2.ellipse(picture, (25, 30), (20, 25), 0, 0, 360, (int(rng.integers(256)), 90, 200, 255), -1)
        cv2.imwrite(str(cutouts / f"{('cup', 'dog')[k % 2]}-{k}.png"), picture)
    images = root / "boxed" / "images"
    images.mkdir(parents=True)
    annotations: list[dict[str, Any]] = []
    for k in range(2):
        cv2.imwrite(str(images / f"{k}.jpg"), rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
        annotations.append({"image_id": k, "category_id": 1, "bbox": [30, 40, 50, 40]})
        annotations.append({"image_id": k, "category_id": 1, "bbox": [220, 150, 45, 50]})
    data = {
        "categories": [{"id": 1, "name": "box"}],
        "images": [{"id": k, "file_name": f"{k}.jpg", "width": 320, "height": 240} for k in range(2)],
        "annotations": annotations,
    }
    (root / "boxed" / "instances.json").write_text(json.dumps(data))
    return root


def recipe(root: Path, cache: Path, sources: list[dict[str, Any]] | None = None, **data: Any) -> Config:
    """A small recipe over GOT-10k clips (or other sources), pictures in the cache."""
    material = {"root": str(root), "scenery": "", "sources": sources or [{"kind": "clips", "path": "got"}]}
    section = {
        "cache": {"path": str(cache), "stage": 0, "groups": 6, "shard": 3},
        **{k: v for k, v in data.items() if k != "material"},
        "material": {**material, **data.get("material", {})},
    }
    return Config(name="tiny", model=MODEL, train=merge_train({"batch_size": 6, "seed": 3, "data": section}))


def merge_train(values: dict[str, Any]) -> dict[str, Any]:
    return merge(Config(), {"train": values}).train
