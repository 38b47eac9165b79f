"""The tracking thread of the page: newest frame in, snapshot out, browser requests in between. Recent frames are kept
while a user draws a box, so that the target is taken from the frame that was drawn on."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.errors import BoxError, OutputError, SiamTrackError
from tracker.geometry import check_box
from tracker.media.sources.latest import LatestFrameSource
from tracker.types import Frame, Track
from tracker.web.commands import Command, Drop, Hold, Record, Release, Request, TargetRequest
from tracker.web.pictures import LONGEST_SIDE, Snapshot, encode_views, frame_size, jpeg
from tracker.web.recorder import ClipRecorder, Recording
from tracker.web.targets import TargetGroup

if TYPE_CHECKING:
    from tracker.web.hub import Hub  # only the page needs aiohttp

logger = logging.getLogger(__name__)

CATCH_UP = 1.5
"""Seconds for tracking through the frames that passed while a box was drawn; beyond it frames are skipped evenly."""
FIRST_COST = 0.03
"""Assumed duration of an update in seconds before one was measured."""
SMOOTH = 0.1
"""Weight of the newest value in the running means of the displayed numbers."""
QUEUE = 64


class LiveWorker(threading.Thread):
    """Tracks targets in a live source until it ends or `stop` is called.

    Args:
        source: Delivers the newest frame only; closed at the end.
        group: The targets.
        audience: Receives the snapshots.
        save_dir: Folder for recordings, or None.
        boxes: Targets to track from the first frame on (xywh).

    Attributes:
        on_end: Called from this thread when it ends.
        error: The reason, if it failed.
    """

    def __init__(
        self,
        source: LatestFrameSource,
        group: TargetGroup,
        audience: Hub,
        *,
        save_dir: Path | None = None,
        boxes: tuple[tuple[float, float, float, float], ...] = (),
    ) -> None:
        super().__init__(name="siamtrack-web-worker", daemon=True)
        self._source, self._group, self._audience, self._boxes = source, group, audience, boxes
        self._commands: queue.Queue[Command] = queue.Queue(QUEUE)
        self._history = History()
        self._stopped = threading.Event()
        self._seq = -1
        self._cost = self._interval = 0.0
        self._previous = 0.0
        self._told = 0.0
        self.recorder = ClipRecorder(save_dir, source.info, self._recorded)
        self.error: BaseException | None = None
        self.on_end: Callable[[], None] = lambda: None

    def submit(self, command: Command) -> bool:
        """Queues a request from any thread; False if too many are queued."""
        try:
            self._commands.put_nowait(command)
        except queue.Full:
            return False
        return True

    def stop(self) -> None:
        """Asks the thread to end; join it afterwards."""
        self._stopped.set()

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                frame = self._source.read(timeout=0.1)
                arrived = time.monotonic() - self._source.latency
                if frame is not None:
                    self._seq += 1
                    self._history.add(self._seq, frame, self._audience.oldest_shown())
                while not self._commands.empty():
                    self._serve(self._commands.get_nowait())
                if frame is not None:
                    self._follow(frame, arrived)
        except StopIteration:
            self._audience.notice("The source has ended.", "info")
        except SiamTrackError as error:
            self.error = error
            self._audience.notice(str(error), "error")
        except Exception as error:
            logger.exception("The worker of the page failed")
            self.error = error
            self._audience.notice("The tracker failed by a mistake of its own; the terminal shows more.", "error")
        finally:
            self._source.close()
            self.recorder.close()
            self.on_end()

    def _follow(self, frame: Frame, arrived: float) -> None:
        """Processes one frame: targets, recording, snapshot."""
        if self._boxes:
            for box in self._boxes:
                self._group.add(frame.image, check_box(box, *frame_size(frame)))
            self._boxes = ()
        tracks = self._update(frame)
        try:
            self.recorder.write(frame, tracks)
        except OutputError as error:
            self._audience.notice(f"The recording was ended: {error}", "error")
            self._tell_recording()
        now = time.monotonic()
        if self._previous:
            self._interval += (
                SMOOTH * (now - self._previous - self._interval) if self._interval else now - self._previous
            )
        self._previous = now
        if self.recorder.active and now - self._told > 0.5:
            self._tell_recording()
        anybody, with_views = self._audience.ready()
        if not anybody:
            return
        figures = {
            "fps": round(1 / self._interval, 1) if self._interval else 0.0,
            "tracker_ms": round(1000 * self._cost * len(tracks), 1),
            "dropped": self._source.dropped,
            "damaged": self._source.damaged,
        }
        seen = self._group.views() if tracks and with_views else None
        views = encode_views(*seen) if seen else None
        self._audience.publish(
            Snapshot(
                self._seq, frame.index, frame.timestamp, frame_size(frame), arrived, tuple(tracks),
                jpeg(frame.image, LONGEST_SIDE), views, figures,
            )
        )  # fmt: skip

    def _update(self, frame: Frame) -> list[Track]:
        count = len(self._group.ids())
        if not count:
            return []
        began = time.perf_counter()
        tracks = self._group.update(frame.image, index=frame.index, timestamp=frame.timestamp)
        cost = (time.perf_counter() - began) / count
        self._cost += SMOOTH * (cost - self._cost) if self._cost else cost
        return tracks

    def _serve(self, command: Command) -> None:
        try:
            self._do(command.request, command)
        except SiamTrackError as error:
            command.reply({"type": "notice", "level": "error", "text": str(error)})

    def _do(self, request: Request, command: Command) -> None:
        if isinstance(request, TargetRequest):
            self._history.release(command.client)
            self._start(request)
            command.reply({"type": "started"})
        elif isinstance(request, Hold):
            self._history.hold(command.client, request.seq)
        elif isinstance(request, Release):
            self._history.release(command.client)
        elif isinstance(request, Drop):
            for target_id in self._group.ids() if request.target_id is None else [request.target_id]:
                self._group.drop(target_id)
        elif isinstance(request, Record):
            if request.on:
                self.recorder.start()
            else:
                self.recorder.stop()
            self._tell_recording()

    def _start(self, request: TargetRequest) -> None:
        """Initialises a target in the frame that was drawn on, and tracks it through the frames that have passed
        since."""
        frames = self._history.since(request.seq)
        if not frames:
            raise BoxError("The picture that you drew on is no longer kept; draw the box again.")
        box = check_box(request.box, *frame_size(frames[0]))
        if not request.add:
            for target_id in self._group.ids():
                self._group.drop(target_id)
            if not self.recorder.active:
                self._group.renumber()
        # The newest frame is left for the regular update that follows.
        passed = frames[1:-1]
        step = max(1, math.ceil(len(passed) * (self._cost or FIRST_COST) / CATCH_UP))
        self._group.add(frames[0].image, box, [frame.image for frame in passed[step - 1 :: step]])

    def _recorded(self, outcome: Recording | str | None) -> None:
        if isinstance(outcome, str):
            self._audience.notice(outcome, "error")
        elif outcome is not None:
            self._audience.notice(
                f"Saved {outcome.video.name} and {outcome.boxes.name}: {outcome.frames} frames, "
                f"{outcome.seconds:.1f} s.",
                "info",
            )
        self._tell_recording()

    def _tell_recording(self) -> None:
        self._told = time.monotonic()
        recorder = self.recorder
        self._audience.status(
            recording={
                "on": recorder.active,
                "name": recorder.name,
                "seconds": round(recorder.seconds, 1),
                "frames": recorder.frames,
            },
            recordings=sorted(recorder.finished, reverse=True),
        )


KEEP = 8
"""Frames kept when nobody draws: a browser displays a frame that is a few frames old."""
SHOWN = 90
"""Greatest number of frames kept for a browser that is slow to display (3 seconds of typical video)."""
HOLD_SECONDS = 30.0


@dataclass(frozen=True)
class Kept:
    """A frame and its number in the order in which the worker processed it."""

    seq: int
    frame: Frame


class History:
    """Recent frames in bounded memory.

    Args:
        budget: Size of the images in bytes. If a user draws for so long that it is exceeded, every other frame is
            dropped.
        clock: Clock in seconds; for tests.
    """

    def __init__(self, budget: int = 96 << 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget, self._clock = budget, clock
        self._frames: list[Kept] = []
        self._holds: dict[int, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def nbytes(self) -> int:
        """Size of the images held, in bytes."""
        return sum(kept.frame.image.nbytes for kept in self._frames)

    def hold(self, client: int, seq: int) -> None:
        """Keeps everything from frame `seq` on until `release`, or for half a minute."""
        self._holds[client] = (seq, self._clock() + HOLD_SECONDS)

    def release(self, client: int) -> None:
        """The client has stopped drawing."""
        self._holds.pop(client, None)

    def add(self, seq: int, frame: Frame, shown: int | None = None) -> None:
        """Stores the newest frame and drops those that are no longer needed.

        Args:
            seq: Its number.
            frame: The frame.
            shown: Number of the oldest frame that some browser displays: the next box may be drawn on it.
        """
        self._frames.append(Kept(seq, frame))
        now = self._clock()
        self._holds = {client: hold for client, hold in self._holds.items() if hold[1] > now}
        held = {hold[0] for hold in self._holds.values()}
        floor = min([seq - KEEP + 1, max(seq if shown is None else shown, seq - SHOWN + 1), *held])
        self._frames = [kept for kept in self._frames if kept.seq >= floor]
        while self.nbytes > self._budget and len(self._frames) > 1:
            before = len(self._frames)
            if held or shown is not None:
                self._frames = [
                    kept for k, kept in enumerate(self._frames) if k % 2 == 0 or kept.seq in (held | {shown, seq})
                ]
            if len(self._frames) == before:
                self._frames = self._frames[1:]

    def since(self, seq: int) -> list[Frame]:
        """Frame `seq` and the later ones still held; empty if it was dropped."""
        frames = [kept for kept in self._frames if kept.seq >= seq]
        return [kept.frame for kept in frames] if frames and frames[0].seq == seq else []
