"""What the supervisor knows of one stream: where it runs, how it is, and what a new worker would need to go on; and the
state file, so that a restart goes on, too. Written atomically."""

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


TOTALS = ("frames", "dropped", "tracked", "missed_recording", "reconnects")
OVER = ("ended", "failed")


@dataclass
class Entry:
    """One stream.

    Attributes:
        name, config: As given.
        saved: The targets as they were last.
        worker: Number of the worker that has it, or None.
        state: waiting (for a worker), connecting, live, down, refused, poisoned, failed or ended.
        text: A sentence on the state.
        width, height: Pixels, 0 before they are known.
        not_before: Seconds of `time.monotonic` before which it gets no worker.
        deaths: When workers died that had it.
        placed: When it got its worker.
        poisoned: How often it was kept out.
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
        """What it asks of a worker: a stream counts as much as a target, since decoding costs about as much as
        tracking."""
        return 1 + max(len(self.config.targets), len(self.last))

    def order(self) -> bytes:
        """The message that gives it to a worker, with all that is known of its targets."""
        saved, start = self.saved, 0
        begun = set(saved.begun)
        if saved.frame is not None and not saved.live:
            start = saved.frame + 1
            late = [
                n for n, t in self.config.targets.items() if t.box is not None and t.frame < start and n not in begun
            ]
            if late:  # the worker died before it could say what it had begun
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
        """Notes in what state its worker says that it is."""
        self.state, self.text = values["state"], values["text"]
        self.width, self.height = values["width"], values["height"]
        if self.state == "live":
            self.saved.live = values["live"]

    def take_result(self, line: dict[str, Any]) -> None:
        """Notes a result."""
        self.last = {one["id"]: one for one in line["targets"]}
        self.saved.frame = line["frame"]
        for one in line["targets"]:
            if one["box"] is not None:
                self.boxes[one["id"]] = one["box"]

    def take_saved(self, values: dict[str, Any], parts: dict[str, bytes]) -> None:
        """Notes what a worker saved of its targets."""
        self.saved.targets, self.saved.views, self.saved.begun = values["targets"], parts, values["begun"]
        self.boxes = {name: box for name, box in self.boxes.items() if name in values["targets"]}
        self.last = {name: one for name, one in self.last.items() if name in values["targets"]}

    def to_save(self) -> Saved:
        """What the state file keeps of it."""
        old, config = self.saved, stream_to_dict(self.config)
        return Saved(old.moved_to(self.boxes), old.views, old.begun, old.frame, old.live, config, old.added)

    def leave(self) -> None:
        """It has no worker any more; what was counted there stays counted."""
        for key in TOTALS:
            self.before[key] += int(self.counters.get(key, 0))
        self.counters, self.worker = {}, None

    def keep_out(self, limits: LimitsConfig) -> None:
        """It took workers along: out for a while, doubled each time."""
        wait = limits.poison_wait * 2**self.poisoned
        self.poisoned += 1
        self.state, self.not_before = "poisoned", time.monotonic() + wait
        self.text = f"its worker died {len(self.deaths)} times with it; kept out for {wait:g} s"

    def as_dict(self) -> dict[str, Any]:
        """What control and the status page show."""
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
