"""Configurations: frozen dataclasses, filled from yaml and from `key=value` overrides. An unknown key is an error.

OmegaConf does the typed merging; this file holds the schema and turns its complaints into sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracker.config_merge import merge
from tracker.model_config import ModelConfig, check_sizes
from tracker.settings import LARGEST, Checked, setting
from tracker.yaml_files import read_yaml


@dataclass(frozen=True)
class TrackingConfig(Checked, section="tracking"):
    """The video loop: how a response becomes the next box, how the target is kept, and what is learnt of it.

    Each field says what it is and what it may be (`siamtrack settings tracking` prints them). A value without unit is a
    ratio. Scores are the calibrated ones of `tracker.tracking.confidence`, in [0, 1]; thresholds of states are shares
    of the target's usual score (`tracker.tracking.state_machine`), and one above 1 is never reached.
    """

    context: float = setting(0.5, 0, 4, help="Margin around the box, as a share of w + h (SiamFC: 0.5).")
    window_influence: float = setting(0.3, 0, 1, help="Weight of the cosine window in the final response.")
    scales: int = setting(3, 1, 15, "scales", "Classic head only: number of search scales.")
    scale_step: float = setting(1.0375, 1, 2, help="Classic head only: factor between two search scales.")
    scale_penalty: float = setting(
        0.04, 0, 10, help="Classic: factor on the response of a changed scale. Boxes: k in exp(-k (change - 1))."
    )
    size_lr: float = setting(0.4, 0, 1, help="Share of the new size in the reported one (SiamFC's scale damping).")
    upsampling: int = setting(
        16,
        1,
        32,
        help="Classic: bicubic up-sampling factor of the response; 1 uses a sub-pixel quadratic peak instead.",
    )
    min_size: float = setting(4.0, 0.5, 512, "pixels", "Smallest side of a box.")
    max_growth: float = setting(
        12.0, 1, 1000, help="The box's sqrt(w h) stays within [1/max_growth, max_growth] of that of the first one."
    )
    steady_size: int = setting(
        0,
        33,
        1023,
        "pixels",
        """Side of the search crop for a target that moves little and is seen well (boxes head); a frame that leaves
        doubt is looked at once more in the full `model.search_size`. 0: always the full one.""",
        off=0,
    )
    steady_step: float = setting(
        0.25, 0, 10, help="How much is little: the largest step of late, as a share of sqrt(w h)."
    )
    steady_score: float = setting(
        0.7, 0, 2, help="How well is well: score at least, as a share of the target's usual one."
    )
    confidence: tuple[float, ...] = setting(
        (),
        -1e6,
        1e6,
        length=(0, 64),
        help="""Bias, then one weight for each of `confidence.FEATURES`: the logistic regression behind the score. Empty
        (a model that `tools/calibrate.py` has not seen): the score is the network's own, and states and re-detection
        are not in use.""",
    )
    confidence_plain: tuple[float, ...] = setting(
        (),
        -1e6,
        1e6,
        length=(0, 64),
        help="""The same, fitted without what is learnt of a target: for where there is no online filter (a known target
        that is still to be found, `online_weight` 0). Empty: `confidence` serves there too.""",
    )
    states: bool = setting(True, help="Whether UNCERTAIN and LOST exist; without them every track is TRACKING.")
    uncertain_score: float = setting(
        0.63, 0, 2, help="Below it the target is UNCERTAIN: it is followed, but nothing is learnt."
    )
    sure_score: float = setting(
        0.8, 0, 2, help="At or above it, for `sure_frames` frames in a row, an UNCERTAIN target is TRACKING again."
    )
    sure_frames: int = setting(1, 1, 1_000_000, "frames", "See `sure_score`.")
    lost_score: float = setting(
        0.5,
        0,
        2,
        help="""Below it for at least `lost_frames` frames in a row, with `lost_evidence` against it, the target is
        LOST; for `lost_doubt_frames` where something still stands at its place: a response of at least `lost_peak` and
        at most `lost_drop` logits below the target's usual one (a blurred or turning target, more often than none).""",
    )
    lost_frames: int = setting(1, 1, 1_000_000, "frames", "See `lost_score`.")
    lost_evidence: float = setting(
        2.0, 0, 1000, "log-odds", "How far the scores of these frames lie below `lost_score`, added up; see there."
    )
    lost_doubt_frames: int = setting(3, 1, 1_000_000, "frames", "See `lost_score`.")
    lost_peak: float = setting(0.33, 0, 2, help="See `lost_score`.")
    lost_drop: float = setting(2.5, -100, 100, "logits", "See `lost_score`.")
    peak_fall: float = setting(
        0.02,
        0,
        1,
        help="""Share of a worse response in the target's usual one (of a better one: a tenth). The first view is the
        one witness that never learns: were the usual response to follow it down as fast as up, a target that slides out
        of the picture would hand over, frame by frame, to whatever the online filter learns in its place.""",
    )
    lost_follow_frames: int = setting(
        15,
        0,
        1_000_000,
        "frames",
        """So long a LOST target is still followed from where it was read last, unreported: `sure_score` there, for
        `redetect_frames` frames in a row, makes it TRACKING, and one bad frame of a fast target costs two or three.""",
    )
    uncertain_frames: int = setting(20, 0, LARGEST, "frames", "UNCERTAIN for so long without a break is LOST.")
    uncertain_motion: float = setting(
        0.0,
        0,
        100,
        help="""Largest step of an UNCERTAIN target in one frame, as a share of sqrt(w h); its size stands still then.
        0: it is followed as a TRACKING one is.""",
    )
    redetect: bool = setting(True, help="Whether a LOST target is searched for beyond its last place.")
    verification: tuple[float, ...] = setting(
        (),
        -1e6,
        1e6,
        length=(0, 4),
        help="""Bias and weights of score (as a logit), likeness to a known view and "found by search": the probability
        that what was found is the target (`confidence.verified`). Empty: the score alone decides.""",
    )
    redetect_score: float = setting(
        0.8,
        0,
        1,
        help="That probability which counts for a found place; below it, what spoke for the place is forgotten.",
    )
    redetect_frames: int = setting(
        2, 1, 1_000_000, "frames", "Frames in a row in which a place has to count before it is locked on."
    )
    redetect_evidence: float = setting(
        4.0,
        -1000,
        1000,
        "logits",
        """Log-odds above `redetect_score` that have to add up over these frames: one clear sight is soon enough, a
        look-alike that hovers above the threshold takes long.""",
    )
    redetect_drop: float = setting(
        1.25,
        -100,
        100,
        "logits",
        """How far the response at a found place may lie below the target's usual one: so far for a place found by
        search, one and a half times as far for the last place, and `redetect_drop_growth` more for each frame since it
        was lost. A look-alike is seldom as alike as the target itself was just before.""",
    )
    redetect_drop_growth: float = setting(0.02, 0, 100, "logits in a frame", "See `redetect_drop`.")
    redetect_online: float = setting(
        0.5,
        -100,
        100,
        help="""Least response of the online filter at a found place: a look-alike that was in sight before has been
        learnt as background.""",
    )
    redetect_online_margin: float = setting(
        0.15, -100, 100, help="Least lead of that response over all places clear of the found one."
    )
    redetect_margin: float = setting(
        0.5,
        -100,
        100,
        "logits",
        "By how much a place found by search must beat all others of that frame: no jump to a look-alike.",
    )
    distractor_frames: int = setting(
        30,
        0,
        1_000_000,
        "frames",
        """So long after a frame in which the target was surely seen, what a search finds is looked for in that one
        (`tracker.tracking.distractors`): what stood there while the target was seen at another place is not the target.
        0: never.""",
    )
    distractor_gap: int = setting(8, 0, 1_000_000, "frames", "Frames between two that are kept for this.")
    redetect_tiles: int = setting(2, 1, 64, "windows", "Search windows at most, for each frame.")
    redetect_work: float = setting(
        0.0,
        0,
        1000,
        "followed frames",
        """Work in one frame of a LOST target at most, as a multiple of one look in the full `model.search_size`: the
        look at its last place counts (in the small window once `lost_follow_frames` are over), the windows of the
        search shrink to what is left, and a place that they find is looked at closely in the next frame. 0: no limit,
        as `--thorough` sets; 2 bounds a LOST frame at twice a followed one.""",
    )
    redetect_budget_ms: float = setting(
        0.0,
        0,
        60_000,
        "milliseconds",
        """Time that these may take in a frame; one is searched at least. 0: no limit, so that a run repeats on any
        machine; the tools set 40 for cameras and streams.""",
    )
    redetect_size: int = setting(
        0,
        33,
        1023,
        "crop pixels",
        "Side of these windows, at least that of the template; 0: one and a half search crops.",
        off=0,
    )
    redetect_scale_step: float = setting(
        1.4, 1, 10, help="Every second sweep over the frame looks for a target this factor larger or smaller."
    )
    bank_size: int = setting(3, 0, 64, "views", "Later views of the target that are kept beside the first; 0: none.")
    bank_weight: float = setting(
        0.0,
        0,
        1,
        help="Share of the later views in the response while tracking (boxes head); 0: they serve re-detection alone.",
    )
    bank_gap: int = setting(
        25,
        0,
        1_000_000,
        "frames",
        "At least between two views; up to four times it while the target shows nothing new.",
    )
    bank_score: float = setting(0.9, 0, 2, help="Score at least of a view that is kept.")
    bank_similarity: float = setting(
        0.8, -2, 2, help="A view more alike than this (cosine) to one that is kept adds nothing."
    )
    bank_least: float = setting(0.45, -2, 2, help="A view less alike than this to the first one is not trusted.")
    online_weight: float = setting(
        0.7,
        0,
        1,
        help="Share in the choice of a place of the online filter (boxes head, `tracker.tracking.online_filter`); "
        "0: no filter.",
    )
    online_rate: float = setting(0.05, 0, 1, help="Share of a new frame in what the filter is fitted to.")
    online_gap: int = setting(4, 1, 1_000_000, "frames", "Between two updates of the filter.")
    online_turn: float = setting(0.0, 0, 180, "degrees", "Two more first samples, turned by this either way; 0: none.")
    online_channels: int = setting(
        32, 1, 4096, "channels", "Principal components of the embedding that the filter reads."
    )
    motion: bool = setting(
        True,
        help="""Whether the search window is centred where the camera's shift and the target's own velocity take it,
        once one of these was right of late (`tracker.tracking.motion`); else always at the last place.""",
    )

    def __post_init__(self) -> None:
        for name in ("confidence", "confidence_plain", "verification"):  # yaml and json give lists
            value = getattr(self, name)
            if isinstance(value, list | tuple) and all(type(v) in (int, float) and abs(v) < LARGEST for v in value):
                object.__setattr__(self, name, tuple(float(v) for v in value))
        super().__post_init__()


@dataclass(frozen=True)
class Config(Checked):
    """One recipe: a model, how it tracks, and (free-form here, typed by `tracker.training`) how it was trained."""

    name: str = setting("siamtrack-s", help="What the model is called.")
    model: ModelConfig = setting(factory=ModelConfig, help="The network.")
    tracking: TrackingConfig = setting(factory=TrackingConfig, help="The video loop.")
    train: dict[str, Any] = setting(factory=dict, help="How it is or was trained; read by `tracker.training`.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self.model, self.tracking)


def load_config(path: str | Path | None = None, overrides: Sequence[str] = (), base: Config | None = None) -> Config:
    """A configuration from defaults (or `base`), then a yaml file, then `key=value` overrides.

    Args:
        path: yaml file with the sections name, model, tracking, train, or the name of a shipped recipe; None for none.
        overrides: Such as "tracking.window_influence=0.2".
        base: What the file changes; the dataclass defaults where None.

    Raises:
        ConfigError: Missing or malformed file, unknown key (with the nearest known one), value of a wrong type.
    """
    return merge(
        base or Config(),
        read_yaml(path) if path is not None else {},
        overrides,
        where=str(path) if path else "the overrides",
    )
