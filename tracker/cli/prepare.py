"""`tools/prepare.py`: cuts the training crops of a recipe once and stores them, so that training doesn't wait for
decoding."""

from __future__ import annotations

import argparse
import logging
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import DONE, Parser, RawEpilog, end_with_parent, positive_seconds, whole_number

if TYPE_CHECKING:
    from tracker.config import Config
    from tracker.errors import SiamTrackError
    from tracker.training.data.cache import ShardMaker
    from tracker.training.data.sampling import PairConfig

EXAMPLES = """examples:
  siamtrack prepare --config siamtrack-s --workers 4 train.data.material.root=DATA
  siamtrack prepare --config own-clips --preview sheet.png     see what the network will see
  siamtrack prepare --config siamtrack-s --measure             pairs per second with and without a cache"""

_maker: ShardMaker | None = None
_config: Config | None = None


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = Parser(
        description="Cuts the training views of a recipe once and keeps them: as pictures, or as features of frozen "
        "stages. Resumable: what is there already stays.",
        epilog=EXAMPLES,
        formatter_class=RawEpilog,
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument(
        "--config",
        required=True,
        metavar="NAME|YAML",
        help="the recipe; its section train.data says what to cut and where to keep it",
    )
    recipe.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes, such as train.data.material.root=data"
    )
    parser.add_argument("--workers", type=whole_number(1), default=1, metavar="N", help="processes")
    look = parser.add_argument_group("instead of preparing")
    look.add_argument(
        "--preview",
        type=Path,
        metavar="PNG",
        help="write a contact sheet of the sources and of pairs with their labels",
    )
    look.add_argument(
        "--measure",
        nargs="?",
        type=positive_seconds,
        const=5.0,
        metavar="SECONDS",
        help="measure pairs per second for so long each (5)",
    )
    look.add_argument("--overwrite", action="store_true", help="replace an existing contact sheet")
    return parser


def quiet_process() -> None:
    """Settings of a process that cuts crops: one core, including OpenCV, and no warnings of torch's exporter."""
    import warnings

    import cv2

    cv2.setNumThreads(1)
    warnings.filterwarnings("ignore", module=r"torch\.onnx.*")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"tracker\.training\.cache")


def _start(config: Config) -> None:
    """Initialises a worker process; the rest is built with its first shard, so that errors reach the command."""
    global _config
    _config = config
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    quiet_process()
    end_with_parent()


def _make(number: int) -> int | SiamTrackError:
    """Makes one shard in a worker; a user's error is returned as a value, since not every exception can be pickled."""
    from tracker.errors import SiamTrackError

    global _maker
    assert _config is not None
    try:
        _maker = _maker or _build(_config)
        _maker.make(number)
    except SiamTrackError as error:
        return error
    return number


def _build(config: Config) -> ShardMaker:
    from tracker.training.data.build import pair_config
    from tracker.training.data.cache import ShardMaker

    pairs = pair_config(config.train.get("data", {}))
    return ShardMaker(pairs.cache, pairs.material, config.model, config.tracking.context)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    args = build_parser().parse_args(argv)
    from tracker.config import load_config
    from tracker.training.data.build import pair_config

    quiet_process()
    logging.getLogger("tracker").setLevel(logging.INFO)
    config = load_config(args.config, args.overrides)
    pairs = pair_config(config.train.get("data", {}))
    if args.preview:
        return _preview(args.preview, args.overwrite, config, pairs)
    if args.measure:
        return _measure(args.measure, config, pairs)
    return _fill(args.workers, config, pairs)


def _fill(workers: int, config: Config, pairs: PairConfig) -> int:
    """Makes the missing shards."""
    import sys

    from tqdm import tqdm

    from tracker.training.data.cache import frame_store, material_key, open_index, shard_path
    from tracker.training.data.shards import is_whole
    from tracker.training.data.sources import build_mixture

    # Mistakes are found before the work starts; videos are decoded once, here and not in each worker.
    mixture = build_mixture(pairs.material, config.model, config.tracking.context, frame_store(pairs.cache))
    folder = open_index(pairs.cache, pairs.material, config.model, material_key(pairs.cache, mixture))
    wanted = range(-(-pairs.cache.groups // pairs.cache.shard))
    there = [n for n in wanted if shard_path(folder, n).is_file()]
    damaged = [n for n in there if not is_whole(shard_path(folder, n))]
    for n in damaged:
        print(f"{shard_path(folder, n)} is damaged: made again")
        shard_path(folder, n).unlink()
    todo = [n for n in wanted if n not in there or n in damaged]
    if len(todo) < len(wanted):
        print(f"{len(wanted) - len(todo)} of {len(wanted)} shards are there already")
    start = time.monotonic()
    bar = tqdm(total=len(todo), unit="shard", disable=None if sys.stderr.isatty() else True)
    for _ in _made(todo, workers, config):
        bar.update()
    bar.close()
    seconds = time.monotonic() - start
    groups = sum(min(pairs.cache.shard, pairs.cache.groups - n * pairs.cache.shard) for n in todo)
    rate = f", {groups} of them made now, {groups / seconds:.1f} groups/s" if todo else ""
    print(
        f"{folder}: {pairs.cache.groups} samples of {pairs.material.templates} templates and "
        f"{pairs.material.searches} searches{rate}"
    )
    return DONE


def _made(todo: Sequence[int], workers: int, config: Config) -> Iterator[int]:
    """Numbers of shards as they are completed."""
    if workers == 1 or len(todo) < 2:
        maker = _build(config) if todo else None
        for number in todo:
            assert maker is not None
            maker.make(number)
            yield number
        return
    # Not multiprocessing.Pool: leaving it early kills its workers, and a worker that dies while holding a queue's lock
    # hangs the rest.
    with ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn"), _start, (config,)) as pool:
        try:
            for done in as_completed([pool.submit(_make, number) for number in todo]):
                result = done.result()
                if not isinstance(result, int):
                    raise result
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # shards in work are completed and kept


def _preview(path: Path, overwrite: bool, config: Config, pairs: PairConfig) -> int:
    """Writes a contact sheet: some samples of each source, then training pairs."""
    from tracker.errors import OutputError
    from tracker.training.data.cache import frame_store
    from tracker.training.data.pairs import LivePairs
    from tracker.training.data.sources import build_mixture
    from tracker.training.visualize.sheet import pair_sheet, sheets_in_one, source_sheet, write_picture

    if path.suffix.lower() not in (".png", ".jpg") or not path.resolve().parent.is_dir():
        raise OutputError(f"The contact sheet {path} can't be written; name a .png or .jpg in a folder that exists.")
    if path.exists() and not overwrite:
        raise OutputError(f"The contact sheet {path} exists; name another, or give --overwrite.")
    seed = int(config.train.get("seed", 0))
    mixture = build_mixture(pairs.material, config.model, config.tracking.context, frame_store(pairs.cache))
    top = source_sheet(mixture, rows=6, seed=seed)
    bottom = pair_sheet(LivePairs(pairs, config, 24, seed), count=24, columns=6)
    write_picture(path, sheets_in_one((top, bottom)))
    print(f"wrote {path}")
    return DONE


def _measure(seconds: float, config: Config, pairs: PairConfig) -> int:
    """Prints pairs per second."""
    from tracker.training.throughput import measure

    rates = measure(config, pairs, seconds)
    base = rates[0].pairs_per_second
    width = max(len(r.name) for r in rates)
    print(f"{config.name}: one process, {seconds:g} s each")
    for rate in rates:
        print(
            f"  {rate.name:<{width}}  {rate.pairs_per_second:8.1f} pairs/s  x{rate.pairs_per_second / base:<6.1f} "
            f"{rate.note}"
        )
    return DONE
