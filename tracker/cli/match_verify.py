"""`match verify A B` or `match verify GALLERY WHAT`: decides whether both show the same object, with a probability."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracker.cli.common import DONE, Parser, RawEpilog, add_version, parse_box
from tracker.files import read_text

EPILOG = """\
similarity: cosine of the embeddings, 1 for the same picture (or minus a squared distance, or a dot product, as the
model says)
probability: that it is the same, where both answers are as likely beforehand
decision: yes from the similarity on that a share --far of pairs of different things would reach

  siamtrack match verify a.jpg b.jpg --model faces.safetensors --far 0.01
  siamtrack match verify people.npz who.jpg                 the most alike person, and whether it is them
  siamtrack match verify people.npz who.jpg --name ann      whether it is Ann
  siamtrack match verify "A plane takes off." "An air plane departs." --model match-sentences

exit code 0: it was decided (--exit-code: 0 the same, 1 not)
"""


def verify(argv: Sequence[str] | None = None) -> int:
    """Compares; returns the exit code."""
    parser = Parser(description="Say whether two things are the same.", epilog=EPILOG, formatter_class=RawEpilog)
    parser.add_argument(
        "items",
        nargs="+",
        metavar="A B|GALLERY.npz WHAT",
        help="two pictures or texts, or a gallery and pictures of one thing",
    )
    parser.add_argument("--name", default="", metavar="NAME", help="with a gallery: which thing it should be")
    parser.add_argument("--box", type=parse_box, metavar="X,Y,W,H", help="where the thing is in the first picture")
    parser.add_argument("--query-box", type=parse_box, metavar="X,Y,W,H", help="where it is in the other pictures")
    parser.add_argument("--far", type=float, default=0.01, metavar="RATE", help="false-accept rate of the decision")
    parser.add_argument("--model", metavar="NAME|FILE", help="what embeds; siamtrack-s, or what made the gallery")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]")
    parser.add_argument("--json", action="store_true", help="print one json object")
    parser.add_argument("--exit-code", action="store_true", help="1 if it is not the same")
    add_version(parser)
    args = parser.parse_args(argv)
    if len(args.items) < 2:
        parser.error("two things at least are needed: A and B, or a gallery and what is in question")
    from tracker.cli.match_gallery import DEFAULT, matcher_of, open_gallery

    first, *others = args.items
    if Path(first).suffix.lower() == ".npz":
        if args.box:
            parser.error("--box is of a first picture, and this is a gallery; --query-box says where the thing is")
        gallery = open_gallery(Path(first), args.model, args.device)
        assert gallery.matcher is not None
        name, verdict = gallery.verify(_items(gallery.matcher.modality, others, args.query_box), args.far, args.name)
    else:
        if args.name:
            parser.error("--name is of a thing in a gallery, and the first argument is none (it must end in .npz)")
        matcher = matcher_of(args.model or DEFAULT, args.device)
        a, b = _items(matcher.modality, [first], args.box), _items(matcher.modality, others, args.query_box)
        similarity = matcher.similarity(a, b).max()
        if matcher.calibration is None:
            print(
                json.dumps({"similarity": round(float(similarity), 4)})
                if args.json
                else f"similarity {similarity:.3f} (the model has no calibration)"
            )
            return DONE
        from tracker.matching.matcher import decide

        name, verdict = first, decide(float(similarity), matcher.calibration, args.far, matcher.name)
    assert verdict.probability is not None
    if args.json:
        values = {
            "name": name,
            "similarity": verdict.similarity,
            "probability": verdict.probability,
            "threshold": verdict.threshold,
        }
        print(
            json.dumps(
                {key: round(v, 4) if isinstance(v, float) else v for key, v in values.items()}
                | {"same": verdict.same, "far": args.far}
            )
        )
    else:
        told = "the same" if verdict.same else "not the same"
        print(
            f"{name}: {told} at a false-accept rate of {verdict.far:g} (similarity {verdict.similarity:.3f}, "
            f"threshold {verdict.threshold:.3f}, probability {verdict.probability:.2f})"
        )
    return 1 if args.exit_code and not verdict.same else DONE


def _items(modality: str, given: Sequence[str], box: Any) -> list[Any]:
    """Texts unchanged; images after checking that they exist."""
    if modality == "text":
        return [read_text(item) if item.endswith(".txt") and Path(item).is_file() else item for item in given]
    from tracker.cli.match_gallery import pictures_of
    from tracker.matching.inputs import Region

    files = [file for item in given for file in pictures_of(Path(item))]
    return [Region(file, box) for file in files] if box else [*files]
