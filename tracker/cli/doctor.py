"""`siamtrack doctor` (also `tools/track.py --doctor`): what works on this machine, and what is off and why.

Works with any package missing or broken: each check stands alone and its failure is a line of the report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracker.cli import health
from tracker.cli.common import DONE, FAILED_MIDWAY, Parser, add_version
from tracker.cli.health import Line, first_line


def build_parser() -> Parser:
    """The options of `siamtrack doctor`."""
    parser = Parser(
        description="Print versions, codecs, display, cameras, devices and models; say what is off and why."
    )
    add_version(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; 0 if tracking a file can work, 1 if not."""
    build_parser().parse_args(argv)
    return report()


def report() -> int:
    """Print all sections, then what is off; returns the exit code."""
    sections: dict[str, Callable[[], list[Line]]] = {
        "System": health.system,
        "Packages": health.packages,
        "Video": health.video,
        "Display": health.display,
        "Cameras": health.cameras,
        "Devices": health.devices,
        "Engines": health.engines,
        "Models": health.models,
        "Trial": health.trial,
    }
    off: list[Line] = []
    for title, check in sections.items():
        lines = guarded(check, title)
        print(title)
        for line in lines:
            print(f"  {'ok ' if line.ok else 'off'}  {line.name:<22} {line.text}")
        off += [line for line in lines if not line.ok]
    fatal = [line.name for line in off if line.fatal]
    if fatal:
        print(f"\nTracking can't run: {', '.join(fatal)}. `pip install .` in the clone adds what is missing.")
        return FAILED_MIDWAY
    print(
        "\nTracking works here: a clip was encoded, decoded and tracked. Cameras and streams were not tried."
        + (f" Off: {', '.join(line.name for line in off)}." if off else " Nothing is off.")
    )
    return DONE


def guarded(check: Callable[[], list[Line]], title: str) -> list[Line]:
    """The lines of a check, or one line that says how the check itself failed."""
    try:
        return check()
    except Exception as error:  # a report must survive whatever a broken installation throws
        return [Line(title.lower(), f"could not be looked at: {type(error).__name__}: {first_line(error)}", ok=False)]


if __name__ == "__main__":
    raise SystemExit(main())
