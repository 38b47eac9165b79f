"""Every setting has a meaning and bounds, and no value out of them is taken, wherever it comes from."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.helpers import ROOT, tiny_model
from tracker import SiamTracker
from tracker.cli.__main__ import main
from tracker.cli.settings import markdown, rows, sections
from tracker.config import Config, TrackingConfig, load_config
from tracker.config_merge import merge, to_dict
from tracker.errors import ConfigError, SiamTrackError
from tracker.model.checkpoint import load_model, shipped_models
from tracker.model_config import ModelConfig
from tracker.settings import KEY, changed, fields_of
from tracker.training.data.sampling import PairConfig

NUMBERS = [
    (cls, name, kind, facts)
    for cls in sections()
    for name, kind, facts in fields_of(cls)
    if "int" in str(kind) or "float" in str(kind)
]
OTHERS = [(cls, name, kind) for cls in sections() for name, kind, _ in fields_of(cls) if kind in (str, bool)]
IDS = [f"{cls.__name__}.{name}" for cls, name, *_ in NUMBERS]


def test_every_field_says_what_it_is_and_what_it_may_be() -> None:
    for cls in sections():
        for item in dataclasses.fields(cls):
            assert KEY in item.metadata, (
                f"{cls.__name__}.{item.name} is a plain field; write it as setting(default, low, high, unit, help)"
            )
        for name, _, facts in fields_of(cls):
            assert facts.help, f"{cls.__name__}.{name} doesn't say what it is"
    for cls, name, _, facts in NUMBERS:
        assert facts.low is not None and facts.high is not None, f"{cls.__name__}.{name} has no bounds"


@pytest.mark.parametrize(("cls", "name", "kind", "facts"), NUMBERS, ids=IDS)
def test_a_number_out_of_its_bounds_is_refused(cls: type, name: str, kind: Any, facts: Any) -> None:
    whole = "int" in str(kind)
    outside = [math.nan, math.inf, -math.inf, "x", True, 10**400, facts.high + 1, facts.low - 1, [1], {}, object(), 1j]
    outside += [facts.low] if facts.above else []
    outside += [facts.high] if facts.below else []
    outside += [0.5 + facts.high / 2] if whole and (facts.high % 2 == 0) else []
    for value in outside:
        given = (value,) if "tuple" in str(kind) else value
        with pytest.raises(ConfigError, match=name):
            cls(**{name: given})
    inside = [v for v in (facts.low, facts.high, facts.off) if v is not None and facts.allows(v)]
    for value in inside:
        if name not in ("template_size", "search_size"):  # bound to one another
            cls(**{name: (value,) if "tuple" in str(kind) else value})


@pytest.mark.parametrize(("cls", "name", "kind"), OTHERS)
def test_a_word_where_a_switch_is_expected_is_refused(cls: type, name: str, kind: type) -> None:
    for value in (None, 5, ["a"], *(("yes", 1) if kind is bool else (True,))):
        with pytest.raises(ConfigError, match=name):
            cls(**{name: value})


def test_the_words_on_and_off_may_stand_without_quotes() -> None:
    config = merge(PairConfig(), {}, ["resident=on"])
    assert config.resident == "on" and merge(config, {"resident": False}).resident == "off"


def test_bounds_hold_on_every_road(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("tracking: {min_size: .inf}\n")
    for road in (
        lambda: load_config(path),
        lambda: load_config(None, ["tracking.min_size=.inf"]),
        lambda: merge(Config(), {"tracking": {"min_size": math.inf}}),
        lambda: dataclasses.replace(TrackingConfig(), min_size=math.inf),
        lambda: SiamTracker.from_pretrained("siamtrack-n", "cpu", overrides=["tracking.min_size=.inf"]),
    ):
        with pytest.raises(
            ConfigError, match=r"tracking\.min_size is inf; it must be a finite number from 0\.5 to 512 pixels"
        ):
            road()


@pytest.mark.parametrize(("name", "size"), [("small_search.size", 65), ("redetection.size", 65)])
def test_a_window_holds_the_template(name: str, size: int) -> None:
    with pytest.raises(
        ConfigError, match=f"{name} is 65; a search window must be at least as large as the template, which is 129"
    ):
        Config(tracking=changed(TrackingConfig(), {name: size}))
    with pytest.raises(ConfigError, match="search crop must be at least as large as the template"):
        ModelConfig(template_size=257, search_size=129)


def test_what_is_shipped_and_what_was_stored_still_loads() -> None:
    for name in shipped_models():
        model = load_model(name)
        assert merge(Config(), json.loads(json.dumps(to_dict(model.config)))) == model.config
    every = list(ROOT.glob("configs/*.yaml")) or list(ROOT.glob("tracker/recipes/*.yaml"))
    recipes = [path for path in every if not path.stem.startswith("match-")]
    assert recipes and all(load_config(path).name for path in recipes)


@pytest.mark.parametrize("size", [33, 64])
def test_a_size_that_the_network_cannot_have_is_a_sentence(size: int) -> None:
    try:
        tracker = SiamTracker.from_pretrained("siamfc-alexnet", "cpu", overrides=[f"model.template_size={size}"])
    except SiamTrackError as error:
        assert str(error).strip()
        return
    tracker.init(np.zeros((50, 60, 3), np.uint8), (5, 5, 20, 20))
    assert np.isfinite(tracker.update(np.zeros((50, 60, 3), np.uint8)).box).all()


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == markdown(), "run `siamtrack settings --markdown > docs/settings.md`"


def test_the_command_prints_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "tracking.min_size"]) == 0
    said = capsys.readouterr().out
    assert (
        said.splitlines()[0] == "tracking.min_size = 4   (from 0.5 to 512 pixels)" and "Smallest side of a box." in said
    )
    assert main(["settings", "tracking.min_sise"]) == 2
    assert "Did you mean 'tracking.min_size'?" in capsys.readouterr().err
    assert len(list(rows())) > 150


def test_yaml_that_is_endless_is_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 [1, 1]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12))
    path = tmp_path / "c.yaml"
    for text, said in ((bomb, "more than 100000 values"), ("train: &a {x: [*a]}\n", "stands inside of what it names")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=said):
            load_config(path)


def test_a_checkpoint_with_a_setting_of_no_sense_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from tracker.model.checkpoint import HEADER, read_safetensors

    path = tiny_model(tmp_path / "m.safetensors")
    metadata, state = read_safetensors(path)
    header = json.loads(metadata[HEADER])
    header["config"]["tracking"]["max_growth"] = 0
    save_file(state, path, metadata={HEADER: json.dumps(header)})
    with pytest.raises(ConfigError, match=r"tracking\.max_growth is 0"):
        load_model(path)
