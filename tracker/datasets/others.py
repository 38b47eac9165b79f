"""LaSOT, UAV123/UAV20L, NfS, TColor128 and TrackingNet, as their authors distribute them."""

from __future__ import annotations

import importlib.util
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tracker.datasets.annotation_text import (
    annotated,
    annotation_text,
    derived_attributes,
    has_area,
    list_images,
    read_flags,
    read_table,
)
from tracker.datasets.base import Dataset, SequenceData, gather
from tracker.errors import SourceError


def package_table(name: str) -> Any:
    """A table (frame ranges, splits) out of the installed got10k package, read without importing it.

    Importing got10k needs `six` and `wget`, which it doesn't use for this; its json files can be read all the same.

    Raises:
        SourceError: The package isn't installed.
    """
    spec = importlib.util.find_spec("got10k")
    path = (
        Path(spec.submodule_search_locations[0]) / "datasets" / name
        if spec and spec.submodule_search_locations
        else None
    )
    if path is None or not path.is_file():
        raise SourceError(
            f"The table {name} of the got10k package is needed for this data set; `pip install got10k` adds it."
        )
    return json.loads(path.read_text(encoding="utf-8"))


def _match(frames: list[str], truth: np.ndarray, where: Path) -> None:
    if len(frames) != len(truth):
        raise SourceError(f"{where} has {len(truth)} lines for {len(frames)} images; they must be as many.")


def load_lasot(root: Path, subset: str = "test", pattern: str | None = None) -> Dataset:
    """LaSOT (Fan et al., CVPR 2019): ROOT/<class>/<class>-<n>/img, groundtruth.txt, full_occlusion.txt,
    out_of_view.txt.

    Frames in which the target is fully occluded or out of view don't count, as in LaSOT's own toolkit.
    """
    if subset not in ("test", "train"):
        raise SourceError(f"LaSOT has no subset {subset!r}; choose test or train.")
    wanted = package_table("lasot.json")[subset]
    folders = [
        f for n in wanted for f in (root / n.rsplit("-", 1)[0] / n, root / n) if (f / "groundtruth.txt").is_file()
    ]
    if not folders:
        raise SourceError(
            f"No sequence of LaSOT {subset} in {root}; expected for example "
            f"{root / 'airplane' / wanted[0] / 'groundtruth.txt'}."
        )

    def read(folder: Path) -> SequenceData:
        frames, truth = list_images(folder / "img"), read_table(folder / "groundtruth.txt")
        _match(frames, truth, folder / "groundtruth.txt")
        hidden = {n: read_flags(folder / f"{n}.txt", len(truth)) for n in ("full_occlusion", "out_of_view")}
        attributes = derived_attributes(truth)
        valid = has_area(truth)
        for name, flags in hidden.items():
            if flags is not None:
                attributes[name.replace("_", " ")] = flags > 0
                valid &= flags == 0
        kind = folder.name.rsplit("-", 1)[0]
        return SequenceData(
            folder.name, tuple(frames), truth, valid, truth[0], attributes=attributes, object_class=kind
        )

    title = f"LaSOT {subset}" + ("" if len(folders) == len(wanted) else f", {len(folders)} of {len(wanted)} sequences")
    return gather(
        [(f.name, partial(read, f)) for f in folders], pattern, Dataset("lasot", title, "LaSOT", "otb", "lasot", ())
    )


def load_uav(root: Path, version: str = "UAV123", pattern: str | None = None) -> Dataset:
    """UAV123 and UAV20L (Mueller, Smith, Ghanem, ECCV 2016): ROOT/anno/<version>/*.txt,
    ROOT/data_seq/UAV123/<folder>/%06d.jpg.

    Frames without a target are annotated NaN; they don't count.
    """
    table = package_table("uav123.json")[version]
    files = sorted(f for f in (root / "anno" / version).glob("*.txt") if f.stem in table)
    if not files:
        raise SourceError(
            f"No annotations of {version} in {root / 'anno' / version}; expected ROOT/anno/{version}/bike1.txt and "
            "ROOT/data_seq/UAV123/bike1/000001.jpg."
        )

    def read(file: Path) -> SequenceData:
        entry, truth = table[file.stem], read_table(file)
        folder = root / "data_seq" / "UAV123" / entry["folder_name"]
        frames = [str(folder / f"{k:06d}.jpg") for k in range(entry["start_frame"], entry["end_frame"] + 1)]
        _match(frames, truth, file)
        if not Path(frames[0]).is_file():
            raise SourceError(f"The first image of {file.stem} is missing: {frames[0]}.")
        return SequenceData(
            file.stem, tuple(frames), truth, annotated(truth), truth[0], attributes=derived_attributes(truth)
        )

    title = version if len(files) == len(table) else f"{version}, {len(files)} of {len(table)} sequences"
    return gather(
        [(f.stem, partial(read, f)) for f in files], pattern, Dataset(version.lower(), title, version, "otb", "otb", ())
    )


def load_nfs(root: Path, rate: str = "30", pattern: str | None = None) -> Dataset:
    """NfS (Galoogahi et al., ICCV 2017): ROOT/<sequence>/<rate>/<sequence>.txt and
    ROOT/<sequence>/<rate>/<sequence>/*.jpg.

    Annotation lines are `id left top right bottom ...` with quotes; at 30 fps, files that still hold all 240 fps rows
    are thinned by 8, and one row too many or too few is cut, as in the got10k package.
    """
    if rate not in ("30", "240"):
        raise SourceError(f"NfS has no frame rate {rate!r}; choose --subset 30 or 240.")
    files = sorted(root.glob(f"*/{rate}/*.txt"))
    if not files:
        raise SourceError(
            f"No annotations in {root}; expected ROOT/<sequence>/{rate}/<sequence>.txt and the images in a folder "
            "beside it."
        )

    def read(file: Path) -> SequenceData:
        frames = list_images(file.with_suffix(""))
        rows = [re.findall(r'"[^"]*"|\S+', line)[1:5] for line in annotation_text(file).splitlines() if line.strip()]
        try:
            text = file.read_text(encoding="utf-8-sig")
            rows = [re.findall(r'"[^"]*"|\S+', line)[1:5] for line in text.splitlines() if line.strip()]
            corners = np.asarray([[float(v.strip('"')) for v in row] for row in rows]).reshape(-1, 4)
        except ValueError:
            raise SourceError(
                f"{file} isn't an NfS annotation; expected lines `0 left top right bottom ...`."
            ) from None
        if not len(corners):
            raise SourceError(f"The annotation {file} is empty; expected lines `0 left top right bottom ...`.")
        if frames and abs(len(corners) / len(frames) - 8) < 1:
            corners = corners[::8]
        if abs(len(corners) - len(frames)) == 1:
            count = min(len(corners), len(frames))
            corners, frames = corners[:count], frames[:count]
        _match(frames, corners, file)
        truth = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        return SequenceData(
            file.stem, tuple(frames), truth, annotated(truth), truth[0], attributes=derived_attributes(truth)
        )

    title = f"NfS {rate} fps" + ("" if len(files) == 100 else f", {len(files)} of 100 sequences")
    return gather(
        [(f.stem, partial(read, f)) for f in files], pattern, Dataset("nfs", title, f"NfS/{rate}", "otb", "otb", ())
    )


def load_tcolor128(root: Path, pattern: str | None = None) -> Dataset:
    """TColor128 (Liang, Blasch, Ling, TIP 2015): ROOT/<sequence>/<sequence>_gt.txt, <sequence>_frames.txt and
    img/%04d.jpg."""
    files = sorted(root.glob("*/*_gt.txt"))
    if not files:
        raise SourceError(
            f"No annotations in {root}; expected ROOT/<sequence>/<sequence>_gt.txt, <sequence>_frames.txt and "
            "img/0001.jpg."
        )

    def read(file: Path) -> SequenceData:
        truth = read_table(file)
        ranges = sorted(file.parent.glob("*_frames.txt"))
        if not ranges:
            raise SourceError(
                f"{file.parent / (file.parent.name + '_frames.txt')} is missing; it holds the first and last frame, "
                "like 1,100."
            )
        first, last = read_table(ranges[0], columns=(2,))[0].tolist()
        if last - first + 1 != len(truth) or not 0 <= first <= last:
            raise SourceError(
                f"{ranges[0]} says frames {first:g} to {last:g}, but {file} has {len(truth)} lines; they must be as "
                "many."
            )
        frames = [str(file.parent / "img" / f"{k:04d}.jpg") for k in range(int(first), int(last) + 1)]
        name = file.parent.name
        return SequenceData(
            name, tuple(frames), truth, annotated(truth), truth[0], attributes=derived_attributes(truth)
        )

    title = "TColor128" if len(files) == 128 else f"TColor128, {len(files)} of 128 sequences"
    items = [(f.parent.name, partial(read, f)) for f in files]
    return gather(items, pattern, Dataset("tcolor128", title, "TColor128", "otb", "otb", ()))


def load_trackingnet(root: Path, subset: str = "test", pattern: str | None = None) -> Dataset:
    """TrackingNet (Mueller et al., ECCV 2018): ROOT/TEST/anno/*.txt and ROOT/TEST/frames/<sequence>/<n>.jpg; train:
    TRAIN_0 ...

    The test annotation is the first box alone; the numbers come from the benchmark's server.
    """
    if subset not in ("test", "train"):
        raise SourceError(f"TrackingNet has no subset {subset!r}; choose test or train.")
    parts = [root / "TEST"] if subset == "test" else sorted(root.glob("TRAIN_*"))
    files = sorted(f for part in parts for f in (part / "anno").glob("*.txt"))
    if not files:
        part = "TEST" if subset == "test" else "TRAIN_0"
        raise SourceError(
            f"No annotations in {root}; expected ROOT/{part}/anno/<sequence>.txt and "
            f"ROOT/{part}/frames/<sequence>/0.jpg."
        )

    def read(file: Path) -> SequenceData:
        frames, truth = list_images(file.parent.parent / "frames" / file.stem), read_table(file)
        if subset == "test" and len(truth) == 1 and frames:
            truth = np.concatenate([truth, np.full((len(frames) - 1, 4), np.nan)])
        _match(frames, truth, file)
        return SequenceData(
            file.stem, tuple(frames), truth, annotated(truth), truth[0], attributes=derived_attributes(truth)
        )

    title, withheld = f"TrackingNet {subset}", subset == "test"
    dataset = Dataset("trackingnet", title, "TrackingNet", "otb", "trackingnet", (), truth_withheld=withheld)
    return gather([(f.stem, partial(read, f)) for f in files], pattern, dataset)
