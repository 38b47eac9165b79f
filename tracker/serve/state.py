"""The supervisor's record of one stream: where it runs, its state, and what a new worker needs to continue it; and the
state file for restarts, which is written atomically."""

from __future__ import annotations

import struct
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracker.errors import SiamTrackError
from tracker.files import write_atomic
from tracker.serve.config import LimitsConfig, StreamConfig, stream_to_dict
from tracker.serve.messages import pack, unpack

KIND, FORMAT = "siamtrack-state", 1


@dataclass
class Saved:
    """The saved targets of a stream.

    Attributes:
        targets: name -> numbers from `StreamTargets.save`.
        views: name -> its bytes.
        begun: Names of all targets that were ever started.
        frame: Index of the newest frame with results, or None.
        live: Whether only the newest frame is processed.
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
        """Removes targets that will start again."""
        self.begun = [name for name in self.begun if name not in names]
        self.targets = {name: one for name, one in self.targets.items() if name not in names}

    def moved_to(self, last: dict[str, Any]) -> dict[str, Any]:
        """The targets, moved to the boxes of the last result if that is newer: a saved state is seconds old, a result
        is not.

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
    """Writes the state of all streams; a crash at any moment leaves the old file or the new one.

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
        SiamTrackError: It is not a state file, or one of another version.
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


TOTALS = ("frames", "dropped", "tracked", "missed_recording", "reconnects")
OVER = ("ended", "failed")


@dataclass
class Entry:
    """One stream.

    Attributes:
        name, config: As configured.
        saved: The last saved targets.
        worker: Number of the worker that has it, or None.
        state: waiting (for a worker), connecting, live, down, refused, poisoned, failed or ended.
        text: A sentence about the state.
        width, height: Pixels; 0 until known.
        not_before: Time (`time.monotonic`) before which it is not assigned to a worker.
        deaths: Times at which its workers died.
        placed: Time at which it was assigned to its worker.
        poisoned: How often it was excluded.
        last: target name -> entry of its last result.
        boxes: target name -> box of the last result in which it was seen.
    """

    name: str
    config: StreamConfig
    saved: Saved
    worker: int | None = None
    state: str = "waiting"
    text: str = ""
    width: int = 0
    height: int = 0
    not_before: float = 0.0
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    placed: float = 0.0
    poisoned: int = 0
    moves: int = 0
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    boxes: dict[str, list[float]] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOTALS, 0))

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def load(self) -> int:
        """Its load on a worker: the stream itself counts as much as a target, since decoding costs about as much as
        tracking."""
        return 1 + max(len(self.config.targets), len(self.last))

    def order(self) -> bytes:
        """The message that assigns it to a worker, with the saved state of its targets."""
        saved, start = self.saved, 0
        begun = set(saved.begun)
        if saved.frame is not None and not saved.live:
            start = saved.frame + 1
            late = [
                n for n, t in self.config.targets.items() if t.box is not None and t.frame < start and n not in begun
            ]
            if late:  # the worker died before it could report the targets it had started
                saved, start, begun = Saved(), 0, set()
        values: dict[str, Any] = {
            "stream": self.name,
            "config": stream_to_dict(self.config),
            "saved": saved.moved_to(self.boxes),
            "begun": sorted(begun),
            "start": start,
        }
        return pack("add", values, {name: saved.views[name] for name in values["saved"]})

    def take_state(self, values: dict[str, Any]) -> None:
        """Records the state reported by its worker."""
        self.state, self.text = values["state"], values["text"]
        self.width, self.height = values["width"], values["height"]
        if self.state == "live":
            self.saved.live = values["live"]

    def take_result(self, line: dict[str, Any]) -> None:
        """Records a result."""
        self.last = {one["id"]: one for one in line["targets"]}
        self.saved.frame = line["frame"]
        for one in line["targets"]:
            if one["box"] is not None:
                self.boxes[one["id"]] = one["box"]

    def take_saved(self, values: dict[str, Any], parts: dict[str, bytes]) -> None:
        """Records the saved targets of a worker."""
        self.saved.targets, self.saved.views, self.saved.begun = values["targets"], parts, values["begun"]
        self.boxes = {name: box for name, box in self.boxes.items() if name in values["targets"]}
        self.last = {name: one for name, one in self.last.items() if name in values["targets"]}

    def to_save(self) -> Saved:
        """Its part of the state file."""
        old, config = self.saved, stream_to_dict(self.config)
        return Saved(old.moved_to(self.boxes), old.views, old.begun, old.frame, old.live, config, old.added)

    def leave(self) -> None:
        """It has no worker any more; the counts so far are kept."""
        for key in TOTALS:
            self.before[key] += int(self.counters.get(key, 0))
        self.counters, self.worker = {}, None

    def keep_out(self, limits: LimitsConfig) -> None:
        """It crashed its workers: excluded for a time that doubles each time."""
        wait = limits.poison_wait * 2**self.poisoned
        self.poisoned += 1
        self.state, self.not_before = "poisoned", time.monotonic() + wait
        self.text = f"its worker died {len(self.deaths)} times with it; kept out for {wait:g} s"

    def as_dict(self) -> dict[str, Any]:
        """Values for control and the status page."""
        from tracker.media.sources.stream import hide_password

        totals = {key: self.before[key] + int(self.counters.get(key, 0)) for key in TOTALS}
        return {
            "name": self.name,
            "source": hide_password(self.config.source),
            "state": self.state,
            "text": self.text,
            "worker": self.worker,
            "moves": self.moves,
            "width": self.width,
            "height": self.height,
            "live": self.saved.live,
            **totals,
            "latency_ms": self.counters.get("latency_ms", {"p50": None, "p95": None}),
            "frame": self.saved.frame,
            "targets": list(self.last.values()),
        }
