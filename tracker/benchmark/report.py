"""The output of `benchmark`: a table in markdown, the same as json, and a plot."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import Any

from tracker.files import atomic_path, write_atomic

Results = dict[str, Any]
BLUE, RED = "#4477aa", "#cc6677"
NAMES = {"wall_median_ms": "wall median", "wall_p10_ms": "wall p10", "cpu_median_ms": "CPU median"}


def markdown(results: Results) -> str:
    """The report as text."""
    lines = [f"# Speed of {results['model']}", ""]
    lines += [f"- {key}: {value}" for key, value in results["machine"].items()]
    lines += [f"- command: `{results['command']}`", f"- clip: {results['clip']}", f"- engine: {results['engine']}"]
    lines += [f"- tracking.skip: {results['skip']} (motion and soak; elsewhere every frame is looked at)", ""]
    lines += [
        "Wall: what a user waits. CPU: processor time of the process, hardly changed by other programs. Multiples "
        "(ours or the first = 1) are medians over the frames, each against the time that ours or the first took "
        "for the same frame.",
        "",
    ]
    for threads, rows in results.get("stages", {}).items():
        total = rows["update, whole"]
        lines += [f"## Where a frame goes, {_threads(threads)}", ""]
        lines += table(
            ["stage", "median ms", "p95 ms"],
            [[k, _ms(v["wall_median_ms"]), _ms(v["wall_p95_ms"])] for k, v in rows.items()],
        )
        lines += [
            "",
            f"{1e3 / total['wall_median_ms']:.0f} updates a second by the wall, {1e3 / total['cpu_median_ms']:.0f} "
            "by processor time.",
            "",
        ]
    if "compare" in results:
        lines += ["## Beside others, same frames, in turns, one thread", ""]
        head = ["tracker", "wall median ms", "wall p95 ms", "CPU median ms", "CPU p10 ms", "CPU, ours = 1"]
        lines += table(
            head,
            [
                [
                    name,
                    *(_ms(v[k]) for k in ("wall_median_ms", "wall_p95_ms", "cpu_median_ms", "cpu_p10_ms")),
                    f"{v['cpu_to_first']:.2f}",
                ]
                for name, v in results["compare"].items()
            ],
        )
        lines += [""]
    if "motion" in results:
        lines += _motion(results["motion"])
    if "network" in results:
        lines += ["## The network", ""]
        lines += table(["part", "GMAC"], [[k, f"{v:.4f}"] for k, v in results["network"]["gigamacs"].items()])
        share = results["network"]
        lines += [
            "",
            f"A search takes {share['search_ms']:.2f} ms of one thread: {share['reached']:.1f} GMAC/s, "
            f"{100 * share['reached'] / share['peak']:.0f} % of the {share['peak']:.1f} GMAC/s that a product of "
            "1024 x 1024 matrices reaches on it.",
            "",
        ]
    for threads, rows in results.get("targets", {}).items():
        lines += [f"## Several targets in a frame, {_threads(threads)}", "", f"{results['windows'].capitalize()}.", ""]
        lines += _against_first("targets", rows, ("wall_median_ms", "wall_p10_ms", "cpu_median_ms"))
    if "overhead" in results:
        lines += ["## Several targets beside cutting and network, one thread", "", "Wall time; the maps are ready.", ""]
        head = ["targets", "mean ms", "median ms", "p10 ms", "p95 ms", "a target, us"]
        keys = ("mean_ms", "median_ms", "p10_ms", "p95_ms")
        rows = [[k, *(_ms(v[key]) for key in keys), f"{v['target_us']:.0f}"] for k, v in results["overhead"].items()]
        lines += [*table(head, rows), ""]
    if "device" in results:
        lines += _device(results["device"])
    if "sizes" in results:
        lines += ["## Size of the frame, one thread", ""]
        lines += _against_first("frame", results["sizes"], ("wall_median_ms", "cpu_median_ms"))
    if "soak" in results:
        s = results["soak"]
        lines += [
            f"## {s['frames']:,} frames",
            "",
            f"Memory: {s['rss_start'] / 1e6:.1f} MB at the start, {s['rss_end'] / 1e6:.1f} MB at the end, "
            f"{s['rss_slope_bytes_per_frame']:+.1f} bytes a frame over the second half.",
            f"CPU time of an update that looks: {s['first_ms']:.2f} ms over the first {s['part']:,}, "
            f"{s['last_ms']:.2f} ms over the last ({100 * (s['last_ms'] / s['first_ms'] - 1):+.1f} %, the processor's "
            "own pace included).",
        ]
        if s["fresh_ms"]:
            lines += [
                f"A tracker that begins with the last {s['part']:,}, timed in turns with the old one: "
                f"{s['fresh_ms']:.2f} ms; the old one takes {s['last_ms'] / s['fresh_ms']:.3f} times as long."
            ]
        lines += [""]
    lines += [f"Memory of the process: {results['rss_mb']:.0f} MB.", ""]
    return "\n".join(lines)


def _motion(motion: Results) -> list[str]:
    total = motion["total"]
    count, frames = len(motion["sequences"]), int(next(iter(total.values()))["frames"])
    names = {
        "ms": "CPU ms a frame",
        "to_first": "CPU, ours = 1",
        "auc": "AUC",
        "lost_share": "LOST",
        "skipped_share": "skipped",
    }
    names |= {"followed_ms": "ms, followed", "lost_ms": "ms, LOST"}
    kinds = {"ms": ".2f", "to_first": ".2f", "auc": ".3f", "lost_share": ".1%", "skipped_share": ".1%"}
    kinds |= {"followed_ms": ".2f", "lost_ms": ".2f"}
    rows = [[name, *(format(row[key], kinds[key]) for key in names)] for name, row in total.items()]
    lines = [f"## In motion: {count} sequences as they are, {frames} frames, in turns, one thread", ""]
    lines += [*table(["tracker", *names.values()], rows), ""]
    each = [
        [name, *(f"{row['ms']:.2f} ({row['auc']:.3f})" for row in rows.values())]
        for name, rows in motion["sequences"].items()
    ]
    return [*lines, "CPU ms a frame (AUC):", "", *table(["sequence", *total], each), ""]


def _device(device: Results) -> list[str]:
    """Time per frame, engine and the rest, by number of targets."""
    head = ["", "frames", "median ms", "p95 ms", "max ms", "engine ms", "rest ms", "engine's share", "targets/s"]
    head += ["a target, us", "TRACKING"]
    keys = ("median_ms", "p95_ms", "max_ms", "engine_ms", "rest_ms")
    kinds = {"engine_share": ".0%", "per_second": ".0f", "target_us": ".0f", "tracked": ".1%"}
    lines = ["## Engine and host", ""]
    for title, rows in (("One target", device["one"]), ("Targets in a frame of 1080p", device["several"])):
        shown = [
            [
                name,
                f"{row['frames']}",
                *(_ms(row[k]) for k in keys),
                *(format(row[k], kind) for k, kind in kinds.items()),
            ]
            for name, row in rows.items()
        ]
        lines += [f"{title}:", "", *table(head, shown), ""]
        for name, row in rows.items():
            why = "; ".join(f"{k} in {v['slow']:.0%} ({v['all']:.1%} of all)" for k, v in row["happened"].items())
            lines += [f"- {name}: {row['slow_share']:.1%} of the frames took over 1.5 medians; of these {why}."]
        lines += [""]
    return lines


def _threads(number: str) -> str:
    return f"{number} thread{'s' if number != '1' else ''}"


def _against_first(unit: str, rows: dict[Any, dict[str, float]], values: tuple[str, ...]) -> list[str]:
    """A table of durations, each also as a multiple of that in the first row, round by round."""
    head = [unit, *(f"{NAMES[value]} ms" for value in values), "wall, first = 1", "CPU, first = 1"]
    body = [
        [str(key), *(_ms(v[k]) for k in values), f"{v['wall_to_first']:.2f}", f"{v['cpu_to_first']:.2f}"]
        for key, v in rows.items()
    ]
    return [*table(head, body), ""]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A markdown table with right-aligned numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _ms(value: float) -> str:
    return f"{value:.2f}" if value == value else "-"


def write(results: Results, folder: Path, plot: bool = True) -> list[Path]:
    """Writes benchmark.md, benchmark.json and, with a plot, benchmark.png."""
    files = [folder / "benchmark.md", folder / "benchmark.json"]
    write_atomic(files[0], markdown(results))
    write_atomic(files[1], json.dumps(results, indent=1) + "\n")
    if plot and draw(results, folder / "benchmark.png"):
        files.append(folder / "benchmark.png")
    return files


def draw(results: Results, path: Path) -> bool:
    """The plot: a panel for each part that was measured; False if there is nothing to show."""
    panels = [key for key in ("stages", "compare", "targets", "sizes", "soak") if key in results]
    if not panels:
        return False
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, key in zip(axes.flat, panels, strict=False):
        data = results[key]
        if key in ("stages", "compare"):
            _bars(axis, key, data)
        elif key == "soak":
            axis.plot([k for k, _ in data["samples"]], [v / 1e6 for _, v in data["samples"]], color=BLUE)
            axis.set(title="Memory", xlabel="frame", ylabel="MB")
        elif key == "targets":
            for (threads, some), colour in zip(data.items(), cycle((BLUE, RED)), strict=False):
                wall = [v["wall_median_ms"] for v in some.values()]
                axis.plot([int(n) for n in some], wall, "o-", color=colour, label=_threads(threads))
            axis.set(title="Targets in a frame (wall)", ylabel="ms a frame", xlabel="targets")
            axis.legend(frameon=False)
        else:
            axis.plot([str(k) for k in data], [v["cpu_median_ms"] for v in data.values()], "o-", color=BLUE)
            axis.set(title="Size of the frame (CPU)", ylabel="ms a frame", xlabel="lines")
        if key not in ("stages", "compare"):
            axis.set_ylim(0, 1.15 * axis.get_ylim()[1])
        axis.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=110)
    return True


def _bars(axis: Any, key: str, data: dict[str, Any]) -> None:
    if key == "stages":
        values = {k: v["wall_median_ms"] for k, v in next(iter(data.values())).items() if k != "update, whole"}
        axis.set_title("Where a frame goes (wall)")
    else:
        values = {k.replace(", ", ",\n", 1): v["cpu_median_ms"] for k, v in data.items()}
        axis.set_title("Same frames, one thread (CPU)")
    bars = axis.barh(list(values), list(values.values()), color=BLUE)
    axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    axis.margins(x=0.18)
    axis.invert_yaxis()
    axis.set_xlabel("ms a frame")
