"""The sections inside `tracking`: settings of the parts of the video loop."""

from __future__ import annotations

from dataclasses import dataclass

from tracker.settings import LARGEST, Checked, setting


@dataclass(frozen=True)
class SmallSearchConfig(Checked, section="tracking.small_search"):
    """The smaller search crop of a target that moves little and is seen well (boxes head).

    Attributes:
        size: Side of the search crop for a target that moves little and is seen well (boxes head); a frame that leaves
            doubt is looked at once more in the full `model.search_size`. 0: always the full one.
        step: Largest recent step of a target that moves little, as a share of sqrt(w h).
        middle: Side of the search crop for a target whose largest recent step is between `step` and `reach`; 0: the
            full one, and so where it is no smaller than that.
        reach: See `middle`.
        score: Least score of a target that is seen well, as a share of its usual one.
        narrowing: What is added to 1 as the exponent of the cosine window for a target that stands still; less for one
            that moves, 0 at `step`. What lies as far off as a target's own size is another, more often than a leap of
            one that has hardly moved.
    """

    size: int = setting(0, 33, 1023, "pixels", off=0)
    step: float = setting(0.25, 0, 10)
    middle: int = setting(0, 33, 1023, "pixels", off=0)
    reach: float = setting(0.5, 0, 10)
    score: float = setting(0.7, 0, 2)
    narrowing: float = setting(1.5, 0, 10)


@dataclass(frozen=True)
class SkipConfig(Checked, section="tracking.skip"):
    """Frames in which points carry the box and the network does not look (`tracker.tracking.skip`).

    Attributes:
        mode: auto: where the scene is calm and the target TRACKING; off: the network looks in every frame.
        frames: Frames in a row without the network, at most.
        after: Frames after the start, or after it was found again, in which none is skipped: the online filter and the
            reference response are learnt first.
        score: Least score of the last look, as a share of the usual one.
        motion: Largest recent step, as a share of sqrt(w h).
        change: Largest smoothed change of width or height in a frame, as a share of it: points tell little of a target
            that turns or changes its shape.
        agree: Least share of the points that come back and agree on shift and scale.
        likeness: Least normalised cross-correlation of the target's small gray picture with that of the last look.
        error: How far the carried box may lie from what the network finds, as a share of sqrt(w h): beyond it no frame
            is skipped for `hold` looks.
        hold: See `error`.
    """

    mode: str = setting("off", choices=("auto", "off"))
    frames: int = setting(2, 1, 2, "frames")
    after: int = setting(40, 0, 1_000_000, "frames")
    score: float = setting(0.85, 0, 2)
    motion: float = setting(0.4, 0, 10)
    change: float = setting(0.01, 0, 10)
    agree: float = setting(0.5, 0, 1)
    likeness: float = setting(0.8, -1, 1)
    error: float = setting(0.1, 0, 10)
    hold: int = setting(4, 0, 1_000_000, "looks")

    def __post_init__(self) -> None:
        if self.mode in ("False", "True"):  # what yaml takes the words off and on for
            object.__setattr__(self, "mode", "off" if self.mode == "False" else "auto")
        super().__post_init__()


@dataclass(frozen=True)
class CalibrationConfig(Checked, section="tracking.calibration"):
    """The weights that `siamtrack calibrate` fits: of the score, and of the check of what a search found.

    Attributes:
        confidence: Bias, then one weight for each of `confidence.FEATURES`: the logistic regression behind the score.
            Empty (a model that `siamtrack calibrate` has not seen): the score is the network's own, and states and
            re-detection are not in use.
        confidence_plain: The same, fitted without what is learnt of a target: for where there is no online filter (a
            known target that is still to be found, `online.weight` 0). Empty: `confidence` serves there too.
        verification: Bias and weights of score (as a logit), likeness to a known view and "found by search": the
            probability that what was found is the target (`confidence.verified`). Empty: the score alone decides.
    """

    confidence: tuple[float, ...] = setting((), -1e6, 1e6, length=(0, 64))
    confidence_plain: tuple[float, ...] = setting((), -1e6, 1e6, length=(0, 64))
    verification: tuple[float, ...] = setting((), -1e6, 1e6, length=(0, 4))

    def __post_init__(self) -> None:
        for name in ("confidence", "confidence_plain", "verification"):  # yaml and json give lists
            value = getattr(self, name)
            if isinstance(value, list | tuple) and all(type(v) in (int, float) and abs(v) < LARGEST for v in value):
                object.__setattr__(self, name, tuple(float(v) for v in value))
        super().__post_init__()


@dataclass(frozen=True)
class StatesConfig(Checked, section="tracking.states"):
    """When a target is TRACKING, UNCERTAIN or LOST (`tracker.tracking.state_machine`).

    Attributes:
        enabled: Whether UNCERTAIN and LOST exist; without them every track is TRACKING.
        uncertain_score: Below it the target is UNCERTAIN: it is followed, but nothing is learnt.
        sure_score: At or above it, for `sure_frames` frames in a row, an UNCERTAIN target is TRACKING again.
        sure_frames: See `sure_score`.
        lost_score: Below it for at least `lost_frames` frames in a row, with `lost_evidence` against it, the target is
            LOST; for `lost_doubt_frames` where something still stands at its place: a response of at least `lost_peak`
            and at most `lost_drop` logits below the target's usual one (a blurred or turning target, more often than
            none).
        lost_frames: See `lost_score`.
        lost_evidence: How far the scores of these frames lie below `lost_score`, added up; see there.
        lost_doubt_frames: See `lost_score`.
        lost_peak: See `lost_score`.
        lost_drop: See `lost_score`.
        uncertain_frames: UNCERTAIN for so long without a break is LOST.
        uncertain_motion: Largest step of an UNCERTAIN target in one frame, as a share of sqrt(w h); its size stands
            still then. 0: it is followed as a TRACKING one is.
        peak_fall: Learning rate of the reference response (a running mean) for a response below it; above it the rate
            is 0.1. The first template is never updated, so a falling response to it is evidence of drift: a reference
            that fell as fast as it rises would hide that drift while the online filter adapts to the wrong object.
    """

    enabled: bool = setting(True)
    uncertain_score: float = setting(0.63, 0, 2)
    sure_score: float = setting(0.8, 0, 2)
    sure_frames: int = setting(1, 1, 1_000_000, "frames")
    lost_score: float = setting(0.5, 0, 2)
    lost_frames: int = setting(1, 1, 1_000_000, "frames")
    lost_evidence: float = setting(2.0, 0, 1000, "log-odds")
    lost_doubt_frames: int = setting(3, 1, 1_000_000, "frames")
    lost_peak: float = setting(0.33, 0, 2)
    lost_drop: float = setting(2.5, -100, 100, "logits")
    uncertain_frames: int = setting(20, 0, LARGEST, "frames")
    uncertain_motion: float = setting(0.0, 0, 100)
    peak_fall: float = setting(0.02, 0, 1)


@dataclass(frozen=True)
class RedetectionConfig(Checked, section="tracking.redetection"):
    """How a LOST target is searched for and accepted again (`tracker.tracking.redetection`).

    Attributes:
        enabled: Whether a LOST target is searched for beyond its last place.
        follow_frames: For this long a LOST target is still followed from its last place, without being reported:
            `states.sure_score` there for `frames` frames in a row makes it TRACKING again.
        score: Least probability of a found place; a frame below it resets the evidence gathered for the place.
        frames: Frames in a row in which a place has to count before it is locked on.
        evidence: Sum, over these frames, of the log-odds above `score` at which a place is accepted: one clear
            observation suffices, one just above the threshold takes many frames.
        trail_evidence: Sum of the log-odds of the scores of what is followed as the best guess of a LOST target, not
            below 0, at which it is reported again, as UNCERTAIN. 0: never.
        guess: Least score, as a share of the usual one, of a place found by search that is followed as the best guess
            where it was not accepted. Above 1: none is.
        drop: How far the response at a found place may lie below the target's usual one: so far for a place found by
            search, one and a half times as far for the last place, and `drop_growth` more for each frame since it was
            lost. A distractor seldom responds as strongly as the target did just before the loss.
        drop_growth: See `drop`.
        online_score: Least response of the online filter at a found place: a distractor that was visible earlier has
            been learnt as background.
        online_margin: Least lead of that response over all places clear of the found one.
        margin: Least lead of a place found by search over all others of that frame, against jumps to distractors.
        wait: In which LOST frame the search beyond the last place begins: most targets are hidden for a moment and come
            back there. 0 or 1: in the first.
        tiles: Search windows at most, for each frame.
        work: Work in one frame of a LOST target at most, as a multiple of one look in the full `model.search_size`: the
            look at its last place counts (in the small window once `follow_frames` are over), the windows of the search
            shrink to what is left, and a place that they find is looked at closely in the next frame. 0: no limit, as
            `--thorough` sets; 2 bounds a LOST frame at twice a followed one.
        budget_ms: Time that the windows may take in a frame; one is searched at least. 0: no limit, so that a run
            repeats on any machine; the tools set 40 for cameras and streams.
        size: Side of these windows, at least that of the template; 0: one and a half search crops.
        scale_step: Every second sweep over the frame looks for a target this factor larger or smaller.
    """

    enabled: bool = setting(True)
    follow_frames: int = setting(15, 0, 1_000_000, "frames")
    score: float = setting(0.8, 0, 1)
    frames: int = setting(2, 1, 1_000_000, "frames")
    evidence: float = setting(4.0, -1000, 1000, "logits")
    trail_evidence: float = setting(10.0, 0, 1000, "log-odds", off=0)
    guess: float = setting(0.5, 0, 2)
    drop: float = setting(1.25, -100, 100, "logits")
    drop_growth: float = setting(0.02, 0, 100, "logits in a frame")
    online_score: float = setting(0.5, -100, 100)
    online_margin: float = setting(0.15, -100, 100)
    margin: float = setting(0.5, -100, 100, "logits")
    wait: int = setting(4, 0, 1_000_000, "frames")
    tiles: int = setting(2, 1, 64, "windows")
    work: float = setting(0.0, 0, 1000, "followed frames")
    budget_ms: float = setting(0.0, 0, 60_000, "milliseconds")
    size: int = setting(0, 33, 1023, "crop pixels", off=0)
    scale_step: float = setting(1.4, 1, 10)


@dataclass(frozen=True)
class KnownConfig(Checked, section="tracking.known"):
    """When a place is taken for a known target that was not seen in this video yet (`tracker.tracking.known_search`).

    Attributes:
        likeness: Least mean likeness of its descriptors to the target's over the frames in which it is followed.
        frames: Fewest frames in which a place is followed, without being reported, before it is accepted.
        most_frames: A place that was not accepted in so many is given up.
    """

    likeness: float = setting(0.62, -1, 1)
    frames: int = setting(4, 1, 1000, "frames")
    most_frames: int = setting(7, 1, 1000, "frames")


@dataclass(frozen=True)
class DistractorsConfig(Checked, section="tracking.distractors"):
    """Earlier frames that a found place is compared with (`tracker.tracking.distractors`)."""

    frames: int = setting(
        30,
        0,
        1_000_000,
        "frames",
        """For this long after a frame in which the target was TRACKING, a place that a search finds is compared
        with that frame: what was visible there while the target was elsewhere is a distractor. 0: never.""",
    )
    gap: int = setting(8, 0, 1_000_000, "frames", "Frames between two that are kept for this.")


@dataclass(frozen=True)
class TemplateMemoryConfig(Checked, section="tracking.template_memory"):
    """Later views of the target, kept beside the first (`tracker.tracking.template_memory`).

    Attributes:
        size: Later views of the target that are kept beside the first; 0: none.
        weight: Share of the later views in the response while tracking (boxes head); 0: they serve re-detection alone.
        gap: Fewest between two views; up to four times as many while the target's appearance doesn't change.
        score: Score at least of a view that is kept.
        similarity: A view whose cosine similarity to a kept one is above this is not added.
        least: Nor is one whose similarity to the first view is below this.
    """

    size: int = setting(3, 0, 64, "views")
    weight: float = setting(0.0, 0, 1)
    gap: int = setting(25, 0, 1_000_000, "frames")
    score: float = setting(0.9, 0, 2)
    similarity: float = setting(0.8, -2, 2)
    least: float = setting(0.45, -2, 2)


@dataclass(frozen=True)
class OnlineConfig(Checked, section="tracking.online"):
    """The online filter, fitted to the target in the video (`tracker.tracking.online_filter`)."""

    weight: float = setting(
        0.7,
        0,
        1,
        help="Share in the choice of a place of the online filter (boxes head, `tracker.tracking.online_filter`); "
        "0: no filter.",
    )
    rate: float = setting(0.05, 0, 1, help="Share of a new frame in what the filter is fitted to.")
    gap: int = setting(4, 1, 1_000_000, "frames", "Between two updates of the filter.")
    turn: float = setting(0.0, 0, 180, "degrees", "Two more first samples, turned by this either way; 0: none.")
    channels: int = setting(32, 1, 4096, "channels", "Principal components of the embedding that the filter reads.")


@dataclass(frozen=True)
class MotionConfig(Checked, section="tracking.motion"):
    """Where the search window is centred (`tracker.tracking.motion`)."""

    enabled: bool = setting(
        True,
        help="""Whether the search window is centred where the camera's shift and the target's own velocity take it,
        once one of these predicted recent frames well (`tracker.tracking.motion`); else always at the
        last position.""",
    )
