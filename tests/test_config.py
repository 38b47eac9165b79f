"""Changes by `key=value`, as every tool takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker.config import load_config
from tracker.errors import ConfigError

RECIPE = """
train:
  losses:
    - {name: focal, weight: 1.0}
    - {name: giou, weight: 1.5}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    return path


def test_a_number_is_a_place_in_a_list(recipe: Path) -> None:
    config = load_config(recipe, ["train.losses.1.weight=0.5", "tracking.scales=5", "name=a=b"])
    assert config.train["losses"] == [{"name": "focal", "weight": 1.0}, {"name": "giou", "weight": 0.5}]
    assert (config.tracking.scales, config.name) == (5, "a=b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train.losses.2.weight=1", "train.losses.2.weight=1.*no place of a list"),
        ("train.losses.first.weight=1", "train.losses.first.weight=1.*no place of a list"),
        ("tracking.scale=5", "Did you mean 'tracking.scales'"),
        ("tracking.scales=many", "many"),
        ("tracking.scales", "not of the form key=value"),
    ],
)
def test_a_wrong_change_is_a_sentence(recipe: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(recipe, [text])
    assert "\n" not in str(caught.value)


def test_a_key_that_yaml_takes_for_a_boolean_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("train:\n  losses:\n    - {name: contrastive, options: {on: energy}}\n")
    with pytest.raises(
        ConfigError, match=r"the key True is not a word; yaml reads on, off, yes and no as true and false"
    ):
        load_config(path)


@pytest.mark.parametrize(
    "text",
    [
        "tracking: ${nope}",
        "tracking:\n  window_influence: ${tracking.window_influence}",
        "name: '${'",
        "null: 2",
        "train: {s: !!set {a, b}}",
        "name: ${oc.env:NOT_SET}",
        "name: !!python/object/apply:os.getcwd []",
        "name: [",
        "- a\n- b",
        "tracking: 5",
    ],
)
def test_yaml_that_leads_nowhere_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value) or "tracking" in str(caught.value)


@pytest.mark.parametrize("value", ["[", "=", "@", "*a", "%", "{a: }}", "\t- :", "${tracking.scales}", "!!set {a}"])
@pytest.mark.parametrize("key", ["tracking.scales", "tracking", "train.losses.0.weight", "train"])
def test_a_value_that_is_no_yaml_is_a_sentence(recipe: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=r"\w+ \w+"):
        load_config(recipe, [f"{key}={value}"])
