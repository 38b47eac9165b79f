"""The sections and keys of `streams.yaml` as frozen dataclasses; `config_file` reads and checks them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tracker.settings import LARGEST, Checked, flat, setting


@dataclass(frozen=True)
class TargetConfig(Checked):
    """One target of a stream: either `box`, `known` or `gallery`.

    Attributes:
        box: x, y, w, h in pixels, 0-based, top-left corner, in the frame numbered `frame`.
        known: A file written by `track --save-target`; the target is searched for from the first frame on.
        gallery: A file written by `match enrol`; the object is searched for from the first frame on, and a candidate
            must be more similar to it than to any other object of the gallery.
        thing: Its name in the gallery; default: the name of the target.
        far: False-accept rate at which the gallery's calibration accepts a candidate, 0 to 1.
        threshold: Least similarity, instead of the one that the calibration gives for `far`.
        frame: 0-based index of the frame that `box` refers to (files; a live stream uses its first frame).
    """

    box: list[float] | None = None
    known: str | None = None
    gallery: str | None = None
    thing: str | None = None
    far: float = setting(0.01, 0, 1, above=True, below=True)
    threshold: float | None = None
    frame: int = setting(0, 0, LARGEST)


@dataclass(frozen=True)
class DetectionsConfig(Checked, section="detections"):
    """Boxes of a detector that start targets; either `file` or `url`.

    Attributes:
        file: JSON lines with `frame`, `box` and optionally `score`; or a MOTChallenge text
            (frame,id,x,y,w,h,score,...).
        url: HTTP address that takes a JPEG by POST and answers {"boxes": [[x, y, w, h], ...]}, a fifth number being
            the score.
        every: Seconds between two requests to `url`.
        timeout: Seconds to wait for its answer.
        least_score: Detections with a lower score are dropped, 0 to 1.
        overlap: A detection whose intersection over union with a target is at least this starts no target, 0 to 1.
        most: Greatest number of targets in this stream; further detections are dropped.
    """

    file: str | None = None
    url: str | None = None
    every: float = setting(1.0, 0, LARGEST, "seconds", above=True)
    timeout: float = setting(5.0, 0, LARGEST, "seconds", above=True)
    least_score: float = setting(0.5, 0, 1)
    overlap: float = setting(0.3, 0, 1)
    most: int = setting(16, 1, LARGEST)


@dataclass(frozen=True)
class RecordConfig(Checked, section="record"):
    """Recordings of a stream; files are never overwritten, a number is added to the name.

    Attributes:
        video: Annotated video (.mp4, .mkv, .mov, .m4v, .webm, .gif).
        boxes: Boxes (.csv or .jsonl).
    """

    video: str | None = None
    boxes: str | None = None


@dataclass(frozen=True)
class StreamConfig(Checked):
    """One stream.

    Attributes:
        source: File, folder, glob, camera number, or URL (rtsp, http, udp, tcp, ...).
        targets: name -> `TargetConfig`.
        detections: Source of further targets, or none.
        live: auto, yes or no: whether only the newest frame is processed. auto: yes for cameras and endless URLs. A
            file with yes plays at its own speed.
        lost: What happens to a LOST target after `lost_seconds`: search (the search continues), drop (it is removed),
            restart (the content of its first box becomes the target).
        lost_seconds: Seconds of LOST without interruption before `lost` applies.
        timeout: Seconds without a frame after which a live stream counts as down.
        record: Recordings.
    """

    source: str = ""
    targets: dict[str, Any] = setting(factory=dict)
    detections: DetectionsConfig | None = None
    live: str = setting("auto", choices=("auto", "yes", "no"))
    lost: str = setting("search", choices=("search", "drop", "restart"))
    lost_seconds: float = setting(5.0, 0, LARGEST, "seconds", above=True)
    timeout: float = setting(10.0, 0, LARGEST, "seconds", above=True)
    record: RecordConfig = setting(factory=RecordConfig)


@dataclass(frozen=True)
class BatchConfig(Checked, section="batch"):
    """When the batcher of a worker calls the network.

    Attributes:
        crops: Greatest number of search windows collected for one batch.
        wait_ms: Milliseconds that the first of them waits for others, if windows share a call.
        call_crops: Windows per network call; 0: all on a GPU, 1 on a CPU, where a batch saves nothing and makes the
            first streams wait for the last.
    """

    crops: int = setting(64, 1, LARGEST)
    wait_ms: float = setting(4.0, 0, LARGEST, "milliseconds")
    call_crops: int = setting(0, 0, LARGEST)


@dataclass(frozen=True)
class WorkersConfig(Checked, section="workers"):
    """The worker processes (or Ray actors).

    Attributes:
        count: Number of workers; 0: one for each core of this process, or one for each GPU.
        threads: CPU threads of a worker's network; with several, its targets are distributed over them.
        spare: Whether a further worker waits with the model loaded, so that the streams of a dead one continue at once.
        gone_seconds: Seconds without a message after which a worker counts as dead; 0: 10, and 3 in a Ray cluster,
            where a machine without power sends no message either.
        decode: cpu, or the name of an FFmpeg device (cuda, vaapi, ...) that decodes network streams, or nvdec
            (PyNvVideoCodec).
    """

    count: int = setting(0, 0, LARGEST)
    threads: int = setting(1, 1, LARGEST)
    spare: bool = True
    gone_seconds: float = setting(0.0, 0, LARGEST, "seconds")
    decode: str = "cpu"


@dataclass(frozen=True)
class LimitsConfig(Checked, section="limits"):
    """Limits of one stream.

    Attributes:
        pixels: Greatest width times height of a frame; a larger stream is refused with a message.
        targets: Greatest number of targets in one stream.
        first_wait: Seconds before the first attempt to reopen a stream that is down; doubled each time.
        longest_wait: Greatest number of seconds between two attempts.
        steady: Seconds that a stream has to run before its next failure starts at `first_wait` again.
        poison_wait: Seconds for which a stream that repeatedly crashed its worker is excluded; doubled each time.
    """

    pixels: int = setting(3840 * 2160, 1, LARGEST)
    targets: int = setting(64, 1, LARGEST)
    first_wait: float = setting(0.5, 0, LARGEST, "seconds", above=True)
    longest_wait: float = setting(30.0, 0, LARGEST, "seconds", above=True)
    steady: float = setting(10.0, 0, LARGEST, "seconds", above=True)
    poison_wait: float = setting(60.0, 0, LARGEST, "seconds", above=True)


@dataclass(frozen=True)
class MqttConfig(Checked, section="results.mqtt"):
    """Results to an MQTT broker; stream `gate` goes to TOPIC/gate.

    Attributes:
        host: Name or address.
        port: TCP port.
        topic: First part of the topic.
        qos: 0 (at most once) or 1 (at least once).
        username: User; the password is taken from the environment variable SIAMTRACK_MQTT_PASSWORD.
        tls: Whether the connection is encrypted, the broker's certificate being checked.
    """

    host: str = "127.0.0.1"
    port: int = setting(1883, 1, 65535)
    topic: str = "siamtrack"
    qos: int = setting(0, 0, 1)
    username: str | None = None
    tls: bool = False


@dataclass(frozen=True)
class ResultsConfig(Checked, section="results"):
    """Where results are written.

    Attributes:
        stdout: Whether they are written to standard output, one JSON object per line.
        file: A file that the same lines are appended to.
        mqtt: An MQTT broker, or none.
        queue: Greatest number of lines that wait for a slow output.
        when_full: drop (lines for a slow output are dropped and counted) or wait (for files as streams: tracking waits
            for stdout and file; never for MQTT).
    """

    stdout: bool = True
    file: str | None = None
    mqtt: MqttConfig | None = None
    queue: int = setting(10_000, 1, LARGEST)
    when_full: str = setting("drop", choices=("drop", "wait"))


@dataclass(frozen=True)
class ControlConfig(Checked, section="control"):
    """Control and status page over HTTP.

    Attributes:
        address: HOST:PORT to listen on (port 0: any free one), or none for no control. Changes always require the
            token.
        metrics: Whether /metrics answers Prometheus without a token (numbers and names of streams only).
    """

    address: str | None = None
    metrics: bool = True


@dataclass(frozen=True)
class StateConfig(Checked, section="state"):
    """The file from which a restart restores targets.

    Attributes:
        file: Its path, or none.
        every: Seconds between two writes.
    """

    file: str | None = None
    every: float = setting(2.0, 0, LARGEST, "seconds", above=True)


@dataclass(frozen=True)
class ServeConfig(Checked):
    """The whole of `streams.yaml`.

    Attributes:
        model: Shipped model or checkpoint file.
        device: auto, cpu, cuda or cuda:N.
        engine: auto or a name of `tracker.runtime.select.ENGINES`.
        tracking: Changed settings of the tracker, such as redetection: {tiles: 1}.
        streams: name -> `StreamConfig`.
        stay: Whether the service continues after all files have ended.
        batch, workers, limits, results, control, state: See the classes.
    """

    model: str = "siamtrack-s"
    device: str = "auto"
    engine: str = "auto"
    tracking: dict[str, Any] = setting(factory=dict)
    batch: BatchConfig = setting(factory=BatchConfig)
    workers: WorkersConfig = setting(factory=WorkersConfig)
    limits: LimitsConfig = setting(factory=LimitsConfig)
    results: ResultsConfig = setting(factory=ResultsConfig)
    control: ControlConfig = setting(factory=ControlConfig)
    state: StateConfig = setting(factory=StateConfig)
    streams: dict[str, Any] = setting(factory=dict)
    stay: bool = False

    @property
    def overrides(self) -> list[str]:
        """The changed settings as `key=value` strings."""
        return [f"tracking.{key}={value}" for key, value in flat(self.tracking).items()]


def stream_to_dict(config: StreamConfig) -> dict[str, Any]:
    """A stream as plain values that `parse_stream` accepts (for a message, or the state file)."""
    return _without_none(asdict(config))


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in values.items() if v is not None}
