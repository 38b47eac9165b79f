"""`siamtrack benchmark`: time per stage, compared with other trackers in the same run."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli.common import DONE, Parser, RawEpilog, add_version, parse_box, whole_number
from tracker.cli.model_options import DEFAULT_MODEL, add_engine_options
from tracker.cli.stress import check_outputs
from tracker.errors import BoxError, ConfigError, SourceError
from tracker.runtime.select import default_threads

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel
    from tracker.tracking.tracker import SiamTracker

PARTS = ("stages", "compare", "network", "targets", "sizes")
ALL_PARTS = (*PARTS, "motion", "overhead", "device")
OWN_FRAMES = {"motion", "overhead", "device"}
"""Parts that use their own frames."""
EPILOG = """examples:
  siamtrack benchmark
  siamtrack benchmark --video clip.mp4 --box 368,190,32,27 --compare opencv:nano --model-dir nanotrack --classic \\
      --output speed
  siamtrack benchmark --parts motion --dataset otb --root OTB --compare opencv:nano --model-dir nanotrack
  siamtrack benchmark --parts none --soak 10000
  siamtrack benchmark --device cuda --parts device --targets 1 8 64 256 400 --frames 2000 \\
      --compare model:siamtrack-s@torch"""


def build_parser() -> argparse.ArgumentParser:
    """The options of `benchmark`."""
    parser = Parser(description="Measure speed and memory, part by part.", epilog=EPILOG, formatter_class=RawEpilog)
    what = parser.add_argument_group("model")
    what.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|FILE", help="shipped model or a checkpoint file")
    add_engine_options(what)
    clip = parser.add_argument_group("frames")
    clip.add_argument(
        "--video", metavar="SOURCE", help="video or folder; without it a synthetic clip of 640 x 360 pixels"
    )
    clip.add_argument("--box", type=parse_box, metavar="x,y,w,h", help="target in the first frame of --video")
    clip.add_argument("--frames", type=whole_number(10), default=200, metavar="N", help="frames to track")
    clip.add_argument("--dataset", metavar="NAME", help="annotated sequences for the part motion")
    clip.add_argument(
        "--root", type=Path, nargs="+", metavar="DIR", help="folder of the data set; several of one layout"
    )
    clip.add_argument("--subset", metavar="NAME", help="split of the data set, if it has any")
    clip.add_argument("--sequences", metavar="GLOB", help="only sequences whose names match")
    parts = parser.add_argument_group("what is measured")
    parts.add_argument(
        "--parts", default=",".join(PARTS), metavar="LIST", help=f"some of {','.join(ALL_PARTS)}, or none"
    )
    parts.add_argument(
        "--threads",
        type=whole_number(1),
        nargs="+",
        metavar="N",
        help="CPU threads for the parts stages and targets (default: 1, and all)",
    )
    parts.add_argument(
        "--targets",
        type=whole_number(1),
        nargs="+",
        default=[1, 2, 4, 8, 16, 32, 64],
        metavar="N",
        help="targets in a frame",
    )
    parts.add_argument(
        "--sizes",
        nargs="+",
        default=["360p", "720p", "1080p", "4K"],
        metavar="SIZE",
        help="of 360p, 720p, 1080p, 1440p, 4K",
    )
    parts.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="opencv:NAME|model:NAME[@ENGINE]",
        help="a tracker to time alternately with this one; may be repeated",
    )
    parts.add_argument("--model-dir", metavar="DIR", help="folder with the model files of OpenCV's trackers")
    parts.add_argument(
        "--classic",
        action="store_true",
        help="also time SiamFC's AlexNet with 3 scales in torch eager (untrained, which doesn't affect its speed)",
    )
    parts.add_argument("--torch", action="store_true", help="also time our own model in torch eager")
    parts.add_argument(
        "--soak", type=whole_number(20), metavar="N", help="also track N frames and watch memory and latency"
    )
    out = parser.add_argument_group("output")
    out.add_argument(
        "--output", type=Path, metavar="DIR", help="write benchmark.md, benchmark.json and benchmark.png there"
    )
    out.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Checks the request, measures, prints and writes."""
    args = build_parser().parse_args(argv)
    parts = _parts(args)
    check_outputs(args.output, ("benchmark.md", "benchmark.json", "benchmark.png"), args.overwrite)
    from tracker.benchmark import measure, report
    from tracker.benchmark.parts import by_targets, resident_bytes, soak, windows
    from tracker.model.checkpoint import load_model

    unknown = [name for name in args.sizes if name not in measure.HEIGHTS]
    if unknown:
        raise ConfigError(f"The size {unknown[0]!r} is unknown; there are {', '.join(measure.HEIGHTS)}.")
    model = load_model(args.model, overrides=args.overrides)
    count = 10 if set(parts) <= OWN_FRAMES and not args.soak else args.frames
    clip = measure.read_clip(args.video, args.box, count) if args.video else measure.synthetic_clip(count)
    if len(clip.images) < 10:
        raise SourceError(f"The video {args.video} has {len(clip.images)} frames; at least 10 are needed.")
    others = _others(args)
    first = _make_tracker(model, args.device, args.engine, 1)
    height, width = clip.images[0].shape[:2]
    results: dict[str, Any] = {
        "model": model.name,
        "engine": f"{first.engine.name} on {first.device}",
        "skip": model.config.tracking.skip.mode,
        "command": shlex.join(["siamtrack", "benchmark", *(sys.argv[1:] if argv is None else argv)]),
        "clip": f"{clip.name}, {len(clip.images)} frames of {width} x {height}",
        "machine": measure.machine(),
    }

    def tracker(threads: int = 1) -> Any:
        return _make_tracker(model, args.device, args.engine, threads)

    every = sorted({1, default_threads(None)})
    if "stages" in parts:
        _say("stages")
        with tempfile.TemporaryDirectory() as folder:
            source = args.video
            results["stages"] = {
                str(n): measure.stages(_every_frame(tracker(n)), clip, source, Path(folder))
                for n in args.threads or every
            }
    if "compare" in parts:
        _say("compare")
        trackers = {model.name: tracker(), **others}
        rarely = {}
        if args.torch:
            trackers[f"{model.name}, torch eager"] = _make_tracker(model, "cpu", "torch", 1)
        if args.classic:
            from tracker.benchmark.classic import classic_model

            trackers["SiamFC AlexNet, 3 scales, torch eager"] = _make_tracker(classic_model(), "cpu", "torch", 1)
            rarely["SiamFC AlexNet, 3 scales, torch eager"] = 8
        each = {name: _every_frame(one) for name, one in trackers.items()}
        results["compare"] = measure.in_turns(each, clip, rarely)
    if "motion" in parts:
        _say("motion")
        results["motion"] = _in_motion(args, {model.name: tracker(), **others})
    if "network" in parts:
        _say("network")
        results["network"] = _network(model, tracker(), clip)
    if "targets" in parts:
        _say("targets")
        # One target uses no more threads than by default, several are distributed over all of them.
        results["targets"] = {
            str(n): by_targets(_every_frame(tracker(min(n, default_threads()))), clip, args.targets, n)
            for n in args.threads or every
        }
        results["windows"] = windows(model.config)
    if "overhead" in parts:
        _say("overhead")
        from tracker.benchmark.overhead import overhead

        results["overhead"] = overhead(_every_frame(tracker()), args.targets)
    if "device" in parts:
        from tracker.benchmark.device import by_device

        ours = {f"{model.name}, {first.engine.name}": first}
        ours |= {name: one for name, one in others.items() if isinstance(one, type(first))}
        looking = {name: _every_frame(one) for name, one in ours.items()}
        results["device"] = by_device(looking, args.targets, args.frames, _say)
    if "sizes" in parts:
        _say("sizes")
        results["sizes"] = measure.by_frame_size(lambda: _every_frame(tracker()), clip, args.sizes)
    if args.soak:
        _say("soak")
        from tracker.tracking.tracker import SiamTracker

        old = tracker()
        fresh = SiamTracker(old.model, old.engine, old.config)  # another engine would allocate memory late in the run
        results["soak"] = soak(old, clip, args.soak, fresh=fresh)
    results["rss_mb"] = resident_bytes() / 1e6
    if args.output:
        for path in report.write(results, args.output):
            print(path, file=sys.stderr)
    print(report.markdown(results))
    return DONE


def _in_motion(args: argparse.Namespace, trackers: dict[str, Any]) -> dict[str, Any]:
    from tracker.benchmark.parts import in_motion
    from tracker.datasets.registry import load_dataset, with_truth

    sets = [load_dataset(args.dataset, root, args.subset, args.sequences) for root in args.root]
    sequences = [sequence for one in sets for sequence in with_truth(one, "measured on").sequences]
    return in_motion(trackers, sequences, tell=lambda text: print(text, file=sys.stderr, flush=True))


def _network(model: Any, tracker: Any, clip: Any) -> dict[str, Any]:
    from tracker.benchmark.measure import Series, gigamacs, peak_gigamacs

    tracker.init(clip.images[0], clip.box)
    tracker.update(clip.images[1])
    template = tracker.engine.embed_template([tracker.views.template], clip.box[None, 2:])
    series = Series()
    for _ in range(60):
        series.run(tracker.engine.match, template, [tracker.views.search])
    macs = gigamacs(model)
    search = sum(value for key, value in macs.items() if key.startswith("search"))
    took = series.summary()["cpu_p10_ms"]
    return {"gigamacs": macs, "search_ms": took, "reached": search / took * 1e3, "peak": peak_gigamacs(1)}


def _every_frame(tracker: Any) -> Any:
    """The same tracker without skipped frames: if most frames are skipped, a median over frames is that of a skipped
    one."""
    from tracker.settings import changed
    from tracker.tracking.tracker import SiamTracker

    if not isinstance(tracker, SiamTracker):
        return tracker
    return SiamTracker(tracker.model, tracker.engine, changed(tracker.config, {"skip.mode": "off"}))


def _parts(args: argparse.Namespace) -> list[str]:
    wanted = [] if args.parts == "none" else [part.strip() for part in args.parts.split(",") if part.strip()]
    for part in wanted:
        if part not in ALL_PARTS:
            raise ConfigError(f"The part {part!r} is unknown; there are {', '.join(ALL_PARTS)}, and none.")
    if ("motion" in wanted) != bool(args.dataset and args.root):
        raise ConfigError(
            "The part motion goes over annotated sequences: give it, --dataset NAME and --root DIR together."
        )
    if args.video and args.box is None:
        raise BoxError("--video needs --box x,y,w,h: the target in its first frame, in pixels.")
    if args.box is not None and not args.video:
        raise BoxError("--box belongs to --video; the synthetic clip has its own target.")
    if not wanted and not args.soak:
        raise ConfigError("Nothing to measure: name some --parts, or give --soak N.")
    return wanted


def _make_tracker(model: LoadedModel, device: str, engine: str, threads: int) -> SiamTracker:
    """A tracker with a given number of CPU threads, including those of OpenCV and torch, which are settings of this
    process."""
    import cv2

    from tracker.runtime.select import build_engine
    from tracker.tracking.tracker import SiamTracker

    cv2.setNumThreads(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    return SiamTracker(model, build_engine(model, device, engine, threads))


def _others(args: argparse.Namespace) -> dict[str, Any]:
    from tracker.evaluation.baselines import OpenCVBaseline
    from tracker.model.checkpoint import load_model

    out: dict[str, Any] = {}
    for text in args.compare:
        kind, _, name = text.partition(":")
        if kind not in ("opencv", "model") or not name:
            raise ConfigError(
                f"--compare {text!r} isn't known; write opencv:NAME, for example opencv:csrt, or model:NAME[@ENGINE]."
            )
        if kind == "opencv":
            out[text] = OpenCVBaseline(name, args.model_dir)
            continue
        name, _, engine = name.partition("@")
        out[text] = _make_tracker(load_model(name, overrides=args.overrides), args.device, engine or args.engine, 1)
    return out


def _say(part: str) -> None:
    print(f"measuring: {part}", file=sys.stderr, flush=True)
