"""The sections inside `tracking`: settings of the parts of the tracking loop."""

from __future__ import annotations

from dataclasses import dataclass

from tracker.settings import LARGEST, Checked, setting

LIVE_BUDGET_MS = 40.0
"""`redetection.budget_ms` for cameras and streams in the commands; files have no limit, so that results repeat."""


@dataclass(frozen=True)
class SmallSearchConfig(Checked, section="tracking.small_search"):
    """The smaller search region for a target that moves little and has a high score (boxes head).

    Attributes:
        size: Side of the search crop for a target that moves little and has a high score (boxes head); a frame with a
            low score is matched again in the full `model.search_size`. 0: always the full one.
        step: Largest recent distance from the predicted position up to which a target counts as moving little, as a
            fraction of sqrt(w h).
        middle: Side of the search crop for a target with such a distance between `step` and `reach`; 0, or a size
            that is not below the full one: the full one.
        reach: See `middle`.
        score: Least score, as a fraction of the target's usual one; below it the full region is searched again.
        narrowing: Added to 1 as the exponent of the cosine window for a target without recent motion; decreases to 0 at
            `step`. An object at a distance of the target's own size is more often a distractor than a target that has
            jumped after hardly moving.
    """

    size: int = setting(0, 33, 1023, "pixels", off=0)
    step: float = setting(0.25, 0, 10)
    middle: int = setting(0, 33, 1023, "pixels", off=0)
    reach: float = setting(0.5, 0, 10)
    score: float = setting(0.7, 0, 2)
    narrowing: float = setting(1.5, 0, 10)


@dataclass(frozen=True)
class SkipConfig(Checked, section="tracking.skip"):
    """Frames in which optical flow moves the box and the network is not run (`tracker.tracking.skip`).

    Attributes:
        mode: auto: where the scene is calm and the target TRACKING; off: the network runs in every frame.
        frames: Greatest number of consecutive frames without the network.
        after: Frames after the start, or after a re-detection, in which none is skipped, because the online filter and
            the reference response are learnt first.
        score: Least score in the last frame with the network, as a fraction of the usual one.
        motion: Largest recent distance from the predicted position, as a fraction of sqrt(w h).
        change: Largest smoothed relative change of width or height per frame: tracked points are a poor measure of a
            target that rotates or deforms.
        turning: The same bound for a single skipped frame: between `change` and `turning` the network runs in every
            second frame. A value not above `change` (such as 0) allows none.
        agree: Least fraction of points that pass the forward-backward check and agree on translation and scale.
        likeness: Least normalised cross-correlation of the gray thumbnail of the target with that of the last frame
            with the network.
        error: Largest distance between the box moved by points and the box found by the network, as a fraction of
            sqrt(w h): above it no frame is skipped until the network has run `hold` more times.
        hold: See `error`.
    """

    mode: str = setting("off", choices=("auto", "off"))
    frames: int = setting(2, 1, 2, "frames")
    after: int = setting(40, 0, 1_000_000, "frames")
    score: float = setting(0.85, 0, 2)
    motion: float = setting(0.4, 0, 10)
    change: float = setting(0.01, 0, 10)
    turning: float = setting(0.0, 0, 10)
    agree: float = setting(0.5, 0, 1)
    likeness: float = setting(0.8, -1, 1)
    error: float = setting(0.1, 0, 10)
    hold: int = setting(4, 0, 1_000_000, "looks")

    def __post_init__(self) -> None:
        if self.mode in ("False", "True"):  # yaml reads off and on as booleans
            object.__setattr__(self, "mode", "off" if self.mode == "False" else "auto")
        super().__post_init__()


@dataclass(frozen=True)
class CalibrationConfig(Checked, section="tracking.calibration"):
    """What `siamtrack calibrate` fits: weights of the score, and of the verification of re-detections.

    Attributes:
        confidence: Bias and a weight for each of `confidence.FEATURES`, two with `knots`: the logistic regression of
            the score. Empty (never calibrated): the score is the network's own, states and re-detection are off.
        knots: Values of the features above which their second weights count, for max(feature - knot, 0). Empty: none.
        confidence_plain: Without knots, fitted without anything learnt online: used where there is no online filter (a
            known target that is still searched for, or `online.weight` 0). Empty: `confidence` is used there too.
        verification: Bias and weights of the score (as a logit), the likeness to a known view, and whether the
            candidate came from a search: the probability that a re-detection is the target (`confidence.verified`).
            Empty: the score alone decides.
    """

    confidence: tuple[float, ...] = setting((), -1e6, 1e6, length=(0, 64))
    knots: tuple[float, ...] = setting((), -1e6, 1e6, length=(0, 64))
    confidence_plain: tuple[float, ...] = setting((), -1e6, 1e6, length=(0, 64))
    verification: tuple[float, ...] = setting((), -1e6, 1e6, length=(0, 4))

    def __post_init__(self) -> None:
        for name in ("confidence", "knots", "confidence_plain", "verification"):  # yaml and json yield lists
            value = getattr(self, name)
            if isinstance(value, list | tuple) and all(type(v) in (int, float) and abs(v) < LARGEST for v in value):
                object.__setattr__(self, name, tuple(float(v) for v in value))
        super().__post_init__()


@dataclass(frozen=True)
class StatesConfig(Checked, section="tracking.states"):
    """When a target is TRACKING, UNCERTAIN or LOST (`tracker.tracking.state_machine`).

    Attributes:
        enabled: Whether UNCERTAIN and LOST exist; without them every track is TRACKING.
        uncertain_score: Below it the target is UNCERTAIN: it is still tracked, but nothing is learnt.
        sure_score: At or above it, for `sure_frames` frames in a row, an UNCERTAIN target is TRACKING again.
        sure_frames: See `sure_score`.
        lost_score: A target whose score stays below it for at least `lost_frames` consecutive frames, with a total
            evidence of `lost_evidence`, is LOST. `lost_doubt_frames` frames are needed if the response is at least
            `lost_peak` and at most `lost_drop` logits below the target's usual one (more often a blurred or turning
            target than none).
        lost_frames: See `lost_score`.
        lost_evidence: Sum of the log-odds by which the scores of these frames lie below `lost_score`; see there.
        lost_doubt_frames: See `lost_score`.
        lost_peak: See `lost_score`.
        lost_drop: See `lost_score`.
        uncertain_frames: A target that is UNCERTAIN for so many consecutive frames is LOST.
        uncertain_motion: Largest motion of an UNCERTAIN target in one frame, as a fraction of sqrt(w h), with its size
            kept constant. 0: no limit, as while TRACKING.
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
    lost_evidence: float = setting(1.5, 0, 1000, "log-odds")
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
        enabled: Whether a LOST target is searched for beyond its last position.
        follow_frames: Number of frames in which a LOST target is still tracked from its last position, without being
            reported: `states.sure_score` there for `frames` consecutive frames makes it TRACKING again.
        score: Least probability of a candidate; a frame below it resets the evidence gathered for the candidate.
        frames: Least number of consecutive frames in which a candidate has to pass before it is accepted.
        evidence: Sum, over these frames, of the log-odds above `score` at which a candidate is accepted: one clear
            observation suffices, one just above the threshold takes many frames.
        trail_evidence: Sum of the log-odds of the scores of a LOST target's best guess, clipped at 0 from below, at
            which it is reported again, as UNCERTAIN. 0: never.
        guess: Least score, as a fraction of the usual one, of a search candidate that becomes the best guess although
            it was not accepted. Above 1: none does.
        drop: How many logits the response of a candidate may lie below the target's usual one: this many for one found
            by search, one and a half times as many at the last position, and `drop_growth` more for each frame since
            the loss. A distractor seldom responds as strongly as the target did just before the loss.
        drop_growth: See `drop`.
        online_score: Least response of the online filter at a candidate: a distractor that was visible earlier has been
            learnt as background.
        online_margin: Least margin of that response over all positions away from the candidate.
        margin: Least margin, in logits, of a search candidate over all others of that frame, against jumps to
            distractors.
        wait: The LOST frame in which the search beyond the last position begins: most targets are hidden for a moment
            and reappear where they were. 0 or 1: the first.
        tiles: Greatest number of search windows per frame. Several overlap by a whole template, single ones by half of
            one.
        work: Greatest amount of network work in one frame of a LOST target, in units of one pass over the full
            `model.search_size`. The pass at its last position counts (in the small window once `follow_frames` are
            over), the search windows shrink to what is left, and a candidate is verified in the next frame. 0: no
            limit, as `--thorough` sets, with two `tiles`; 2 limits a LOST frame to twice the work of a tracked one.
        budget_ms: Time limit for the search windows of a frame; at least one is searched. 0: no limit, so that results
            repeat on any machine; the tools set 40 for cameras and streams.
        size: Side of these windows, at least that of the template; 0: one and a half times the search crop.
        scale_step: Every second sweep over the frame looks for a target larger or smaller by this factor.
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
    """When a candidate is accepted as a known target that was not seen in this video yet
    (`tracker.tracking.known_search`).

    Attributes:
        likeness: Least mean likeness of the candidate's descriptors to the target's, over the frames in which it is
            tracked.
        frames: Least number of frames in which a candidate is tracked, without being reported, before it is accepted.
        most_frames: A candidate that was not accepted within so many frames is dropped.
    """

    likeness: float = setting(0.62, -1, 1)
    frames: int = setting(4, 1, 1000, "frames")
    most_frames: int = setting(7, 1, 1000, "frames")


@dataclass(frozen=True)
class DistractorsConfig(Checked, section="tracking.distractors"):
    """Stored earlier frames with which a re-detection is compared (`tracker.tracking.distractors`)."""

    frames: int = setting(
        30,
        0,
        1_000_000,
        "frames",
        """Age up to which a stored TRACKING frame is compared with a re-detection: an object that was visible at its
        position while the target was elsewhere is a distractor. 0: never.""",
    )
    gap: int = setting(8, 0, 1_000_000, "frames", "Least number of frames between two stored frames.")


@dataclass(frozen=True)
class TemplateMemoryConfig(Checked, section="tracking.template_memory"):
    """Later views of the target, kept beside the first (`tracker.tracking.template_memory`).

    Attributes:
        size: Number of later views of the target kept beside the first; 0: none.
        weight: Weight of the later views in the response while tracking (boxes head); 0: they serve re-detection only.
        gap: Least number of frames between two views; up to four times as many while the target's appearance doesn't
            change.
        score: Least score of a view that is kept.
        similarity: A view whose cosine similarity to a kept one is above this is not added.
        least: A view whose similarity to the first view is below this is not added.
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
        help="Weight of the online filter in the response map (boxes head, `tracker.tracking.online_filter`); 0: no "
        "filter.",
    )
    rate: float = setting(0.05, 0, 1, help="Weight of a new frame in the running average that the filter is fitted to.")
    gap: int = setting(4, 1, 1_000_000, "frames", "Number of frames between two updates of the filter.")
    turn: float = setting(
        0.0,
        0,
        180,
        "degrees",
        "Two further samples of the first frame are rotated by this angle in either direction; 0: none.",
    )
    channels: int = setting(
        32, 1, 4096, "channels", "Number of principal components of the embedding that the filter uses."
    )


@dataclass(frozen=True)
class MotionConfig(Checked, section="tracking.motion"):
    """Where the search window is centred (`tracker.tracking.motion`)."""

    enabled: bool = setting(
        True,
        help="""Whether the search window is centred at a position predicted from the camera's motion and the target's
        own velocity, if those were better in recent frames (`tracker.tracking.motion`); if not, always at the last
        position.""",
    )
