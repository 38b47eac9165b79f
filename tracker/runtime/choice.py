"""Selects the fastest engine for a model on this processor: timed once for a fraction of a second, then cached.

A choice holds for the lifetime of a process. It is cached in the user's cache folder under a key of everything that
affects it: the processor and its flags, the versions of the engines, the network and its windows.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tracker.errors import SiamTrackError
from tracker.files import write_atomic
from tracker.runtime.base import Engine
from tracker.runtime.processor import INT8, cache_folder, package_version, processor
from tracker.runtime.ranges import int8_cost

if TYPE_CHECKING:
    from tracker.model.checkpoint import LoadedModel

logger = logging.getLogger(__name__)

REFERENCE = "onnxruntime"
"""ONNX Runtime in float32, which other engines must beat."""
CLEARLY = 0.9
"""Another engine is chosen only if it takes at most this fraction of the reference's time."""
MOST_COST = 0.003
"""Greatest loss of accuracy, according to the file of ranges, with which int8 is chosen automatically."""
SECONDS, TURNS = 0.4, 12
"""Limits of the timing of all engines together."""
VARIABLE = "SIAMTRACK_ENGINE"
"""Environment variable that names the engine for `auto` instead of the fastest."""


@dataclass(frozen=True)
class EngineChoice:
    """The chosen engine and the reason.

    Attributes:
        engine: Name of an engine.
        reason: A phrase.
        ms: Engine -> milliseconds per search window; empty if no timing was needed.
    """

    engine: str
    reason: str
    ms: Mapping[str, float]


_chosen: dict[str, EngineChoice] = {}
"""The choices of this process."""


def candidates(model: LoadedModel) -> list[str]:
    """The engines that can be chosen for a model on this machine: the reference, and those whose accuracy was compared
    with it."""
    names = [REFERENCE]
    openvino = importlib.util.find_spec("openvino") is not None
    if openvino:
        names.append("openvino")
    if not INT8.intersection(processor()[1]):
        return names
    try:
        cost = int8_cost(model)
    except SiamTrackError as error:
        logger.warning("%s The engine is chosen without int8.", error)
        return names
    if cost is not None and cost <= MOST_COST:
        names.append("onnxruntime-int8")
    return names


def choose(
    model: LoadedModel,
    build: Callable[[str], Engine],
    names: list[str] | None = None,
    clock: Callable[[], float] = time.process_time,
    file: Path | None = None,
) -> EngineChoice:
    """Returns the fastest of some engines.

    Args:
        model: The model to run.
        build: Builds an engine from its name.
        names: The candidates, the reference first; None: `candidates(model)`.
        clock: Clock in seconds; processor time, so that other load has little effect.
        file: Where choices are cached; None: engines.json in the cache folder.
    """
    names = names or candidates(model)
    wanted = os.environ.get(VARIABLE, "")
    if wanted in names:
        return EngineChoice(wanted, f"{VARIABLE} is {wanted}", {})
    if len(names) == 1:
        return EngineChoice(names[0], "the fastest on a CPU", {})
    file = file or cache_folder() / "engines.json"
    key = _key(model, names)
    if key not in _chosen:
        known = _remembered(file).get(key)
        if known is None:
            known = _fastest(timed(model, build, names, clock))
            _remember(file, key, known)
        _chosen[key] = known
    return _chosen[key]


def timed(
    model: LoadedModel, build: Callable[[str], Engine], names: list[str], clock: Callable[[], float]
) -> dict[str, float]:
    """Engine -> milliseconds per search window: the minimum over several rounds, since load only makes it longer.

    An engine that can't be built is left out, except for the first.
    """
    config = model.config
    size = config.tracking.small_search.size or config.model.search_size
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    template = np.zeros((config.model.template_size, config.model.template_size, 3), np.uint8)
    target = np.full((1, 2), config.model.template_size / 2, np.float32)
    runs: dict[str, Callable[[], Any]] = {}
    for name in names:
        try:
            engine = build(name)
        except SiamTrackError as error:
            if name == names[0]:
                raise
            logger.warning("The engine %s is left out: %s", name, error)
            continue
        embedded = engine.embed_template([template], target)
        runs[name] = lambda engine=engine, embedded=embedded: engine.match(embedded, [picture])  # type: ignore[misc]
    for run in runs.values():  # the first calls allocate memory
        run()
    least = dict.fromkeys(runs, float("inf"))
    begun = clock()
    for turn in range(TURNS):
        for name, run in runs.items():
            before = clock()
            run()
            least[name] = min(least[name], clock() - before)
        if turn and clock() - begun > SECONDS:
            break
    return {name: seconds * 1e3 for name, seconds in least.items()}


def _fastest(ms: Mapping[str, float]) -> EngineChoice:
    reference = next(iter(ms))
    best = min(ms, key=lambda name: ms[name])
    if ms[best] > CLEARLY * ms[reference]:
        best = reference
    told = ", ".join(f"{name} {value:.2f}" for name, value in ms.items())
    return EngineChoice(best, f"the fastest on this processor, ms for a search window: {told}", dict(ms))


def _key(model: LoadedModel, names: list[str]) -> str:
    tracking, (name, flags) = model.config.tracking, processor()
    versions = {p: package_version(p) or "absent" for p in ("onnxruntime", "openvino")}
    facts = [name, flags, versions, asdict(model.config.model), tracking.small_search.size, names]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _remembered(file: Path) -> dict[str, EngineChoice]:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): _choice(value) for key, value in stored.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        logger.warning("What was measured of the engines, %s, can't be read (%s); it is measured again.", file, why)
        return {}


def _choice(value: Any) -> EngineChoice:
    name, reason = value["engine"], value["reason"]
    if not isinstance(name, str) or not isinstance(reason, str) or name not in value["ms"]:
        raise ValueError("an entry names no engine")
    return EngineChoice(name, reason, {str(k): float(v) for k, v in value["ms"].items()})


def _remember(file: Path, key: str, choice: EngineChoice) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        known = {**_remembered(file), key: choice}
        write_atomic(file, json.dumps({k: asdict(v) for k, v in known.items()}, indent=1).encode())
    except (OSError, SiamTrackError) as error:
        logger.info("The engine that was chosen can't be remembered in %s (%s); it is measured each time.", file, error)
