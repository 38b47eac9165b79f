"""Adds views of many targets to their template banks at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracker.config import TrackingConfig
from tracker.runtime.base import Engine
from tracker.tracking.arrays import to_host
from tracker.tracking.similarity import similarity
from tracker.tracking.template_memory import TemplateBank, TemplateView


def add_new_views(
    engine: Engine, banks: Sequence[TemplateBank], views: Sequence[TemplateView], config: TrackingConfig
) -> None:
    """As `add_if_new` for many banks with one view each, compared where the engine keeps them.

    Args:
        engine: Keeps embeddings as arrays or tensors.
        banks: Changed in place.
        views: One for each bank.
        config: Criteria for a new view.
    """
    embedded = engine.embed_template([view.picture for view in views], np.stack([view.target for view in views]))
    sizes: dict[int, list[int]] = {}
    for k, bank in enumerate(banks):
        sizes.setdefault(len(bank), []).append(k)
    found = []
    for count, group in sizes.items():
        kept = engine.stack([banks[k].templates for k in group])
        fresh = embedded if len(group) == len(banks) else engine.stack([embedded[k : k + 1] for k in group])
        found.append(
            similarity(
                kept.reshape(len(group), count, *kept.shape[1:]), fresh[:, None], banks[group[0]].uncompared_channels
            )
        )
    alike = {
        k: row
        for group, rows in zip(sizes.values(), to_host(found), strict=True)
        for k, row in zip(group, rows[..., 0], strict=True)
    }
    new = [k for k in sorted(alike) if not banks[k].turns_down(views[k], alike[k], config)]
    if new:
        fresh = engine.to_host(engine.stack([embedded[k : k + 1] for k in new]))
        for at, k in enumerate(new):
            banks[k].add(engine, views[k], fresh[at : at + 1], config)
