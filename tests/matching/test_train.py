"""Training of matchers: sources, balanced batches that repeat, exact resume, two processes as one."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.matching.material import classes, recipe, shape
from tracker.config_merge import merge
from tracker.errors import ConfigError, SourceError
from tracker.matching.batches import MatchSource
from tracker.matching.config import InputConfig, load_recipe
from tracker.matching.protocols import TestConfig, functions_of, measure
from tracker.matching.sources import Classes, part_of, read_material, read_source
from tracker.matching.store import load_matcher
from tracker.matching.tables import Pairs
from tracker.matching.train import run
from tracker.training.data.loader import to_device

pytest.importorskip("pytorch_metric_learning")
ROOT = Path(__file__).resolve().parents[2]
TEXT = {
    "model": {
        "input": {"modality": "text", "buckets": 300},
        "encoder": {"name": "lstm", "options": {"width": 12, "hidden": 6}},
    }
}


def log(folder: Path) -> list[dict[str, str]]:
    with open(folder / "log.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "pairs_per_second"} for row in csv.DictReader(file)]


def test_batches_are_balanced_and_repeat(tmp_path: Path) -> None:
    source = MatchSource(recipe(classes(tmp_path), data={"turns": 4, "classes": 6, "samples": 3}))
    one, again, other = source.batch(5), source.batch(5), source.batch(6)
    assert torch.equal(one.first, again.first) and not torch.equal(one.first, other.first)
    assert one.first.dtype == torch.uint8 and torch.bincount(one.label).tolist() == [3] * 6
    halves = [source.batch(5, rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([half.first for half in halves]), one.first)
    assert to_device(one, torch.device("cpu"), True).label.dtype == torch.int64


def test_siblings_come_from_one_folder(tmp_path: Path) -> None:
    for family in ("a", "b"):
        classes(tmp_path / family, 4)
    source = MatchSource(recipe(tmp_path, data={"siblings": 1.0, "classes": 4}))
    for step in range(5):
        chosen = source._choose(np.random.default_rng(step))
        assert len({source.parts[0].names[k].split("/")[0] for _, k, _ in chosen}) == 1


def test_a_run_trains_stops_and_goes_on_to_the_bit(tmp_path: Path) -> None:
    config = recipe(
        classes(tmp_path / "data"), loss={"name": "contrastive", "memory": 24, "miner": {"name": "pair-margin"}}
    )
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", max_steps=5)
    run(config, tmp_path / "parts", resume=True)
    assert log(tmp_path / "whole") == log(tmp_path / "parts") and len(log(tmp_path / "whole")) == 12
    a, b = (load_matcher(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert a.fingerprint == b.fingerprint and a.calibration == b.calibration
    assert 0 < float(log(tmp_path / "whole")[-1]["spread"]) <= 1


def test_training_learns_to_tell_things_apart(tmp_path: Path) -> None:
    config = recipe(
        classes(tmp_path / "data", 6),
        data={"folds": 3, "fold": 1},
        loss={"name": "triplet", "miner": {"name": "semi-hard"}},
    )
    config = type(config)(**{**config.__dict__, "train": type(config.train)(**{**config.train.__dict__, "steps": 30})})
    (tmp_path / "run").mkdir()
    run(config, tmp_path / "run")
    stored = load_matcher(tmp_path / "run" / "last.safetensors")
    assert stored.calibration is not None and stored.calibration.on == "kept"
    figures = measure(*functions_of(stored.twins), TestConfig(protocol="verification", fold=True), config)
    assert figures["genuine"] == 2 * 28 and figures["auc"] > 0.8


def test_kochs_rule_trains_by_its_recipe(tmp_path: Path) -> None:
    small = {"input": {"width": 24, "height": 24}, "encoder": {"options": {"channels": [4, 8], "dim": 8}}}
    data = {"root": str(tmp_path / "data"), "sources": [{"kind": "folder", "path": "."}], "classes": 4}
    config = merge(
        load_recipe("match-koch"), {"model": small, "data": data, "train": {"precision": "fp32", "workers": 0}}
    )
    classes(tmp_path / "data")
    (tmp_path / "run").mkdir()
    assert config.train.optim.name == "koch" and run(config, tmp_path / "run", max_steps=3).step == 3
    with pytest.raises(ConfigError, match="stand in the section loss"):
        run(merge(config, {"train": {"losses": [{"name": "focal"}]}}), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    from tests.matching.material import values

    root = classes(tmp_path / "data")
    (tmp_path / "recipe.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(values(root))))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "tracker.cli"]
    for name, prefix in (("one", [sys.executable, "-m", "tracker.cli"]), ("two", launch)):
        command = [
            *prefix,
            "match",
            "train",
            str(tmp_path / "recipe.yaml"),
            "--output",
            str(tmp_path / name),
            "--quiet",
        ]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = ([float(row["loss"]) for row in log(tmp_path / name)] for name in ("one", "two"))
    assert np.allclose(one[:3], two[:3], rtol=1e-3) and np.allclose(one, two, rtol=0.05)


def test_texts_are_trained_from_scored_pairs(tmp_path: Path) -> None:
    lines = [
        "kind\t5.0\ta dog runs\tthe dog is running",
        "kind\t0.0\ta dog runs\tstocks fell today",
        'kind\t2.5\tsay "yes\ta man said yes',
    ] * 4
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    source = {
        "kind": "pairs",
        "path": "pairs.csv",
        "delimiter": "tab",
        "columns": {"score": 1, "a": 2, "b": 3},
        "scale": 5,
    }
    config = recipe(tmp_path, data={"sources": [source]}, loss={"name": "ranking"}, **TEXT)
    batch = MatchSource(config).batch(0)
    assert (
        batch.first.dtype == torch.int64 and batch.second is not None and set(batch.score.tolist()) <= {0.0, 0.5, 1.0}
    )
    assert to_device(batch, torch.device("cpu"), False).first.dtype == torch.int64
    (tmp_path / "run").mkdir()
    result = run(config, tmp_path / "run")
    assert result.step == 12
    stored = load_matcher(tmp_path / "run" / "last.safetensors")
    test = TestConfig(
        protocol="sts", path="pairs.csv", source={k: v for k, v in source.items() if k not in ("kind", "path")}
    )
    assert measure(*functions_of(stored.twins), test, config)["spearman"] > 0.5


def test_pairs_and_triplets_of_pictures(tmp_path: Path) -> None:
    classes(tmp_path, 3, 3)
    (tmp_path / "pairs.csv").write_text("a,b,label\nthing0/00.png,thing0/01.png,1\nthing1/00.png,thing2/01.png,0\n")
    (tmp_path / "triplets.csv").write_text("anchor,positive,negative\nthing0/00.png,thing0/01.png,thing1/02.png\n")
    for kind, loss in (("pairs", "contrastive"), ("triplets", "triplet"), ("triplets", "contrastive")):
        config = recipe(tmp_path, data={"sources": [{"kind": kind, "path": f"{kind}.csv"}]}, loss={"name": loss})
        (tmp_path / f"run-{kind}-{loss}").mkdir()
        assert run(config, tmp_path / f"run-{kind}-{loss}", max_steps=2).step == 2
    config = recipe(tmp_path, data={"sources": [{"kind": "pairs", "path": "pairs.csv"}]}, loss={"name": "circle"})
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError, match="want the loss contrastive"):
        run(config, tmp_path / "run")


def test_aligned_pictures_stay_aligned(tmp_path: Path) -> None:
    for k in range(4):
        image = np.random.default_rng(k).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        for folder, picture in (("one", image), ("two", 255 - image)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"scene{k}.png"), picture)
    source = {"kind": "aligned", "path": "one", "second": "two", "crop": 24, "step": 12}
    data = {"sources": [source], "classes": 8, "samples": 1, "augment": {"rotate": 10, "shift": 0.1}, "folds": 2}
    config = recipe(tmp_path, data=data, loss={"name": "ntxent"})
    batch = MatchSource(config).batch(0)
    assert batch.second is not None
    assert np.abs((255 - batch.second.float()) - batch.first.float())[:, :, 8:16, 8:16].mean() < 12
    kept, trained = (read_material(config.data, config.model.input, part)[0] for part in (True, False))
    assert not {n.split("/")[0] for n in kept.names} & {n.split("/")[0] for n in trained.names}


def test_identities_are_parted_never_pictures(tmp_path: Path) -> None:
    names = [f"person{k}" for k in range(11)]
    parts = [part_of(names, 4, fold, True, seed=3) for fold in range(4)]
    assert sorted(k for part in parts for k in part) == list(range(11))
    assert sorted(parts[0] + part_of(names, 4, 0, False, seed=3)) == list(range(11))
    with pytest.raises(ConfigError, match="can't be parted"):
        part_of(names, 12, 0, True)
    (tmp_path / "p.csv").write_text("a,b,score\nx,y,1\ny,z,0.5\nu,v,0\n")
    pairs = read_source({"kind": "pairs", "path": "p.csv"}, tmp_path, InputConfig(modality="text"))
    assert isinstance(pairs, Pairs) and pairs.names[0] == pairs.names[1] != pairs.names[2]


def test_tracks_and_coco_boxes_are_classes(tmp_path: Path) -> None:
    for clip in ("one", "two"):
        folder = tmp_path / "train" / clip
        folder.mkdir(parents=True)
        for k in range(4):
            cv2.imwrite(str(folder / f"{k + 1:08d}.jpg"), shape(k, 0, 64))
        (folder / "groundtruth.txt").write_text("10,10,20,20\n" * 4)
    (tmp_path / "train" / "list.txt").write_text("one\ntwo\n")
    tracks = read_source({"kind": "tracks", "path": "train"}, tmp_path, InputConfig())
    assert (
        isinstance(tracks, Classes)
        and tracks.names == ["one", "two"]
        and tracks.samples[0][0].read().shape == (20, 20, 3)
    )
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), shape(1, 1, 64))
    coco = {
        "categories": [{"id": 1, "name": "mug"}],
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 30, 30], "segmentation": []}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    boxes = read_source({"kind": "coco", "path": "instances.json", "context": 0.1}, tmp_path, InputConfig())
    assert isinstance(boxes, Classes) and boxes.names == ["mug"] and boxes.samples[0][0].read().shape == (36, 36, 3)


@pytest.mark.parametrize(
    ("text", "source", "sentence"),
    [
        ("a,b,label\nx.png,y.png,1\n", {}, "line 2: the picture .*x.png does not exist"),
        ("a,b\nx,y\n", {}, "no column label or score"),
        ("", {}, "is empty"),
        ("a,b,label\nthing0/00.png,thing0/01.png,7\n", {}, "not a number from 0 to 1"),
    ],
)
def test_a_bad_list_is_one_sentence(tmp_path: Path, text: str, source: dict[str, str], sentence: str) -> None:
    classes(tmp_path, 2, 2)
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(SourceError, match=sentence):
        MatchSource(recipe(tmp_path, data={"sources": [{"kind": "pairs", "path": "pairs.csv", **source}]}))


def test_texts_of_another_encoding_are_named(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes("a,b,score\nMünchen,Muenchen,1\nx,y,0\n".encode("latin-1"))
    source = {"kind": "pairs", "path": "pairs.csv"}
    with pytest.raises(SourceError, match=r"is not utf-8 text.*latin-1"):
        MatchSource(recipe(tmp_path, data={"sources": [source]}, **TEXT))
    read = read_source({**source, "encoding": "latin-1"}, tmp_path, InputConfig(modality="text"))
    assert isinstance(read, Pairs) and read.first[0] == "München"


def test_classes_that_cannot_train_are_named(tmp_path: Path) -> None:
    classes(tmp_path, 3, 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"The class 'empty' .* holds no pictures"):
        MatchSource(recipe(tmp_path, data={"classes": 2}))
    (tmp_path / "empty" / "one.png").write_bytes((tmp_path / "thing0" / "00.png").read_bytes())
    with pytest.raises(ConfigError, match=r"'empty' .* has a single picture"):
        MatchSource(recipe(tmp_path, data={"classes": 2}))
    assert MatchSource(recipe(tmp_path, data={"classes": 2, "augment": {"rotate": 10}})).batch(0).label.shape == (6,)
    with pytest.raises(ConfigError, match="A batch wants 9 classes, and there are 4"):
        MatchSource(recipe(tmp_path, data={"classes": 9, "augment": {"rotate": 10}}))
