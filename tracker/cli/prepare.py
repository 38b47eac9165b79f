"""`tools/prepare.py`: cuts the views of a recipe once and keeps them, so that training doesn't wait for decoding."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.common import Parser, run

if TYPE_CHECKING:
    from tracker.config import Config
    from tracker.training.cache import ShardMaker

_maker: ShardMaker | None = None


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = Parser(
        prog="prepare.py",
        description="Cuts the training views of a recipe once and keeps them: as pictures, or as features of frozen stages. "
        "Resumable: what is there already stays.",
    )
    parser.add_argument(
        "--config", required=True, metavar="YAML", help="the recipe; its section train.data says what to cut and where to keep it"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes, such as train.data.material.root=data")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--preview", metavar="PNG", help="write a contact sheet of views with their boxes, and stop")
    return parser


def _start(config: Config) -> None:
    from tracker.training.cache import ShardMaker
    from tracker.training.data import pair_config

    global _maker
    pairs = pair_config(config.train.get("data", {}))
    _maker = ShardMaker(pairs.cache, pairs.material, config.model, config.tracking.context)


def _make(number: int) -> int:
    assert _maker is not None
    _maker.make(number)
    return number


def _prepare(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from tracker.config import load_config
    from tracker.training.cache import open_index, shard_path
    from tracker.training.data import pair_config

    config = load_config(args.config, args.overrides)
    pairs = pair_config(config.train.get("data", {}))
    if args.preview:
        return _preview(Path(args.preview), config)
    folder = open_index(pairs.cache, pairs.material, config.model)
    wanted = range(-(-pairs.cache.groups // pairs.cache.shard))
    todo = [n for n in wanted if not shard_path(folder, n).is_file()]
    if len(todo) < len(wanted):
        print(f"{len(wanted) - len(todo)} of {len(wanted)} shards are there already")
    start = time.monotonic()
    with get_context("spawn").Pool(max(1, args.workers), _start, (config,)) as pool:
        for _ in tqdm(pool.imap_unordered(_make, todo), total=len(todo), unit="shard"):
            pass
    seconds = time.monotonic() - start
    groups = min(len(todo) * pairs.cache.shard, pairs.cache.groups)
    rate = f", {groups / seconds:.1f} groups/s" if todo else ""
    print(f"{folder}: {pairs.cache.groups} groups of {pairs.material.templates} templates and {pairs.material.searches} searches{rate}")
    return 0


def _preview(path: Path, config: Config) -> int:
    """Writes a contact sheet of pairs, made anew, as the network will see them."""
    import cv2

    from tracker.errors import OutputError
    from tracker.training.data import LivePairs, pair_config
    from tracker.training.figures import draw_pairs

    seed = int(config.train.get("seed", 0))
    source = LivePairs(pair_config(config.train.get("data", {})), config, 24, seed)
    if path.suffix.lower() not in (".png", ".jpg") or not cv2.imwrite(str(path), draw_pairs(source.batch(0, 0, 1), None, limit=24)):
        raise OutputError(f"The contact sheet {path} can't be written; name a .png in a folder that exists.")
    print(f"wrote {path}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    return run(lambda args: _prepare(build_parser().parse_args(args)), argv)
