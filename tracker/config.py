"""Configurations: frozen dataclasses, filled from yaml and from `key=value` overrides. An unknown key is an error.

OmegaConf does the typed merging; this file holds the schema and turns its complaints into sentences.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tracker.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        backbone: Name in `tracker.model.backbones.BACKBONES`.
        neck_channels: Channels after the 1x1 neck; 0 leaves the neck out.
        energy: dot, cosine or euclidean (`tracker.model.energy.ENERGIES`).
        head: classic (scale and bias on the response) or boxes (response and one box for each cell).
        template_size, search_size: Sides of the crops in pixels.
        head_channels: Width of the `boxes` head.
        head_layers: 3x3 layers shared by score and boxes, before one more for each.
        relative_boxes: Boxes head: the sides are factors on those of the target in the template, so that a box keeps the
            convention of the one that was drawn (with or without arms, tail, shadow). False: counted in cells.
        response_scale: Initial factor on the energy (0.001 for raw AlexNet features, as in siamfc-pytorch).
    """

    backbone: str = "efficientnet-lite0"
    neck_channels: int = 112
    energy: str = "cosine"
    head: str = "boxes"
    template_size: int = 129
    search_size: int = 257
    head_channels: int = 96
    head_layers: int = 1
    relative_boxes: bool = False
    response_scale: float = 10.0


@dataclass(frozen=True)
class TrackingConfig:
    """The video loop: how a response becomes the next box. Every value without unit is a ratio.

    Attributes:
        context: Margin around the box, as a share of w + h (SiamFC: 0.5).
        window_influence: Weight of the cosine window in the final response.
        scales, scale_step: Classic head only: number of search scales and the factor between them.
        scale_penalty: Classic: factor on the response of a changed scale. Boxes: k in exp(-k (change - 1)).
        size_lr: Share of the new size in the reported one (SiamFC's scale damping).
        upsampling: Classic: bicubic up-sampling factor of the response; 1 uses a sub-pixel quadratic peak instead.
        min_size: Smallest side of a box, pixels.
        max_growth: The box's area side sqrt(w h) stays within [1/max_growth, max_growth] of the first one.
        steady_size: Side of the search crop, pixels, for a target that moves little and is seen well (boxes head); a frame that
            leaves doubt is looked at once more in the full `search_size`. 0: always the full one.
        steady_step: How much is little: the largest step of late, as a share of sqrt(w h).
        steady_score: How well is well: score at least, as a share of the target's usual one.

    Keeping the target. Scores are the calibrated ones of `tracker.tracking.confidence`, in [0, 1]; thresholds of states are
    shares of the target's usual score (`tracker.tracking.state`).

    Attributes:
        confidence: Bias, then one weight for each of `confidence.FEATURES`: the logistic regression behind the score. Empty
            (a model that `tools/calibrate.py` has not seen): the score is the network's own and nothing below is in use.
        confidence_plain: The same, fitted without what is learnt of a target: for where there is no online filter (a known target
            that is still to be found, `online_weight` 0). Empty: `confidence` serves there too.
        states: Whether UNCERTAIN and LOST exist; without them every track is TRACKING.
        uncertain_score: Below it the target is UNCERTAIN: its size doesn't follow and its motion is limited.
        sure_score: At or above it, for `sure_frames` frames in a row, an UNCERTAIN target is TRACKING again.
        sure_frames: See above.
        lost_score: Below it for `lost_frames` frames in a row the target is LOST; for `lost_doubt_frames` where something still
            stands at its place: a response of at least `lost_peak` and at most `lost_drop` logits below the target's usual one
            (a blurred or turning target, more often than none).
        lost_frames, lost_doubt_frames, lost_peak, lost_drop: See above.
        peak_fall: Share of a worse response in the target's usual one (of a better one: a tenth). The first view is the one witness
            that never learns: were the usual response to follow it down as fast as up, a target that slides out of the picture
            would hand over, frame by frame, to whatever the online filter learns in its place.
        lost_follow_frames: So long a LOST target is still followed from where it was read last, unreported: `sure_score` there,
            for `redetect_frames` frames in a row, makes it TRACKING, and one bad frame of a fast target costs two or three.
        uncertain_frames: UNCERTAIN for so many frames without a break is LOST.
        uncertain_motion: Largest step of an UNCERTAIN target in one frame, as a share of sqrt(w h).
        redetect: Whether a LOST target is searched for beyond its last place.
        verification: Bias and weights of score (as a logit), likeness to a known view and "found by search": the probability
            that what was found is the target (`confidence.verified`). Empty: the score alone decides.
        redetect_score: That probability which counts for a found place; below it, what spoke for the place is forgotten.
        redetect_frames: Frames in a row in which a place has to count before it is locked on.
        redetect_evidence: Log-odds above `redetect_score` that have to add up over these frames: one clear sight is soon
            enough, a look-alike that hovers above the threshold takes long.
        redetect_drop: How far, in logits, the response at a found place may lie below the target's usual one: so far for a place
            found by search, twice as far for the last place, and `redetect_drop_growth` more for each frame since it was lost.
            A look-alike is seldom as alike as the target itself was just before.
        redetect_drop_growth: See above.
        redetect_online, redetect_online_margin: Least response of the online filter at a found place, and its least lead over
            all places clear of it: a look-alike that was in sight before has been learnt as background.
        redetect_margin: By how many logits a place found by search must beat all others of that frame: no jump to a look-alike.
        elsewhere_frames: So many frames after one in which the target was surely seen, what a search finds is looked for in that one
            (`tracker.tracking.elsewhere`): what stood there while the target was seen at another place is not the target. 0: never.
        elsewhere_gap: Frames between two that are kept for this.
        redetect_tiles: Search windows at most, for each frame.
        redetect_budget_ms: Milliseconds that these may take in a frame; one is searched at least. 0: no limit, so that a run
            repeats on any machine; the tools set 40 for cameras and streams.
        redetect_size: Side of these windows in crop pixels; 0: one and a half search crops.
        redetect_scale_step: Every second sweep over the frame looks for a target this factor larger or smaller.
        bank_size: Later views of the target that are kept beside the first; 0: none.
        bank_weight: Share of the later views in the response while tracking (boxes head); 0: they serve re-detection alone.
        bank_gap: Frames at least between two views; up to four times as many while the target shows nothing new.
        bank_score: Score at least of a view that is kept.
        bank_similarity: A view more alike than this (cosine) to one that is kept adds nothing.
        bank_least: A view less alike than this to the first one is not trusted.

    Learning this target (boxes head, `tracker.tracking.online`).

    Attributes:
        online_weight: Share of the online filter in the choice of a place; 0: no filter.
        online_rate: Share of a new frame in what the filter is fitted to.
        online_gap: Frames between two updates of the filter.
        online_channels: Principal components of the embedding that it reads.
    """

    context: float = 0.5
    window_influence: float = 0.3
    scales: int = 3
    scale_step: float = 1.0375
    scale_penalty: float = 0.04
    size_lr: float = 0.4
    upsampling: int = 16
    min_size: float = 4.0
    max_growth: float = 12.0
    steady_size: int = 0
    steady_step: float = 0.25
    steady_score: float = 0.7
    confidence: tuple[float, ...] = ()
    confidence_plain: tuple[float, ...] = ()
    states: bool = True
    uncertain_score: float = 0.63
    sure_score: float = 0.8
    sure_frames: int = 1
    lost_score: float = 0.5
    lost_frames: int = 1
    lost_doubt_frames: int = 3
    lost_peak: float = 0.33
    lost_drop: float = 2.5
    peak_fall: float = 0.02
    lost_follow_frames: int = 15
    uncertain_frames: int = 20
    uncertain_motion: float = 0.5
    redetect: bool = True
    verification: tuple[float, ...] = ()
    redetect_score: float = 0.8
    redetect_frames: int = 2
    redetect_evidence: float = 4.0
    redetect_drop: float = 1.25
    redetect_drop_growth: float = 0.02
    redetect_online: float = 0.5
    redetect_online_margin: float = 0.15
    redetect_margin: float = 0.5
    elsewhere_frames: int = 30
    elsewhere_gap: int = 8
    redetect_tiles: int = 2
    redetect_budget_ms: float = 0.0
    redetect_size: int = 0
    redetect_scale_step: float = 1.4
    bank_size: int = 3
    bank_weight: float = 0.0
    bank_gap: int = 25
    bank_score: float = 0.9
    bank_similarity: float = 0.8
    bank_least: float = 0.45
    online_weight: float = 0.7
    online_rate: float = 0.05
    online_gap: int = 4
    online_channels: int = 32

    def __post_init__(self) -> None:
        for name in ("confidence", "confidence_plain", "verification"):  # yaml and json give lists
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))


@dataclass(frozen=True)
class Config:
    """One recipe: a model, how it tracks, and (free-form here, typed by `tracker.training`) how it was trained."""

    name: str = "siamtrack-s"
    model: ModelConfig = field(default_factory=ModelConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    train: dict[str, Any] = field(default_factory=dict)


def load_config(path: str | Path | None = None, overrides: Sequence[str] = (), base: Config | None = None) -> Config:
    """A configuration from defaults (or `base`), then a yaml file, then `key=value` overrides.

    Args:
        path: yaml file with the sections name, model, tracking, train; None for none.
        overrides: Such as "tracking.window_influence=0.2".
        base: What the file changes; the dataclass defaults where None.

    Raises:
        ConfigError: Missing or malformed file, unknown key (with the nearest known one), value of a wrong type.
    """
    return merge(base or Config(), read_yaml(path) if path is not None else {}, overrides, where=str(path) if path else "the overrides")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a yaml file.

    Raises:
        ConfigError: The file is missing, isn't yaml, or isn't a mapping.
    """
    from omegaconf import OmegaConf
    from yaml import YAMLError

    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"The configuration {file} does not exist; the shipped ones are in the folder configs/.")
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"The configuration {file} is not readable yaml: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"The configuration {file} holds a {type(loaded).__name__}; it must hold keys and values.")
    for key in _odd_keys(loaded):
        hint = "; yaml reads on, off, yes and no as true and false, quotes keep them words" if isinstance(key, bool) else ""
        raise ConfigError(f"In {file}: the key {key!r} is not a word{hint}.")
    return typing.cast("dict[str, Any]", loaded)


def _odd_keys(value: object) -> Iterator[object]:
    """The keys that are no text, wherever they stand."""
    if isinstance(value, dict):
        yield from (key for key in value if not isinstance(key, str))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _odd_keys(item)


def merge(base: T, values: Mapping[str, Any], overrides: Sequence[str] = (), where: str = "the configuration") -> T:
    """A dataclass instance with some of its fields replaced, types checked.

    Args:
        base: A frozen dataclass instance, nested ones included.
        values: Nested mapping of new values.
        overrides: Dotted `key=value` texts; these win. A number is a place in a list: `train.losses.0.weight=0.5`.
        where: What to call the origin in an error.

    Raises:
        ConfigError: As `load_config`.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for text in overrides:
        if "=" not in text:
            raise ConfigError(f"The override {text!r} is not of the form key=value, for example tracking.window_influence=0.2.")
    known = _known_keys(type(base))
    try:
        given = OmegaConf.create(dict(values))
        for text in overrides:
            _override(given, text, where)
        for key in _flatten(OmegaConf.to_container(given)):
            _check_key(key, known, where)
        schema = OmegaConf.structured(base)
        result = OmegaConf.to_object(OmegaConf.merge(schema, given))
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(f"In {where}: {key}{str(error).splitlines()[0]}") from None
    return typing.cast(T, result)


def _override(values: Any, text: str, where: str) -> None:
    """Sets what `key=value` says in an OmegaConf container; a number in the key is a place in a list."""
    from omegaconf import OmegaConf

    key, value = text.split("=", 1)
    try:
        OmegaConf.update(values, key, OmegaConf.from_dotlist([f"value={value}"]).value, merge=True)
    except (IndexError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise ConfigError(
            f"In {where}: the override {text!r} names no place of a list that is there ({reason}); they count from 0."
        ) from None


def to_dict(config: Any) -> dict[str, Any]:
    """The nested plain dict of a configuration (for checkpoints and logs)."""
    return dataclasses.asdict(config)


def _known_keys(cls: type, prefix: str = "") -> dict[str, bool]:
    """Dotted keys of a dataclass -> whether anything may stand below it (a free-form dict)."""
    keys: dict[str, bool] = {}
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        kind = hints[item.name]
        if dataclasses.is_dataclass(kind):
            keys[prefix + item.name] = False
            keys.update(_known_keys(typing.cast(type, kind), f"{prefix}{item.name}."))
        else:
            keys[prefix + item.name] = typing.get_origin(kind) is dict
    return keys


def _flatten(values: Any, prefix: str = "") -> list[str]:
    if not isinstance(values, dict):
        return []
    keys = []
    for name, value in values.items():
        keys.append(f"{prefix}{name}")
        keys.extend(_flatten(value, f"{prefix}{name}."))
    return keys


def _check_key(key: str, known: Mapping[str, bool], where: str) -> None:
    parts = key.split(".")
    if key in known or any(known.get(".".join(parts[:n]), False) for n in range(1, len(parts))):
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5) or [k for k in known if k.split(".")[-1] == parts[-1]]
    hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(sorted(known))}."
    raise ConfigError(f"In {where}: the key {key!r} is unknown. {hint}")
