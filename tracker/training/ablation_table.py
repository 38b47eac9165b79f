"""The table of an ablation as markdown, json and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tracker.files import write_atomic
from tracker.training.ablation import Cell

Cells = Mapping[tuple[str, str], Cell | None]


def markdown(cells: Cells, energies: Sequence[str], losses: Sequence[str], note: str) -> str:
    """AUC of each cell, the best of all in bold; "step/of" where a cell isn't finished."""
    done = [c.auc for c in cells.values() if c is not None and c.auc is not None]
    best = max(done, default=None)

    def text(cell: Cell | None) -> str:
        if cell is None:
            return "-"
        if cell.auc is None:
            return f"{cell.steps}/{cell.wanted}"
        return f"**{cell.auc:.3f}**" if cell.auc == best else f"{cell.auc:.3f}"

    lines = [
        "| energy | " + " | ".join("untrained" if n == "none" else n for n in losses) + " |",
        "|---" * (len(losses) + 1) + "|",
    ]
    lines += [f"| {e} | " + " | ".join(text(cells.get((e, n))) for n in losses) + " |" for e in energies]
    return "\n".join([*lines, "", note, ""])


def write_table(folder: Path, cells: Cells, energies: Sequence[str], losses: Sequence[str], note: str) -> list[Path]:
    """Writes ablation.md, ablation.json and ablation.png, each atomically.

    Args:
        folder: The output folder.
        cells: (energy, loss) -> result.
        energies, losses: Rows and columns.
        note: What was measured, for readers of the table alone.

    Returns:
        The files.
    """
    files = [folder / "ablation.md", folder / "ablation.json"]
    write_atomic(files[0], markdown(cells, energies, losses, note))
    known = [asdict(c) for c in cells.values() if c is not None]
    write_atomic(
        files[1],
        json.dumps({"note": note, "energies": list(energies), "losses": list(losses), "cells": known}, indent=1),
    )
    if any(c is not None and c.finished for c in cells.values()):
        files.append(folder / "ablation.png")
        write_atomic(files[-1], _picture(cells, energies, losses, note))
    return files


def _picture(cells: Cells, energies: Sequence[str], losses: Sequence[str], note: str) -> bytes:
    """A heat map with the numbers in its cells, as png."""
    import io
    import textwrap

    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    values = np.full((len(energies), len(losses)), np.nan)
    for i, energy in enumerate(energies):
        for j, loss in enumerate(losses):
            cell = cells.get((energy, loss))
            if cell is not None and cell.auc is not None:
                values[i, j] = cell.auc
    figure = Figure(figsize=(1.6 + 1.25 * len(losses), 1.5 + 0.75 * len(energies)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    image = axes.imshow(values, cmap="viridis", vmin=low, vmax=max(high, low + 1e-3), aspect="auto")
    for i in range(len(energies)):
        for j in range(len(losses)):
            known = np.isfinite(values[i, j])
            dark = known and values[i, j] < (low + high) / 2
            axes.text(
                j,
                i,
                f"{values[i, j]:.3f}" if known else "-",
                ha="center",
                va="center",
                color="white" if dark else "black",
                weight="bold" if values[i, j] == high else "normal",
            )
    axes.set_xticks(range(len(losses)), ["untrained" if n == "none" else n for n in losses])
    axes.set_yticks(range(len(energies)), list(energies))
    axes.set_title("AUC by energy and loss", fontsize=11)
    axes.set_xlabel("\n".join(textwrap.wrap(note, 22 * len(losses))), fontsize=7)
    figure.colorbar(image, ax=axes, label="AUC")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
