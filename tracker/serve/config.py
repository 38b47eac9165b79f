"""What `streams.yaml` may say: frozen dataclasses, checked key by key. Units stand in each field's line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from tracker.config import merge, read_yaml
from tracker.errors import ConfigError
from tracker.files import is_file, suggest

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
LOST_ACTIONS = ("search", "drop", "restart")
WHEN_FULL = ("drop", "wait")
LIVE = ("auto", "yes", "no")


@dataclass(frozen=True)
class TargetConfig:
    """One target of a stream: either `box` or `known`.

    Attributes:
        box: x, y, w, h in pixels, 0-based, top-left corner, in the frame numbered `frame`.
        known: A file written by `track --save-target`; the target is looked for from the first frame on.
        frame: 0-based index of the frame that `box` was taken in (files; a live stream takes the first frame that
            comes).
    """

    box: list[float] | None = None
    known: str | None = None
    frame: int = 0


@dataclass(frozen=True)
class DetectionsConfig:
    """Boxes of a detector that start targets; either `file` or `url`.

    Attributes:
        file: JSON lines with `frame`, `box` and, if wanted, `score`; or a MOTChallenge text
            (frame,id,x,y,w,h,score,...).
        url: HTTP address that takes a JPEG by POST and answers {"boxes": [[x, y, w, h], ...]}, a fifth number being
            the score.
        every: Seconds between two questions to `url`.
        timeout: Seconds to wait for its answer.
        least_score: Detections below it are left out, 0 to 1.
        overlap: A detection that overlaps a target by this intersection over union or more starts none, 0 to 1.
        most: Targets at most in this stream; further detections are left out.
    """

    file: str | None = None
    url: str | None = None
    every: float = 1.0
    timeout: float = 5.0
    least_score: float = 0.5
    overlap: float = 0.3
    most: int = 16


@dataclass(frozen=True)
class RecordConfig:
    """What is written of a stream; files are never overwritten, a number is added to the name.

    Attributes:
        video: Annotated video (.mp4, .mkv, .mov, .m4v).
        boxes: Boxes (.csv or .jsonl).
    """

    video: str | None = None
    boxes: str | None = None


@dataclass(frozen=True)
class StreamConfig:
    """One stream.

    Attributes:
        source: File, folder, glob, camera number, or URL (rtsp, http, udp, tcp, ...).
        targets: name -> `TargetConfig`.
        detections: Where further targets come from, or nothing.
        live: auto, yes or no: whether only the newest frame counts. auto: yes for cameras and endless URLs. A file
            with yes plays at its own speed.
        lost: What becomes of a LOST target after `lost_seconds`: search (it is looked for without end), drop (it is
            removed), restart (what is inside its first box then is the target).
        lost_seconds: Seconds of LOST without a break before `lost` says what to do.
        timeout: Seconds without a frame after which a live stream counts as down.
        record: What is written.
    """

    source: str = ""
    targets: dict[str, Any] = field(default_factory=dict)
    detections: DetectionsConfig | None = None
    live: str = "auto"
    lost: str = "search"
    lost_seconds: float = 5.0
    timeout: float = 10.0
    record: RecordConfig = field(default_factory=RecordConfig)


@dataclass(frozen=True)
class BatchConfig:
    """When the batcher of a worker calls the network.

    Attributes:
        crops: Search windows at most that are gathered for one flush.
        wait_ms: Milliseconds that the first of them waits for others.
        call_crops: Windows in one network call; 0: all on a GPU, 4 on a CPU, where a larger batch saves nothing and
            makes the first streams wait for the last.
    """

    crops: int = 64
    wait_ms: float = 4.0
    call_crops: int = 0


@dataclass(frozen=True)
class WorkersConfig:
    """The processes (or Ray actors) that do the work.

    Attributes:
        count: How many; 0: one for each core of this process, or one for each GPU.
        threads: CPU threads of a worker's network; with several, its targets are dealt out to them.
        spare: Whether one more waits with the model loaded, so that the streams of a dead one go on at once.
        gone_seconds: Seconds without a sign of life after which a worker counts as dead; 0: 10, and 3 in a Ray cluster, where a
            machine without power says nothing either.
        decode: cpu, or the name of an FFmpeg device (cuda, vaapi, ...) that decodes network streams.
    """

    count: int = 0
    threads: int = 1
    spare: bool = True
    gone_seconds: float = 0.0
    decode: str = "cpu"


@dataclass(frozen=True)
class LimitsConfig:
    """How much one stream may ask for.

    Attributes:
        pixels: Width times height of a frame at most; a larger stream is refused and named.
        targets: Targets at most in one stream.
        first_wait: Seconds before a stream that is down is tried again; doubled each time.
        longest_wait: Seconds between two attempts at most.
        steady: Seconds that a stream has to run before its next failure starts at `first_wait` again.
        poison_wait: Seconds that a stream which took its worker along is kept out; doubled each time.
    """

    pixels: int = 3840 * 2160
    targets: int = 64
    first_wait: float = 0.5
    longest_wait: float = 30.0
    steady: float = 10.0
    poison_wait: float = 60.0


@dataclass(frozen=True)
class MqttConfig:
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
    port: int = 1883
    topic: str = "siamtrack"
    qos: int = 0
    username: str | None = None
    tls: bool = False


@dataclass(frozen=True)
class ResultsConfig:
    """Where results go.

    Attributes:
        stdout: Whether they are written to standard output, a JSON object a line.
        file: A file that the same lines are added to.
        mqtt: A broker, or nothing.
        queue: Lines that wait for a slow listener at most.
        when_full: drop (what a slow listener misses is counted) or wait (for files as streams: tracking waits for
            stdout and file; never for MQTT).
    """

    stdout: bool = True
    file: str | None = None
    mqtt: MqttConfig | None = None
    queue: int = 10_000
    when_full: str = "drop"


@dataclass(frozen=True)
class ControlConfig:
    """Control and status page over HTTP.

    Attributes:
        address: HOST:PORT to listen on (port 0: any free one), or nothing for no control. Changes always need the
            token.
        metrics: Whether /metrics answers Prometheus without a token (numbers and names of streams only).
    """

    address: str | None = None
    metrics: bool = True


@dataclass(frozen=True)
class StateConfig:
    """The file that a restart takes targets up from.

    Attributes:
        file: Its path, or nothing.
        every: Seconds between two times that it is written.
    """

    file: str | None = None
    every: float = 2.0


@dataclass(frozen=True)
class ServeConfig:
    """The whole of `streams.yaml`.

    Attributes:
        model: Shipped model or checkpoint file.
        device: auto, cpu, cuda or cuda:N.
        engine: auto or a name of `tracker.runtime.select.ENGINES`.
        tracking: Changed settings of the tracker, such as redetect_tiles: 1.
        streams: name -> `StreamConfig`.
        stay: Whether it goes on after all files have ended.
        batch, workers, limits, results, control, state: See there.
    """

    model: str = "siamtrack-s"
    device: str = "auto"
    engine: str = "auto"
    tracking: dict[str, Any] = field(default_factory=dict)
    batch: BatchConfig = field(default_factory=BatchConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    results: ResultsConfig = field(default_factory=ResultsConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    state: StateConfig = field(default_factory=StateConfig)
    streams: dict[str, Any] = field(default_factory=dict)
    stay: bool = False


def load_serve_config(path: str | Path) -> ServeConfig:
    """The configuration in a yaml file.

    Raises:
        ConfigError: Missing or malformed file, unknown key (with the nearest known one), value of a wrong type or out
            of bounds.
    """
    if not is_file(path):
        raise ConfigError(
            f"The file {path} does not exist; name a file that lists streams, docs/serve.md has one to start from."
        )
    values = read_yaml(path)
    streams = values.pop("streams", None) or {}
    if not isinstance(streams, dict):
        raise ConfigError(
            f"In {path}: `streams` must hold a name and what it is for each stream, not a {type(streams).__name__}."
        )
    results = values.get("results")
    mqtt = _part(results, "mqtt", MqttConfig(), f"results of {path}") if isinstance(results, dict) else None
    config = merge(ServeConfig(), values, where=str(path))
    config = replace(config, results=replace(config.results, mqtt=mqtt))
    _check_whole(config, str(path))
    return replace(
        config, streams={str(name): parse_stream(str(name), one, str(path)) for name, one in streams.items()}
    )


def _part(values: dict[str, Any], key: str, base: T, where: str) -> T | None:
    """Takes an optional part out of the values: `base` with what is said of it, or None where nothing is."""
    part = values.pop(key, None)
    if part is None or part is False:
        return None
    if not isinstance(part, dict):
        raise ConfigError(f"In {where}: `{key}` must hold keys and values, not {part!r}.")
    return merge(base, part, where=f"{key} of {where}")


def parse_stream(name: str, values: Any, where: str) -> StreamConfig:
    """One stream, from a mapping or from its source alone.

    Args:
        name: Of the stream.
        values: What stands behind the name.
        where: What to call the origin in an error.

    Raises:
        ConfigError: As `load_serve_config`.
    """
    where = f"stream {name!r} of {where}"
    if not NAME.match(name):
        raise ConfigError(
            f"In {where}: a name has up to 64 letters, digits, dots, dashes and underscores, and begins with the first two."
        )
    if isinstance(values, (str, int)) and not isinstance(values, bool):
        values = {"source": values}
    if not isinstance(values, dict):
        raise ConfigError(f"In {where}: it needs at least `source: FILE or URL`.")
    values = dict(values)
    if isinstance(values.get("live"), bool):  # yaml reads yes and no as true and false
        values["live"] = "yes" if values["live"] else "no"
    if isinstance(values.get("source"), int) and not isinstance(values["source"], bool):
        values["source"] = str(values["source"])
    targets = values.pop("targets", None) or {}
    if isinstance(targets, list):
        targets = {str(k): one for k, one in enumerate(targets)}
    if not isinstance(targets, dict):
        raise ConfigError(f"In {where}: `targets` must hold a name and a box for each target.")
    detections = _part(values, "detections", DetectionsConfig(), where)
    config = merge(StreamConfig(), values, where=where)
    config = replace(
        config, detections=detections, targets={str(k): parse_target(str(k), one, where) for k, one in targets.items()}
    )
    if not config.source:
        raise ConfigError(f"In {where}: it needs `source: FILE or URL`.")
    _one_of("live", config.live, LIVE, where)
    _one_of("lost", config.lost, LOST_ACTIONS, where)
    _positive({"lost_seconds": config.lost_seconds, "timeout": config.timeout}, where)
    found = config.detections
    if found is not None:
        if (found.file is None) == (found.url is None):
            raise ConfigError(f"In {where}: `detections` needs either `file` or `url`.")
        if found.url is not None and not re.match(r"https?://", found.url):
            raise ConfigError(f"In {where}: detections.url is {found.url!r}; it must begin with http:// or https://.")
        _positive({f"detections.{k}": getattr(found, k) for k in ("every", "timeout", "most")}, where)
    if config.record.boxes and Path(config.record.boxes).suffix.lower() not in (".csv", ".jsonl"):
        raise ConfigError(f"In {where}: record.boxes is {config.record.boxes!r}; its name must end in .csv or .jsonl.")
    if config.record.video:
        from tracker.media.sinks.base import check_video_name

        check_video_name(config.record.video)
    return config


def parse_target(name: str, values: Any, where: str) -> TargetConfig:
    """One target, from a mapping or from its box alone.

    Raises:
        ConfigError: As `load_serve_config`.
    """
    where = f"target {name!r} of {where}"
    if not NAME.match(name):
        raise ConfigError(
            f"In {where}: a name has up to 64 letters, digits, dots, dashes and underscores, and begins with the first two."
        )
    if isinstance(values, list):
        values = {"box": values}
    if isinstance(values, dict) and "gallery" in values:
        raise ConfigError(
            f"In {where}: targets from a gallery are not supported yet; give `known`, a file of `track --save-target`."
        )
    if not isinstance(values, dict):
        raise ConfigError(f"In {where}: it needs `box: [x, y, w, h]` or `known: FILE.npz`.")
    config = merge(TargetConfig(), values, where=where)
    if (config.box is None) == (config.known is None):
        raise ConfigError(f"In {where}: it needs either `box: [x, y, w, h]` or `known: FILE.npz`.")
    if config.box is not None and (len(config.box) != 4 or min(config.box[2:]) <= 0):
        raise ConfigError(f"In {where}: the box {list(config.box)} is not x, y, w, h in pixels with w and h above 0.")
    if config.frame < 0:
        raise ConfigError(f"In {where}: frame is {config.frame}; frames are counted from 0.")
    return config


def _check_whole(config: ServeConfig, where: str) -> None:
    _one_of("results.when_full", config.results.when_full, WHEN_FULL, where)
    _positive(
        {
            "batch.crops": config.batch.crops,
            "workers.threads": config.workers.threads,
            "results.queue": config.results.queue,
            "state.every": config.state.every,
            **{f"limits.{key}": value for key, value in asdict(config.limits).items()},
        },
        where,
    )
    least = {
        "batch.wait_ms": config.batch.wait_ms,
        "batch.call_crops": config.batch.call_crops,
        "workers.count": config.workers.count,
        "workers.gone_seconds": config.workers.gone_seconds,
    }
    for key, value in least.items():
        if value < 0:
            raise ConfigError(f"In {where}: {key} is {value}; it can't be negative.")
    mqtt = config.results.mqtt
    if mqtt is not None and mqtt.qos not in (0, 1):
        raise ConfigError(f"In {where}: results.mqtt.qos is {mqtt.qos}; it is 0 or 1.")


def _one_of(key: str, value: str, known: tuple[str, ...], where: str) -> None:
    if value not in known:
        raise ConfigError(f"In {where}: {key} is {value!r}; it is one of {', '.join(known)}.{suggest(value, known)}")


def _positive(values: Mapping[str, float], where: str) -> None:
    for key, value in values.items():
        if not 0 < value < float("inf"):
            raise ConfigError(f"In {where}: {key} is {value}; it must be above 0.")


def stream_to_dict(config: StreamConfig) -> dict[str, Any]:
    """A stream as plain values that `parse_stream` takes again (for a message, or the state file)."""
    return _without_none(asdict(config))


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in values.items() if v is not None}
