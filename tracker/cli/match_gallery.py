"""`match enrol|list|forget GALLERY`: adds references to a gallery, lists and removes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.cli.common import DONE, Parser, RawEpilog, add_version, parse_box
from tracker.errors import OutputError, SourceError

if TYPE_CHECKING:
    from tracker.matching.gallery import Gallery
    from tracker.matching.matcher import Matcher

DEFAULT = "siamtrack-s"
ENROL = """\
  siamtrack match enrol things.npz --name mug mug1.jpg mug2.jpg          the mug fills its pictures
  siamtrack match enrol things.npz --name mug frame.png --box 10,20,64,48
  siamtrack match enrol people.npz --model faces.safetensors --name ann ann/*.jpg
  siamtrack match enrol faq.npz --model match-sentences --name refund --text "How do I get my money back?"

a gallery belongs to the model that made it; a new name is added, a known one gets more references
"""


def enrol(argv: Sequence[str] | None = None) -> int:
    """Adds references; returns the exit code."""
    parser = Parser(description="Add known things to a gallery.", epilog=ENROL, formatter_class=RawEpilog)
    parser.add_argument("gallery", type=Path, metavar="GALLERY.npz", help="made if it isn't there")
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE|FOLDER", help="pictures of the thing")
    parser.add_argument("--name", required=True, metavar="NAME", help="of the thing")
    parser.add_argument(
        "--box",
        type=parse_box,
        metavar="X,Y,W,H",
        help="where the thing is in every picture; without it, it fills them",
    )
    parser.add_argument("--text", action="append", default=[], metavar="TEXT", help="a reference text; may be repeated")
    parser.add_argument("--model", metavar="NAME|FILE", help=f"what embeds; of a new gallery {DEFAULT} unless given")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]")
    add_version(parser)
    args = parser.parse_args(argv)
    if bool(args.pictures) == bool(args.text):
        parser.error("what is to be enrolled? Give pictures of the thing, or texts by --text")
    files = [file for path in args.pictures for file in pictures_of(path)]
    new = not args.gallery.exists()
    gallery = open_gallery(args.gallery, args.model, args.device, new)
    if args.text:
        count = gallery.add(args.name, args.text)
    else:
        from tracker.matching.search_views import items_and_views

        items, views = items_and_views(gallery.matcher, files, args.box)
        count = gallery.add(args.name, items, views)
    gallery.save(args.gallery)
    added = f"{count} reference{'s' * (count != 1)} of {args.name}"
    print(f"{args.gallery}: {added}; {len(gallery.things)} things, {len(gallery)} references in all")
    return DONE


def pictures_of(path: Path) -> list[Path]:
    """An image, or all images of a folder.

    Raises:
        SourceError: There is none.
    """
    from tracker.media.sources.images import list_tree

    if path.is_dir():
        found = list_tree(path)
        if not found:
            raise SourceError(f"The folder {path} holds no pictures; an empty class can't be enrolled.")
        return found
    if not path.is_file():
        raise SourceError(f"The picture {path} does not exist.")
    return [path]


def open_gallery(path: Path, model: str | None, device: str, new: bool = False) -> Gallery:
    """An existing gallery with its matcher, or a new one.

    Raises:
        SourceError, GalleryError, WeightsError: It can't be used; with the reason.
    """
    from tracker.matching.gallery import Gallery

    if path.is_dir() or path.suffix.lower() != ".npz":
        raise OutputError(f"The gallery {path} must be a file that ends in .npz.")
    if new:
        return Gallery(matcher_of(model or DEFAULT, device))
    gallery = Gallery.load(path)
    gallery.bind(matcher_of(model or gallery.model, device), str(path))
    return gallery


def matcher_of(model: str, device: str) -> Matcher:
    """The matcher that an option names."""
    from tracker.matching.matcher import Matcher

    return Matcher.from_pretrained(model, device)


def _simple(argv: Sequence[str] | None, description: str, name: bool) -> Any:
    parser = Parser(description=description)
    parser.add_argument("gallery", type=Path, metavar="GALLERY.npz")
    if name:
        parser.add_argument("--name", required=True, metavar="NAME", help="of the thing")
    add_version(parser)
    return parser.parse_args(argv)


def show(argv: Sequence[str] | None = None) -> int:
    """Prints names and counts; returns the exit code."""
    args = _simple(argv, "What a gallery holds.", False)
    from tracker.matching.gallery import Gallery

    gallery = Gallery.load(args.gallery)
    for thing in gallery.things:
        print(f"{thing}\t{gallery.names.count(thing)}")
    print(
        f"{len(gallery.things)} things, {len(gallery)} references, model {gallery.model} ({gallery.fingerprint[:12]})"
    )
    return DONE


def forget(argv: Sequence[str] | None = None) -> int:
    """Removes an object; returns the exit code."""
    args = _simple(argv, "Take a thing out of a gallery.", True)
    from tracker.matching.gallery import Gallery

    gallery = Gallery.load(args.gallery)
    count = gallery.remove(args.name)
    gallery.save(args.gallery)
    print(f"{args.gallery}: {count} references of {args.name} removed; {len(gallery.things)} things left")
    return DONE
