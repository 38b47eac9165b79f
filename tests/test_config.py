"""Changes by `key=value`, as every tool takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker.config import MOVED, REMOVED, Config, TrackingConfig, load_config
from tracker.config_merge import merge, to_dict
from tracker.errors import ConfigError
from tracker.settings import changed, flat

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
        (
            "tracking.scales=many",
            r"^The override 'tracking.scales=many' says 'many', and tracking.scales must be a whole number, for "
            r"example 3\.$",
        ),
        ("tracking.states=maybe", "tracking.states.enabled must be true or false, for example true"),
        ("tracking.scales=", "'tracking.scales=' gives no value; write a whole number behind it, for example 3"),
        ("model.head=", "'model.head=' gives no value; write a text behind it"),
        ("tracking=4", "says 4, and tracking must be a section of keys and values"),
        (
            "tracking.confidence=[1,x]",  # OmegaConf 2.4 names the list, 2.3 the place in it
            r"says (\[1, )?'x'\]?, and tracking.calibration.confidence(\[1\])? must be a (list|number)",
        ),
        ("tracking.scales", "not of the form key=value"),
    ],
)
def test_a_wrong_change_is_a_sentence(recipe: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(recipe, [text])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tracking: {scales: 1.5}", "tracking.scales is 1.5, and must be a whole number, for example 3"),
        ("tracking: {scales: }", "tracking.scales has no value; write a whole number behind it, for example 3"),
        ("tracking: [1]", "tracking is .*, and must be a section of keys and values"),
    ],
)
def test_a_wrong_type_in_a_file_is_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError, match="^In .*r.yaml: " + said) as caught:
        load_config(path)
    assert "\n" not in str(caught.value) and "full_key" not in str(caught.value)


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


def test_every_flat_name_of_the_tracking_section_still_loads() -> None:
    """Checkpoints and recipes of version 0.1.0 hold them; in a mapping and as an override they mean the same."""
    known = flat(TrackingConfig())
    assert set(MOVED.values()) <= set(known) and len(set(MOVED.values())) == len(MOVED)
    for old, new in MOVED.items():
        value = known[new]
        kinds = {bool: True, int: 40, float: 0.25, tuple: (0.5,), str: "off"}
        crops = {"small_search.size": 150, "redetection.size": 150, "redetection.scale_step": 2.5}
        other = crops.get(new, kinds[type(value)]) if value is not True else False
        text = str(list(other)) if isinstance(other, tuple) else str(other).lower()
        nested_ones = [
            load_config(None, [f"tracking.{old}={text}"]),
            load_config(None, [f"tracking.{new}={text}"]),
            load_config(None, [f"tracking={{{old}: {text}}}"]),
            merge(Config(), {"tracking": {old: other}}),
        ]
        expected = Config(tracking=changed(TrackingConfig(), {new: other}))
        assert all(config == expected for config in nested_ones), (old, new)


@pytest.mark.parametrize("key", REMOVED)
def test_a_setting_that_is_gone_still_loads(key: str, caplog: pytest.LogCaptureFixture) -> None:
    """In a header or recipe as in an override; who had changed it is told."""
    section, name = key.split(".")
    assert load_config(None, [f"tracking.{key}=0.0"]) == Config()
    assert merge(Config(), {"tracking": {section: {name: 0.0}}}) == Config() and not caplog.records
    kept = {"tracking": {section: {name: 16.0}, "scales": 5}}
    assert merge(Config(), kept, where="a.yaml") == Config(tracking=TrackingConfig(scales=5))
    assert f"a.yaml: tracking.{key}=16.0 has no effect" in caplog.text
    with pytest.raises(ConfigError, match="unknown"):
        merge(Config(), {"tracking": {name: 0.0}})


def test_a_new_name_wins_over_an_old_one_and_later_ones_win() -> None:
    both = merge(Config(), {"tracking": {"redetect_tiles": 3, "redetection": {"tiles": 5, "frames": 4}}})
    assert (both.tracking.redetection.tiles, both.tracking.redetection.frames) == (5, 4)
    switched = merge(Config(), {"tracking": {"states": False, "lost_frames": 7}}, ["tracking.redetect_tiles=9"])
    assert not switched.tracking.states.enabled and switched.tracking.states.lost_frames == 7
    assert switched.tracking.redetection.tiles == 9
    again = load_config(None, ["tracking.redetect_tiles=3", "tracking.redetection.tiles=4"], base=switched)
    assert again.tracking.redetection.tiles == 4 and again.tracking.states.lost_frames == 7
    assert merge(Config(), to_dict(again)) == again


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("tracking.redetect_tile=1", "tracking.redetection.tiles"),
        ("tracking.redetection.tile=1", "tracking.redetection.tiles"),
        ("tracking.online.rte=0.1", "tracking.online.rate"),
        ("tracking.states={lost_scor: 0.1}", "tracking.states.lost_score"),
    ],
)
def test_a_misspelt_name_of_a_section_is_guessed(override: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
        load_config(None, [override])
