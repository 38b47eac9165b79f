"""`verify`: similarity of the objects in two images according to the tracker's network; several references are few-shot
recognition."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import DONE, Parser, RawEpilog, add_version, parse_box
from tracker.cli.model_options import add_model_options, check_model_options
from tracker.errors import ConfigError, ImageError, SourceError

if TYPE_CHECKING:
    from tracker.tracking.observer import Observer
    from tracker.tracking.template_memory import KnownTarget, TemplateBank
    from tracker.tracking.tracker import SiamTracker
    from tracker.types import Image

EPILOG = """\
likeness: mean cosine of the two embeddings over the object, in [-1, 1]; 1 for the same picture
probability: that both show the same object, as fitted on videos by calibrate; told where boxes say where the object is
individual: likeness of descriptors to the three most alike views of the targets, with colours and what differs between
  objects of one class; siamtrack track --find wants tracking.known.likeness of it; told for targets of the same weights

  siamtrack verify a.jpg b.jpg                                    two crops that the object fills
  siamtrack verify a1.jpg a2.jpg b.jpg                            several references; the last one is in question
  siamtrack verify frame1.png frame9.png --box 10,20,64,48 --query-box 30,22,60,47
  siamtrack verify target.npz frame9.png --query-box 30,22,60,47  a target that `siamtrack track --save-target` wrote
"""


def build_parser() -> Parser:
    """The options of `verify`."""
    parser = Parser(description="Say how alike what pictures show is.", epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument(
        "pictures",
        nargs="+",
        type=Path,
        metavar="PICTURE",
        help="references (pictures or TARGET.npz), then the one in question",
    )
    where = parser.add_argument_group("where the object is")
    where.add_argument(
        "--box",
        type=parse_box,
        metavar="X,Y,W,H",
        help="in every reference picture (without boxes, the object fills each picture)",
    )
    where.add_argument("--query-box", type=parse_box, metavar="X,Y,W,H", help="in the last picture")
    parser.add_argument("--json", action="store_true", help="print one json object")
    add_model_options(parser)
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Compares; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if len(args.pictures) < 2:
        parser.error("two pictures at least are needed: one or more references, and the one in question")
    query, references = args.pictures[-1], args.pictures[:-1]
    targets = [path for path in references if path.suffix.lower() == ".npz"]
    if (targets or args.box) and not args.query_box:
        parser.error(
            "--query-box is needed too: a reference with surroundings compares with an object in its surroundings"
        )
    if args.query_box and not args.box and len(targets) < len(references):
        parser.error("--box is needed too: it says where the object is in the reference pictures")
    check_model_options(args)
    image = read_picture(query)
    opened = [(path, None if path.suffix.lower() == ".npz" else read_picture(path)) for path in references]
    from tracker.cli.model_options import load_tracker

    tracker = load_tracker(args)
    names, bank, known = read_references(tracker.observer, opened, args.box)
    likeness, probability = compare(tracker, bank, image, args.query_box)
    individual = like_individual(tracker, known, image, args.query_box)
    best = max(range(len(names)), key=lambda k: likeness[k])
    report = {
        "query": str(query),
        "references": [
            {"name": name, "likeness": round(value, 4)} for name, value in zip(names, likeness, strict=True)
        ],
        "likeness": round(likeness[best], 4),
        "probability": None if probability is None else round(probability, 4),
        "individual": None if individual is None else round(individual, 4),
    }
    if args.json:
        print(json.dumps(report))
        return DONE
    for name, value in zip(names, likeness, strict=True):
        print(f"{name}: likeness {value:.3f}")
    told = "" if probability is None else f", probability {probability:.2f} that it is the same object"
    if individual is not None:
        told += f", individual {individual:.2f} (--find wants {tracker.config.known.likeness:.2f})"
    print(f"{query}: likeness {likeness[best]:.3f} to {names[best]}{told}")
    return DONE


def read_picture(path: Path) -> Image:
    """Reads an image as BGR uint8.

    Raises:
        SourceError: It is missing or not an image.
    """
    from tracker.media.images import read_image

    if not path.is_file():
        raise SourceError(f"The picture {path} does not exist.")
    try:
        return read_image(path)
    except ImageError as error:
        raise SourceError(str(error)) from None


def read_references(
    observer: Observer, opened: Sequence[tuple[Path, Image | None]], box: Sequence[float] | None
) -> tuple[list[str], TemplateBank, list[KnownTarget]]:
    """Names of all views in the references, one bank of the views, and the references that are saved targets.

    Raises:
        SourceError, BoxError, ConfigError: A file or the box can't be used.
    """
    from tracker.tracking.embedding import view_of
    from tracker.tracking.template_memory import load_target

    names, views, targets = [], [], []
    for path, image in opened:
        if image is None:
            known = load_target(path)
            if known.views[0].picture.shape[0] != observer.sizes[0]:
                raise ConfigError(
                    f"The target {path} has views of another size than this model's; save it again with this model."
                )
            targets.append(known)
            names += [f"{path} view {k}" for k in range(len(known.views))]
            views += known.views
        else:
            names.append(str(path))
            views.append(view_of(observer, image, box))
    return names, observer.bank(views), targets


def like_individual(
    tracker: SiamTracker, known: Sequence[KnownTarget], image: Image, box: Sequence[float] | None
) -> float | None:
    """Likeness of the object in an image to known targets by their descriptors (`tracker.tracking.individual`).

    Returns:
        The mean likeness to the three most alike views; None without descriptors of these weights.
    """
    from tracker.model.checkpoint import fingerprint
    from tracker.tracking.embedding import view_of
    from tracker.tracking.individual import describe, individual_of

    print_of_model = fingerprint(tracker.model)
    usable = [one for one in (individual_of(tracker.observer, k, print_of_model) for k in known) if one is not None]
    if not usable:
        return None
    fresh = describe(tracker.observer, [view_of(tracker.observer, image, box)])
    return max(float(one.likeness(fresh)[0]) for one in usable)


def compare(
    tracker: SiamTracker, bank: TemplateBank, image: Image, box: Sequence[float] | None
) -> tuple[list[float], float | None]:
    """Similarity of the object in an image to the views of a bank.

    Returns:
        Likeness to each view, and the probability that it is the same object (None without a box, or if the model isn't
        calibrated).

    Raises:
        BoxError: The box can't be used.
    """
    from tracker.tracking.confidence import verified
    from tracker.tracking.embedding import view_of
    from tracker.tracking.similarity import similarity
    from tracker.tracking.state_machine import missing

    observer = tracker.observer
    own = observer.bank([view_of(observer, image, box)])
    likeness = [float(v) for v in similarity(bank.host, own.host, observer.uncompared_channels)[:, 0]]
    weights = observer.config.calibration.verification
    if box is None or not (observer.config.calibration.confidence and weights):
        return likeness, None
    target = tracker.lifecycle.start(image, box)
    any_view = replace(target, bank=bank, belief=missing(), filter=None)  # LOST: the most similar view counts
    score = observer.observe([any_view], image).observations[0].score
    return likeness, float(verified(score, max(likeness), False, weights))
