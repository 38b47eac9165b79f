"""Style of the plots, and their conversion to svg, png or pdf."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b6bcb", "#d1480b", "#0f8a5f", "#a33fa8", "#b07d00", "#2a9fb8", "#6b5bd2", "#c2315f")
"""Distinguishable by colour-blind readers, on white and on black; the page has a brighter variant of each for its dark
scheme."""
MARKERS = "osD^vPX*<>"
DASHES = ("", "5 2.5", "1.5 2")
INK, GRID = "#010203", "#010204"  # placeholders that `page_svg` replaces by the page's variables


def style(index: int) -> tuple[str, str]:
    """(colour, svg dash pattern) of the tracker at a position in the evaluation."""
    return COLOURS[index % len(COLOURS)], DASHES[(index // len(COLOURS)) % len(DASHES)]


def dash_of(index: int) -> Any:
    pattern = [float(v) for v in style(index)[1].split()]
    return (0, tuple(pattern)) if pattern else "solid"


def label(text: str) -> str:
    """A name that matplotlib shows literally: no mathematics between dollar signs, and no leading underscore, which
    hides it from the legend."""
    return ("\u200a" + text).replace("$", r"\$")


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=INK, labelsize=10, length=0, pad=5)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


def page_svg(figure: Figure, title: str) -> str:
    """A figure as inline svg for the page: no size of its own, colours by the page's variables, fonts by the page."""
    text = _render(figure, "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = text.replace(INK, "var(--ink-soft)").replace(GRID, "var(--line)")
    for k, colour in enumerate(COLOURS):
        text = text.replace(colour, f"var(--c{k})")
    # Several figures on one page: their ids must not collide.
    prefix = re.sub(r"\W+", "", title)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'xlink:href="#|href="#', f'href="#{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def file_bytes(figure: Figure, suffix: str) -> bytes:
    """A figure as a file on a white background, png (200 dpi) or svg."""
    for axes in figure.axes:
        axes.grid(color="#e3e5e8", linewidth=0.7, axis="x" if axes.patches else "both")
    for artist in figure.findobj():
        for get, put in (("get_color", "set_color"), ("get_labelcolor", "set_labelcolor")):
            if hasattr(artist, get) and getattr(artist, get)() == INK:
                getattr(artist, put)("#24292f")
    return _render(figure, suffix, facecolor="white")


def _render(figure: Figure, suffix: str, **options: Any) -> bytes:
    import matplotlib

    out = io.BytesIO()
    # A fixed salt and no date: equal numbers give equal files.
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "siamtrack", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        if suffix == "svg":
            figure.savefig(
                out, format="svg", metadata={"Date": None}, transparent="facecolor" not in options, **options
            )
        else:
            figure.savefig(out, format=suffix, dpi=200, **options)
    return out.getvalue()
