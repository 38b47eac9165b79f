"""What others' libraries read from our exports, compared box by box; a library that isn't installed is left out."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracker.annotate import Clip
from tracker.annotate.formats import read


def there(name: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(name) is not None


def shown(clip: Clip) -> dict[int, list[tuple[str, Any]]]:
    """Frame -> (class, box) of every target that has one there."""
    out: dict[int, list[tuple[str, Any]]] = {}
    for target in clip.targets:
        for k in np.flatnonzero(target.present):
            out.setdefault(int(k), []).append((target.label, target.boxes[k]))
    return out


def check_pycocotools(path: Path, clip: Clip) -> None:
    """`pycocotools` finds the boxes of each class."""
    from pycocotools.coco import COCO

    data = COCO(str(path))
    images = json.loads(path.read_text())["images"]
    frame_of = {image["id"]: image.get("frame_id", k) for k, image in enumerate(images)}
    names = {category["id"]: category["name"] for category in data.loadCats(data.getCatIds())}
    found: dict[int, list[tuple[str, Any]]] = {}
    for item in data.loadAnns(data.getAnnIds()):
        found.setdefault(frame_of[item["image_id"]], []).append((names[item["category_id"]], item["bbox"]))
    same([found[k] for k in sorted(found)], [shown(clip)[k] for k in sorted(shown(clip))], 0.011)


def check_supervision(folder: Path, clip: Clip, name: str) -> None:
    """`supervision` reads YOLO and Pascal VOC with the pictures that were written beside."""
    import supervision as sv

    if name == "yolo":
        data = sv.DetectionDataset.from_yolo(
            str(folder / "images/train"), str(folder / "labels/train"), str(folder / "data.yaml")
        )
    else:
        data = sv.DetectionDataset.from_pascal_voc(str(folder / "JPEGImages"), str(folder / "Annotations"))
    found = {}
    for path, _, rows in data:
        boxes = [
            (data.classes[c], (a, b, x - a, y - b)) for c, (a, b, x, y) in zip(rows.class_id, rows.xyxy, strict=True)
        ]
        if boxes:
            found[int(Path(path).stem.split("_")[-1])] = boxes
    wanted = shown(clip)
    assert found.keys() == wanted.keys()
    # supervision takes VOC's xmin, ymin down by one and leaves xmax, ymax; YOLO's are parts of the size.
    same([found[k] for k in wanted], list(wanted.values()), 1.01 if name == "voc" else 0.02)


def check_trackeval(folder: Path, clip: Clip, scratch: Path) -> None:
    """TrackEval's own reader of the MOT challenges finds ids and boxes, and tracks equal to the truth score 1."""
    import trackeval

    (sequence,) = [path.name for path in folder.iterdir() if path.is_dir()]
    rows = [line.split(",") for line in (folder / sequence / "gt" / "gt.txt").read_text().splitlines()]
    results = scratch / "ours" / "data"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{sequence}.txt").write_text("".join(",".join([*row[:6], "1,-1,-1,-1"]) + "\n" for row in rows))
    data = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(folder), "TRACKERS_FOLDER": str(scratch), "TRACKERS_TO_EVAL": ["ours"],
            "SEQ_INFO": {sequence: None}, "SKIP_SPLIT_FOL": True, "DO_PREPROC": False, "PRINT_CONFIG": False,
        }
    )  # fmt: skip
    raw = data.get_raw_seq_data("ours", sequence)
    assert raw["num_timesteps"] == clip.frame_count
    known = [(target, target.present) for target in clip.targets]
    for k, (ids, dets) in enumerate(zip(raw["gt_ids"], raw["gt_dets"], strict=True)):
        at = {t.id: t.boxes[k] for t, present in known if present[k]}
        assert sorted(map(int, ids)) == sorted(at)
        for number, (x, y, w, h) in zip(map(int, ids), dets, strict=True):
            assert np.allclose((x - 1, y - 1, w, h), at[number], atol=0.001)
    scores = trackeval.metrics.HOTA().eval_sequence(data.get_preprocessed_seq_data(raw, "pedestrian"))
    assert np.allclose(scores["HOTA"], 1)


def check_ours(name: str, path: Path, clip: Clip) -> None:
    """What our own reader gives back is what was there, to the hundredth of a pixel."""
    back = read(name, path)
    found = {k: rows for one in back for k, rows in shown(one).items()} if len(back) == 1 else merged(back)
    wanted = shown(clip)
    assert found.keys() == wanted.keys(), name
    same([found[k] for k in wanted], list(wanted.values()), 0.011)


def merged(clips: Sequence[Clip]) -> dict[int, list[tuple[str, Any]]]:
    """Formats with a sequence per target."""
    out: dict[int, list[tuple[str, Any]]] = {}
    for clip in clips:
        for k, rows in shown(clip).items():
            out.setdefault(k, []).extend(rows)
    return out


def same(
    found: Sequence[Sequence[tuple[str, Any]]], wanted: Sequence[Sequence[tuple[str, Any]]], within: float
) -> None:
    """The same classes and boxes in each frame, in any order."""
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        for (kind, box), (other, true) in zip(ordered(a), ordered(b), strict=True):
            assert kind in (other, "object"), (kind, other)  # OTB has no classes
            assert np.allclose(box, true, atol=within), (box, true)


def ordered(rows: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """By place: boxes of one frame are far from each other in these tests."""
    return sorted(rows, key=lambda row: round(float(row[1][1]) / 20) * 10_000 + float(row[1][0]))
