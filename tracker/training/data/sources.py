"""The data of a training run: from the `train.data` section of a recipe to a mixture of sample makers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracker.config_merge import merge
from tracker.datasets import clips, davis, track_readers
from tracker.datasets.stills import Cutouts, Scenery, read_coco
from tracker.datasets.tracks import AnnotatedTrack, BadFiles, read_got10k
from tracker.errors import ConfigError
from tracker.model_config import ModelConfig
from tracker.settings import LARGEST, Checked, setting
from tracker.training.data.augment import AugmentConfig
from tracker.training.data.copy_paste import PasteViews
from tracker.training.data.mixture import Mixture, SourceConfig
from tracker.training.data.pseudo_labels import pseudo_tracks
from tracker.training.data.samples import SampleMaker, ViewConfig
from tracker.training.data.views import ClipViews, PhotoViews, StillViews


@dataclass(frozen=True)
class DataConfig(Checked, section="train.data.material"):
    """The sources of training data.

    Attributes:
        root: Folder that the paths below are relative to.
        scenery: Folder of photos: backgrounds, occluders, and padding of stills. "": none (clips don't need it).
        sources: Parts of the mixture; each a mapping as in `SourceConfig`.
        templates: Templates per sample.
        searches: Searches per sample.
        frame_range: Largest distance of two views in a clip.
        augment: Augmentation.
        distractors: Fraction of the searches of clips and annotated stills that are centred on something else in the
            same frame: another target if there is one. If the target is then out of view, the pair is a negative pair.
        on_bad_file: Policy for an unreadable image or an empty track. It is reported in either case.
    """

    root: str = setting("data")
    scenery: str = setting("stills/photos")
    sources: list[dict[str, Any]] = setting(factory=list)
    templates: int = setting(2, 1, 1000, "views")
    searches: int = setting(4, 1, 1000, "views")
    frame_range: int = setting(60, 1, LARGEST, "frames")
    augment: AugmentConfig = setting(factory=AugmentConfig)
    distractors: float = setting(0.0, 0, 1)
    on_bad_file: str = setting("stop", choices=("stop", "skip"))


def build_mixture(
    data: DataConfig, model: ModelConfig, context: float = 0.5, store: Path = Path("cache/frames")
) -> Mixture:
    """Builds the sample makers that a recipe names.

    Args:
        data: The recipe's data section.
        model: Sizes of the crops.
        context: Margin around the box, as a fraction of w + h.
        store: Folder for the decoded frames of videos, and for cached results.

    Raises:
        ConfigError: No sources, an unknown kind or key.
        DataError: Files that are missing; the message names them.
    """
    if not data.sources:
        raise ConfigError(
            "The recipe names no training data; list sources under train.data.material.sources (kind, path, weight)."
        )
    root = Path(data.root).expanduser()
    if not root.is_dir():
        raise ConfigError(f"The data root {root} does not exist; set train.data.material.root=FOLDER.")
    view = ViewConfig(
        template_size=model.template_size,
        search_size=model.search_size,
        context=context,
        templates=data.templates,
        searches=data.searches,
        frame_range=data.frame_range,
        distractors=data.distractors,
        augment=data.augment,
    )
    scenery = Scenery(root / data.scenery) if data.scenery else None
    bad = BadFiles(data.on_bad_file)
    parts: list[tuple[str, float, SampleMaker]] = []
    for raw in data.sources:
        source = merge(SourceConfig(), raw, where="train.data.material.sources")
        maker = _still_maker(source, root / source.path, view, scenery)
        if maker is None:
            maker = ClipViews(read_tracks(source, root / source.path, store, bad), view, scenery)
        parts.append((f"{source.kind}:{source.path}", source.weight, maker))
    return Mixture(parts, bad)


def _still_maker(source: SourceConfig, path: Path, view: ViewConfig, scenery: Scenery | None) -> SampleMaker | None:
    """The maker of a source of still images; None for other kinds."""
    if source.kind not in ("boxed", "paste", "photos"):
        return None
    if source.kind == "photos":
        return PhotoViews(view, Scenery(path))
    if scenery is None:
        raise ConfigError(
            f"The data source {source.kind}:{source.path} needs photos as backgrounds; name a folder in "
            "train.data.material.scenery."
        )
    if source.kind == "boxed":
        return StillViews(read_coco(path), view, scenery)
    coco = path / "boxed" / "instances.json"
    return PasteViews(Cutouts(path / "cutouts", read_coco(coco) if coco.is_file() else []), view, scenery)


def read_tracks(source: SourceConfig, path: Path, store: Path, bad: BadFiles | None = None) -> list[AnnotatedTrack]:
    """Reads the tracks of a source of clips.

    Args:
        source: Its kind and options.
        path: Its folder, or one clip.
        store: Folder for decoded frames.
        bad: Policy for unusable data; stops where None.

    Raises:
        ConfigError: An unknown kind.
        DataError: Nothing there that can be used.
    """
    bad = bad or BadFiles()
    names, exclude = source.names, source.exclude

    def videos() -> list[AnnotatedTrack]:
        found = clips.read_unlabelled(path, names, exclude, bad, store, source.every, source.limit)
        return pseudo_tracks(found, source, store, bad)

    kinds: dict[str, Callable[[], list[AnnotatedTrack]]] = {
        "clips": lambda: read_got10k(path, names, exclude, bad),
        "got10k": lambda: read_got10k(path, names, exclude, bad),
        "lasot": lambda: track_readers.read_lasot(path, names, exclude, bad, source.subset),
        "trackingnet": lambda: track_readers.read_trackingnet(path, names, exclude, bad),
        "imagenet-vid": lambda: track_readers.read_imagenet_vid(path, names, exclude, bad, source.subset, store),
        "otb": lambda: track_readers.read_otb(path, names, exclude, bad),
        "davis": lambda: davis.read_davis(path, names, exclude, bad, store),
        "folder": lambda: clips.read_folder(path, names, exclude, bad, store, source.every, source.limit),
        "toolkit": lambda: track_readers.read_toolkit(path, names, exclude, bad, source.dataset, dict(source.options)),
        "videos": videos,
    }
    if source.kind not in kinds:
        known = ", ".join([*kinds, "boxed", "paste", "photos"])
        raise ConfigError(f"The data source kind {source.kind!r} is unknown; there are {known}.")
    return kinds[source.kind]()
