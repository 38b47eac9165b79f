"""`match test MODEL` and `match calibrate MODEL|GALLERY`: measures a matcher, and calibrates its similarities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli.common import DONE, Parser, RawEpilog, add_version
from tracker.errors import ConfigError

if TYPE_CHECKING:
    from tracker.tracking.tracker import SiamTracker

EPILOG = """\
  siamtrack match test match-omniglot --protocol oneshot --path DATA/omniglot/all_runs.zip  20-way one-shot, 20 runs
  siamtrack match test runs/faces/last.safetensors --recipe match-faces data.fold=0  the people it was not trained on
  siamtrack match test siamtrack-s --protocol verification --path folder/of/classes
  siamtrack match test siamtrack-s --recipe match-tracks data.root=DATA          crops of the same or of other targets
  siamtrack match test siamtrack-s --recipe match-search data.root=DATA          known things in composed videos
  siamtrack match test match-thermal --recipe match-thermal --protocol following --baseline siamtrack-s
  siamtrack match test match-sentences --protocol sts --path sts-test.csv test.source.scale=5
"""


def test(argv: Sequence[str] | None = None) -> int:
    """Runs the measurement; returns the exit code."""
    parser = Parser(description="Measure a matcher.", epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument("model", metavar="MODEL", help="shipped matcher or tracker, or a file")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="changes of the recipe, for example data.root=FOLDER data.fold=1",
    )
    parser.add_argument("--recipe", metavar="NAME|FILE", help="where the test section and the folds come from")
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="instead of the recipe's: oneshot, verification, sts, placing, following, tracks or search",
    )
    parser.add_argument("--path", metavar="PATH", help="material, relative to the current folder")
    parser.add_argument(
        "--baseline",
        metavar="TRACKER",
        help="placing, following: a tracker that is measured on the same squares; search: the one that searches",
    )
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]")
    parser.add_argument("--json", action="store_true", help="print one json object")
    add_version(parser)
    args = parser.parse_args(argv)
    config, section = _settings(args, parser)
    from tracker.matching.protocols import measure, test_config

    settings = test_config(section)
    if settings.protocol in ("placing", "following"):
        from tracker.matching.following import measure_following
        from tracker.matching.placing import measure_placing
        from tracker.matching.store import load_matcher

        stored, tracker = load_matcher(args.model), _tracker(args)
        config = replace(config, model=stored.twins.config)
        if settings.protocol == "placing":
            figures = measure_placing(stored.twins, settings, config, None if tracker is None else tracker.observer)
        elif tracker is None:
            parser.error("followed by what? Give a tracker by --baseline, for example siamtrack-s")
        else:
            figures = measure_following(stored.twins, settings, config, tracker)
    elif settings.protocol == "search":
        from tracker.matching.matcher import Matcher
        from tracker.matching.search_test import measure_search
        from tracker.tracking.tracker import SiamTracker

        tracker = SiamTracker.from_pretrained(args.baseline or "siamtrack-s", args.device)
        matcher = Matcher.from_pretrained(args.model, args.device)
        figures = measure_search(matcher, tracker, settings, Path(config.data.root).expanduser())
    else:
        from tracker.matching.matcher import Matcher, compare

        matcher = Matcher.from_pretrained(args.model, args.device)
        if matcher.modality != config.model.input.modality:
            config = replace(
                config, model=replace(config.model, input=replace(config.model.input, modality=matcher.modality))
            )
        figures = measure(matcher.embed, lambda a, b: compare(a, b, matcher.energy), settings, config)
    if args.json:
        print(json.dumps({key: round(value, 6) for key, value in figures.items()}))
    else:
        print(
            f"{args.model}, {settings.protocol}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        )
    return DONE


def _settings(args: Any, parser: Parser) -> tuple[Any, dict[str, Any]]:
    from tracker.config_merge import merge
    from tracker.matching.config import MatchConfig, load_recipe

    for word in args.overrides:
        if "=" not in word:
            parser.error(f"{word!r} is no KEY=VALUE; one model is tested at a time")
    if not (args.recipe or args.path):
        parser.error("tested on what? Give --recipe NAME, or --protocol and --path")
    config = load_recipe(args.recipe, args.overrides) if args.recipe else merge(MatchConfig(), {}, args.overrides)
    section = dict(config.test)
    if args.protocol:
        section["protocol"] = args.protocol
    if args.path:
        section.update(path=str(Path(args.path).resolve()), fold=False)
        config = replace(config, data=replace(config.data, root="/"))
    return config, section


def _tracker(args: Any) -> SiamTracker | None:
    if not args.baseline:
        return None
    from tracker.tracking.tracker import SiamTracker

    return SiamTracker.from_pretrained(args.baseline, args.device)


def calibrate(argv: Sequence[str] | None = None) -> int:
    """Fits probability and thresholds; returns the exit code."""
    parser = Parser(
        description="Fit what similarities mean to pictures of known classes; a gallery is fitted to its own "
        "references."
    )
    parser.add_argument("model", type=Path, metavar="MODEL.safetensors|GALLERY.npz", help="changed in place")
    parser.add_argument(
        "--path", type=Path, metavar="FOLDER", help="folder of classes that the model was not trained on"
    )
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="pictures of a class at most")
    add_version(parser)
    args = parser.parse_args(argv)
    if args.model.suffix.lower() == ".npz":
        from tracker.matching.gallery import Gallery

        gallery = Gallery.load(args.model)
        if args.path:
            from tracker.cli.match_gallery import matcher_of

            gallery.bind(matcher_of(gallery.model, "auto"), str(args.model))
            gallery.calibration = _fit(gallery.matcher, args.path, args.limit)
        else:
            gallery.calibrate_on_itself()
        gallery.save(args.model)
        found = gallery.calibration
    else:
        from tracker.matching.matcher import Matcher
        from tracker.matching.store import load_matcher, save_matcher

        if not args.path:
            parser.error("calibrated on what? Give --path FOLDER of classes that the model was not trained on")
        stored = load_matcher(args.model)
        found = _fit(Matcher.of(stored), args.path, args.limit)
        save_matcher(args.model, stored.twins, stored.name, found, stored.notes)
    assert found is not None
    print(
        f"{args.model}: {found.genuine} genuine and {found.impostor} impostor pairs, equal error rate "
        f"{found.eer:.3f}; written"
    )
    return DONE


def _fit(matcher: Any, path: Path, limit: int) -> Any:
    from tracker.matching.calibration import calibrate as fit
    from tracker.matching.config import InputConfig
    from tracker.matching.matcher import compare
    from tracker.matching.protocols import class_pairs
    from tracker.matching.sources import Classes, read_source

    if matcher.modality != "image":
        raise ConfigError("A calibration by folder needs pictures; for texts give labelled pairs in a recipe's data.")
    classes = read_source({"kind": "folder", "path": str(path.resolve())}, Path("/"), InputConfig())
    assert isinstance(classes, Classes)
    return fit(*class_pairs(matcher.embed, partial(compare, energy=matcher.energy), classes, limit))
