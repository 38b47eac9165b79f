"""The state file: where every target is and what it looks like, so that a restart goes on. Written atomically."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracker.errors import SiamTrackError
from tracker.files import write_atomic
from tracker.serve.messages import pack, unpack

KIND, FORMAT = "siamtrack-state", 1


@dataclass
class Saved:
    """What is known of a stream's targets.

    Attributes:
        targets: name -> numbers of `StreamTargets.save`.
        views: name -> its bytes.
        begun: Names of all targets that were ever begun.
        frame: Index of the newest frame that is in the results, or None.
        live: Whether only the newest frame counts.
        config: The stream's configuration.
        added: Whether it was added at run time.
    """

    targets: dict[str, Any] = field(default_factory=dict)
    views: dict[str, bytes] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    frame: int | None = None
    live: bool = True
    config: dict[str, Any] = field(default_factory=dict)
    added: bool = False

    def forget(self, names: set[str]) -> None:
        """These targets are to start anew."""
        self.begun = [name for name in self.begun if name not in names]
        self.targets = {name: one for name, one in self.targets.items() if name not in names}

    def moved_to(self, last: dict[str, Any]) -> dict[str, Any]:
        """The targets, at the places of the last result where that is newer: a state is seconds old, a result is not.

        Args:
            last: name -> box (x, y, w, h), for those that were seen.
        """
        out = {}
        for name, numbers in self.targets.items():
            box = last.get(name)
            if box is not None:
                centre, size = [box[0] + box[2] / 2, box[1] + box[3] / 2], [box[2], box[3]]
                numbers = {**numbers, "centre": centre, "size": size, "sure_centre": centre, "sure_size": size}
            out[name] = numbers
        return out


def write_state(path: str | Path, streams: dict[str, Saved]) -> None:
    """Writes the state of all streams; a kill at any moment leaves the old file or the new one.

    Raises:
        OutputError: It can't be written.
    """
    values: dict[str, Any] = {"format": FORMAT, "streams": {}}
    parts: dict[str, bytes] = {}
    for name, saved in streams.items():
        values["streams"][name] = {
            k: getattr(saved, k) for k in ("targets", "begun", "frame", "live", "config", "added")
        }
        parts |= {f"{name}/{target}": data for target, data in saved.views.items()}
    write_atomic(path, pack(KIND, values, parts))


def read_state(path: str | Path) -> dict[str, Saved]:
    """The streams in a state file; none where there is no file yet.

    Raises:
        SiamTrackError: It is another file, or of another version.
    """
    file = Path(path)
    if not file.exists():
        return {}
    try:
        kind, values, parts = unpack(file.read_bytes())
        if kind != KIND or values["format"] != FORMAT:
            raise ValueError("another kind of file")
        out = {}
        for name, one in values["streams"].items():
            views = {target: parts[f"{name}/{target}"] for target in one["targets"]}
            out[name] = Saved(
                one["targets"], views, one["begun"], one["frame"], one["live"], one["config"], one["added"]
            )
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, struct.error) as error:
        raise SiamTrackError(
            f"The state file {file} can't be read ({getattr(error, 'strerror', None) or error}); "
            "move it away to start as streams.yaml says."
        ) from None
    return out
