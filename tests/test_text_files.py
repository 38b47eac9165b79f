"""Text files as other programs write them (byte order mark, UTF-16, line ends of Windows): the same on every road that
reads one."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.trees import got10k_tree, otb_tree, vot_tree, walk
from tracker.annotate import Clip
from tracker.annotate.boxes_csv import read_keys
from tracker.annotate.clip import new_target
from tracker.annotate.formats import FORMATS, read, write
from tracker.cli.findtest import read_classes
from tracker.config import load_config
from tracker.datasets.registry import load_dataset
from tracker.datasets.track_readers import read_lasot, read_otb
from tracker.datasets.tracks import BadFiles, read_got10k
from tracker.errors import SiamTrackError
from tracker.interop.detections import read_detections
from tracker.interop.table import read_tracks
from tracker.measure.zones import read_zones
from tracker.media.box_files import read_box_file
from tracker.metrics.result_files import find_results, read_results
from tracker.serve.detections import read_detections as read_served

WAYS: dict[str, Callable[[str], bytes]] = {
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n").encode(),
}
TEXTS = {".txt", ".csv", ".json", ".yaml", ".label", ".ini", ".tag"}


def truth(root: Path, key: str, subset: str | None = None) -> Any:
    data = load_dataset(key, root, subset)
    return [
        (s.name, s.truth.tolist(), s.valid.tolist(), {k: v.tolist() for k, v in s.attributes.items()}, s.object_class)
        for s in data.sequences
    ]


def tracks(found: Any) -> Any:
    return [(t.name, np.asarray(t.boxes).tolist(), t.kind) for t in found]


def results(root: Path) -> Any:
    data = load_dataset("otb", otb_tree(root / "data", ("Boy",)))
    (folder,) = find_results(root / "results", data).values()
    return [r.boxes.tolist() for r in read_results(folder, "T", data)]


def back(name: str, root: Path) -> Any:
    return shown(read(name, root / ("x" + FORMATS[name].suffix)))


def shown(clips: list[Clip]) -> Any:
    return [
        (c.name, c.frame_count, t.name, t.label, np.nan_to_num(t.boxes).tolist(), t.occluded.tolist())
        for c in clips
        for t in c.targets
    ]


def otb(root: Path) -> None:
    otb_tree(root)
    (root / "attributes.json").write_text('{"Boy": ["IV"]}')


def nfs(root: Path) -> None:
    from tests.evaluation.trees import images

    images(root / "ball" / "30" / "ball", 4, "{:05d}.jpg")
    lines = [f'0 {k} 10 {k + 20} 50 {k} 0 0 0 "ball"' for k in range(32)]
    (root / "ball" / "30" / "ball.txt").write_text("\n".join(lines) + "\n")


def lasot(root: Path) -> None:
    from tests.evaluation.trees import images, text

    folder = root / "cat" / "cat-1"
    images(folder / "img", 6)
    text(folder / "groundtruth.txt", np.abs(walk(6, 0)))
    (folder / "full_occlusion.txt").write_text("0,0,1,0,0,0\n")
    (folder / "out_of_view.txt").write_text("0,0,0,1,0,0\n")


def others(root: Path) -> None:
    (root / "results" / "T").mkdir(parents=True)
    rows = walk(12, 10)
    (root / "results" / "T" / "Boy.txt").write_text("\n".join(",".join(f"{v:.3f}" for v in row) for row in rows) + "\n")


def annotated(name: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        clip = Clip("walk", 96, 72, 4, Fraction(25))
        target = new_target(1, 4, "Grüße", "Hündchen")
        target.boxes[:], target.scores[:] = [(10 + k, 20, 30, 20) for k in range(4)], 1.0
        clip.targets.append(target)
        write(name, [clip], root / ("x" + FORMATS[name].suffix))

    return make


def file(name: str, text: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        (root / name).write_text(text, encoding="utf-8")

    return make


COCO = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": [1, 2, 30, 40]}]}
ROADS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "evaluation on GOT-10k": (got10k_tree, lambda r: truth(r, "got10k")),
    "evaluation on OTB": (otb, lambda r: truth(r, "otb")),
    "evaluation on VOT": (vot_tree, lambda r: truth(r, "vot", "2018")),
    "evaluation on NfS": (nfs, lambda r: truth(r, "nfs")),
    "results of others": (others, results),
    "training on GOT-10k": (got10k_tree, lambda r: tracks(read_got10k(r / "val"))),
    "training on OTB": (otb_tree, lambda r: tracks(read_otb(r, ("*",), (), BadFiles()))),
    "training on LaSOT": (lasot, lambda r: tracks(read_lasot(r, ("*",), (), BadFiles(), ""))),
    "box file": (
        file("b.csv", "frame,x,y,w,h\n3,1,2,30,40\n"),
        lambda r: read_box_file(r / "b.csv").targets[0].dense(4).tolist(),
    ),
    "tracks": (
        file("t.csv", "frame,x,y,w,h\n3,1,2,30,40\n"),
        lambda r: [list(t.box) for t in read_tracks(r / "t.csv")],
    ),
    "key boxes": (
        file("k.csv", "frame,x,y,w,h,name\n3,1,2,30,40,Grüße\n"),
        lambda r: repr(read_keys(r / "k.csv")),
    ),
    "detections": (
        file("d.csv", "frame,x,y,w,h\n0,1,2,30,40\n"),
        lambda r: [list(b) for b in read_detections(r / "d.csv")],
    ),
    "detections of COCO": (
        file("d.json", json.dumps(COCO)),
        lambda r: [list(b) for b in read_detections(r / "d.json")],
    ),
    "detections to serve": (
        file("d.txt", "1,-1,2,3,30,40,0.9\n"),
        lambda r: repr(read_served(r / "d.txt", 0.0)),
    ),
    "zones": (
        file("z.json", '{"Tür": [[0, 0], [9, 0], [9, 9]]}'),
        lambda r: [z.name for z in read_zones(r / "z.json")],
    ),
    "recipe": (file("r.yaml", "name: grün\ntracking:\n  scales: 5\n"), lambda r: repr(load_config(r / "r.yaml"))),
    "classes": (file("c.csv", "clip,Hündchen\n"), lambda r: read_classes(r / "c.csv")),
} | {
    f"annotations of {name}": (annotated(name), partial(back, name))
    for name in ("coco", "coco-video", "yolo", "mot", "label-studio", "lasot", "got10k", "otb")
}


@pytest.mark.parametrize("road", list(ROADS))
def test_the_same_in_every_encoding(tmp_path: Path, road: str) -> None:
    make, load = ROADS[road]
    for number, (way, coded) in enumerate(WAYS.items()):
        root = tmp_path / str(number)
        root.mkdir()
        make(root)
        plain = load(root)
        assert plain, road
        changed = [p for p in sorted(root.rglob("*")) if p.suffix in TEXTS and p.name != "done.json"]
        for path in changed:
            path.write_bytes(coded(path.read_text(encoding="utf-8")))
        assert changed and repr(load(root)) == repr(plain), way


@pytest.mark.parametrize("road", list(ROADS))
def test_what_is_no_text_is_refused_in_a_sentence(tmp_path: Path, road: str) -> None:
    make, load = ROADS[road]
    make(tmp_path)
    load(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.suffix in TEXTS:
            path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16-le") + b"\xff\xfe\x00\xd8")
    with pytest.raises(SiamTrackError) as caught:
        load(tmp_path)
    assert len(str(caught.value).split()) > 4 and "\n" not in str(caught.value)
