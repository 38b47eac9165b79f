"""The files of the annotation page, and the questions that the page asks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any

from tracker.web.server import TYPES, load_files


def page_files() -> dict[str, bytes]:
    """The files of the page by name, with the icon and the colours of the live page."""
    folder = resources.files("tracker.annotate") / "static"
    own = {file.name: file.read_bytes() for file in folder.iterdir() if Path(file.name).suffix in TYPES}
    shared = load_files()
    return {name: shared[name] for name in ("icon.svg", "app.css") if name in shared} | own


Answer = dict[str, Any]
Handler = Callable[[Any], Awaitable[Any]]


def dump(answer: Answer) -> str:
    """JSON that a browser takes: no NaN."""
    return json.dumps(answer, allow_nan=False, separators=(",", ":"))
