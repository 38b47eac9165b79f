"""What a mistyped path may have meant."""

from __future__ import annotations

import difflib
from pathlib import Path


def nearest(path: Path) -> str:
    """ " Did you mean PATH?" for a path that is not there, of the names in its folder; "" where none is near."""
    if not path.parent.is_dir():
        return ""
    near = difflib.get_close_matches(path.name, (p.name for p in path.parent.iterdir()), n=1, cutoff=0.7)
    return f" Did you mean {path.with_name(near[0])}?" if near else ""
