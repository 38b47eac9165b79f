"""Which material a training run sees, from the `train.data` section of a recipe to a mixture of views."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracker.config import ModelConfig, merge
from tracker.errors import ConfigError
from tracker.training.augment import AugmentConfig
from tracker.training.stills import Cutouts, Scenery, read_coco
from tracker.training.tracks import read_got10k
from tracker.training.views import ClipViews, GroupMaker, Mixture, PasteViews, PhotoViews, StillViews, ViewConfig


@dataclass(frozen=True)
class SourceConfig:
    """One part of the mixture.

    Attributes:
        kind: clips (a GOT-10k folder), boxed (COCO json), paste (cutouts over scenery), photos (self-supervised).
        path: Folder or file, relative to the data root.
        weight: Share of the groups, against the other parts.
        names, exclude: clips only: glob patterns of sequences to take and to leave out.
    """

    kind: str = "clips"
    path: str = ""
    weight: float = 1.0
    names: list[str] = field(default_factory=lambda: ["*"])
    exclude: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DataConfig:
    """The material.

    Attributes:
        root: Folder that the paths below are relative to.
        scenery: Folder of photos: backgrounds, occluders, and what fills the outside of stills.
        sources: Parts of the mixture; each a mapping as in SourceConfig.
        templates, searches: Views in one group.
        frame_range: Largest distance of two views in a clip, frames.
        augment: How much views differ.
    """

    root: str = "data"
    scenery: str = "stills/photos"
    sources: list[dict[str, Any]] = field(default_factory=list)
    templates: int = 2
    searches: int = 4
    frame_range: int = 60
    augment: AugmentConfig = field(default_factory=AugmentConfig)


def build_mixture(data: DataConfig, model: ModelConfig, context: float = 0.5) -> Mixture:
    """The makers that a recipe names.

    Raises:
        ConfigError: No sources, an unknown kind or key.
        DataError: Files that are missing; the message names them.
    """
    if not data.sources:
        raise ConfigError("The recipe names no training data; list sources under train.data.sources (kind, path, weight).")
    root = Path(data.root).expanduser()
    if not root.is_dir():
        raise ConfigError(f"The data root {root} does not exist; set train.data.root=FOLDER.")
    view = ViewConfig(
        template_size=model.template_size,
        search_size=model.search_size,
        context=context,
        templates=data.templates,
        searches=data.searches,
        frame_range=data.frame_range,
        augment=data.augment,
    )
    scenery = Scenery(root / data.scenery)
    parts: list[tuple[str, float, GroupMaker]] = []
    for raw in data.sources:
        source = merge(SourceConfig(), raw, where="train.data.sources")
        path = root / source.path
        maker: GroupMaker
        if source.kind == "clips":
            maker = ClipViews(read_got10k(path, source.names, source.exclude), view, scenery)
        elif source.kind == "boxed":
            maker = StillViews(read_coco(path), view, scenery)
        elif source.kind == "paste":
            coco = path / "boxed" / "instances.json"
            maker = PasteViews(Cutouts(path / "cutouts", read_coco(coco) if coco.is_file() else []), view, scenery)
        elif source.kind == "photos":
            maker = PhotoViews(view, Scenery(path))
        else:
            raise ConfigError(f"The data source kind {source.kind!r} is unknown; there are clips, boxed, paste, photos.")
        parts.append((f"{source.kind}:{source.path}", source.weight, maker))
    return Mixture(parts)
