"""`siamtrack serve --check`: finds problems with files and sources before anything runs."""

from __future__ import annotations

from collections.abc import Callable

from tracker.errors import ConfigError, SiamTrackError, SourceError
from tracker.files import suggest
from tracker.geometry import check_box
from tracker.media.sources.open import check_there, open_source
from tracker.media.sources.stream import hide_password
from tracker.serve.config import ServeConfig, StreamConfig, TargetConfig
from tracker.serve.detections import open_detections
from tracker.serve.gallery_targets import check_thing
from tracker.tracking.template_memory import load_target


def check_files(config: ServeConfig) -> None:
    """Checks that the files named by streams exist: videos, known targets, galleries, detections.

    Raises:
        SiamTrackError: One doesn't, or can't be read; the sentence names the stream.
    """
    for name, stream in config.streams.items():
        try:
            check_there(stream.source)
            for key, target in stream.targets.items():
                check_target(key, target)
            open_detections(stream.detections)
        except SiamTrackError as error:
            raise type(error)(f"Stream {name!r}: {error}") from None


def check_target(name: str, config: TargetConfig) -> None:
    """Checks that the file of a target exists and contains it.

    Raises:
        SiamTrackError: It isn't, or doesn't.
    """
    if config.known is not None:
        load_target(config.known)
    if config.gallery is not None:
        check_thing(name, config)


def check_sources(config: ServeConfig, say: Callable[[str], None]) -> bool:
    """Opens every source, reads a frame, and describes it.

    Args:
        config: What streams.yaml says.
        say: Receives a line for each stream.

    Returns:
        Whether all sources work.
    """
    good = True
    for name, stream in config.streams.items():
        try:
            say(f"{name}: {_look(stream, config.limits.pixels)}")
        except SiamTrackError as error:
            good = False
            say(f"{name}: WRONG: {error}")
    say(f"{_count(len(config.streams), 'stream')}, {'all can be served' if good else 'not all can be served'}.")
    return good


def _look(stream: StreamConfig, most: int) -> str:
    with open_source(stream.source, live=False, timeout=stream.timeout) as source:
        info, frame = source.info, next(iter(source))
    height, width = frame.image.shape[:2]
    if width * height > most:
        raise SourceError(
            f"{hide_password(stream.source)} has {width} x {height} pixels, more than limits.pixels ({most}) allows."
        )
    for target in stream.targets.values():
        if target.box is not None:
            check_box(target.box, width, height)
    live = stream.live == "yes" or (stream.live == "auto" and info.live)
    rate = f", {float(info.frame_rate):.3g} fps" if info.frame_rate else ""
    count = f", {info.frame_count} frames" if info.frame_count else ""
    rule = "newest frame only" if live else "every frame"
    found = ", targets from detections" if stream.detections else ""
    targets = _count(len(stream.targets), "target")
    return f"{hide_password(stream.source)}, {width} x {height}{rate}{count}; {rule}; {targets}{found}"


def check_devices(config: ServeConfig) -> None:
    """Checks the names of engine and decoder, and that the decoder's library is installed.

    Raises:
        ConfigError: An unknown name, with the nearest known one.
        DeviceError: The library is missing.
    """
    from av.codec.hwaccel import hwdevices_available

    from tracker.runtime.select import ENGINES

    for key, value, known in (
        ("engine", config.engine, ENGINES),
        ("workers.decode", config.workers.decode, ("cpu", "nvdec", *hwdevices_available())),
    ):
        if value not in known:
            raise ConfigError(f"{key} is {value!r}; it is one of {', '.join(known)}.{suggest(value, known)}")
    if config.workers.decode == "nvdec":
        from tracker.serve.nvdec import load_library

        load_library()


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
