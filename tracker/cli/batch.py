"""`track 'clips/*.mp4' --init-dir boxes/ --output out/`: many clips in several processes, resumable, with a table at
the end."""

from __future__ import annotations

import argparse
import glob
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tracker.cli.common import DONE, FAILED_MIDWAY, INTERRUPTED, TERMINATED, Parser, Terminated, say_error, whole_number
from tracker.cli.streams import LOG_SECONDS
from tracker.errors import BoxError, OutputError, SourceError

BOX_SUFFIXES = (".csv", ".txt", ".jsonl")


def add_batch_options(parser: Parser) -> None:
    """--init-dir, --output, --workers."""
    group = parser.add_argument_group("many clips")
    group.add_argument(
        "--init-dir",
        type=Path,
        metavar="DIR",
        help="SOURCE is a glob or a folder of clips; the box of CLIP.mp4 is in DIR/CLIP.txt (.csv, .jsonl)",
    )
    group.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where the boxes go, one csv per clip; clips that are done already are left out",
    )
    group.add_argument(
        "--workers",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="clips that are tracked at the same time, a process each",
    )


@dataclass(frozen=True)
class Job:
    """A clip, the file with its first box, and the output file for its boxes."""

    clip: Path
    box: Path | None
    out: Path


@dataclass(frozen=True)
class Done:
    """The outcome of a job: `kind` is done, before (done by an earlier run) or failed."""

    job: Job
    kind: str
    said: str
    seconds: float = 0.0


def jobs(source: str, boxes: Path, output: Path) -> list[Job]:
    """The clips of a glob or folder with their boxes.

    Raises:
        SourceError, BoxError: There is no clip, or no folder of boxes.
    """
    from tracker.media.containers import VIDEO_SUFFIXES
    from tracker.media.sources.images import natural_key

    folder = Path(source).expanduser()
    found = [Path(p) for p in glob.glob(str(folder), recursive=True)] if not folder.is_dir() else list(folder.iterdir())
    clips = sorted(
        (p for p in found if p.is_dir() or p.suffix.lower() in VIDEO_SUFFIXES), key=lambda p: natural_key(p.name)
    )
    if not clips:
        raise SourceError(
            f"{source} names no clip; give a folder of videos, or a glob in quotes such as 'clips/*.mp4'."
        )
    if not boxes.is_dir():
        raise BoxError(
            f"The folder {boxes} of --init-dir does not exist; it holds a file with the first box for each clip."
        )
    out, taken = [], set()
    for clip in clips:
        name = clip.stem if clip.is_file() else clip.name
        if name in taken:
            name = clip.name.replace(".", "_")
        taken.add(name)
        box = next((p for suffix in BOX_SUFFIXES if (p := boxes / f"{clip.stem}{suffix}").exists()), None)
        out.append(Job(clip, box, output / f"{name}.csv"))
    return out


def run_batch(args: argparse.Namespace) -> int:
    """Tracks all clips; returns 0, or 1 if some failed.

    Raises:
        OutputError: --output is missing or not a folder.
    """
    if args.output is None:
        raise OutputError("--init-dir tracks many clips, and --output DIR says where their boxes go; it is missing.")
    if args.output.exists() and not args.output.is_dir():
        raise OutputError(f"--output {args.output} is a file; give a folder.")
    if args.box or args.init_file or args.find or args.save or args.save_boxes or args.show:
        raise OutputError(
            "--box, --init-file, --find, --save, --save-boxes and --show are for one clip; with --init-dir leave "
            "them out."
        )
    todo = jobs(args.source, args.init_dir, args.output)
    args.output.mkdir(parents=True, exist_ok=True)
    results: list[Done] = []
    running: set[subprocess.Popen[str]] = set()
    lock, over = threading.Lock(), threading.Event()
    pool = ThreadPoolExecutor(args.workers)
    code = DONE
    try:
        pending = {pool.submit(_one, job, _options(args), running, lock, over): job for job in todo}
        while pending:
            finished, _ = wait(pending, LOG_SECONDS, FIRST_COMPLETED)
            if not finished and not args.quiet:
                sys.stderr.write(f"{len(results)}/{len(todo)} clips, {progress(list(pending.values()))}\n")
            for future in finished:
                del pending[future]
                results.append(future.result())
                result = results[-1]
                if not args.quiet:
                    print(f"[{len(results)}/{len(todo)}] {result.job.clip.name}: {result.said}", flush=True)
    except (KeyboardInterrupt, Terminated) as error:
        over.set()
        with lock:
            for process in running:
                process.terminate()
        code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else TERMINATED
        say_error("Stopped; clips that are done are kept, and the same command goes on with the others.")
    finally:
        over.set()
        pool.shutdown(wait=True, cancel_futures=True)
    for job in todo:
        _drop_parts(job)
    if code:
        return code
    failed = [result for result in results if result.kind == "failed"]
    if not args.quiet:
        print(table(results))
    if failed:
        names = ", ".join(sorted(result.job.clip.name for result in failed))
        say_error(
            f"{len(failed)} of {len(todo)} clips failed: {names}. The same command tries them again and leaves the "
            "others alone."
        )
    return FAILED_MIDWAY if failed else DONE


def _options(args: argparse.Namespace) -> list[str]:
    """The options passed on to the run of each clip."""
    out = ["--model", str(args.model), "--device", args.device, "--engine", args.engine, "--quiet"]
    out += ["--config", str(args.config)] if args.config else []
    for text in args.overrides:
        out += ["--set", text]
    out += ["--max-frames", str(args.max_frames)] if args.max_frames else []
    out += ["--start-frame", str(args.start_frame)] if args.start_frame else []
    return out + (["--smooth", str(args.smooth)] if args.smooth is not None else [])


def _one(
    job: Job, options: Sequence[str], running: set[subprocess.Popen[str]], lock: threading.Lock, over: threading.Event
) -> Done:
    """Tracks one clip in a separate process: whatever happens there, the other clips continue.

    The output file gets its final name when it is complete.
    """
    if job.out.exists():
        return Done(job, "before", "done before")
    if job.box is None:
        return Done(
            job,
            "failed",
            f"there is no file with its first box ({job.clip.stem}{' or '.join(BOX_SUFFIXES)}) in --init-dir",
        )
    # A process of a killed run may still hold its file: each run uses its own temporary file.
    _drop_parts(job)
    part = job.out.with_name(f".{job.out.stem}.{os.getpid()}.part.csv")
    command = [sys.executable, "-m", "tracker.cli.track", str(job.clip), "--init-file", str(job.box)]
    began = time.monotonic()
    with lock:
        if over.is_set():
            return Done(job, "failed", "stopped")
        process = subprocess.Popen(
            [*command, "--save-boxes", str(part), "--overwrite", *options], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
        )  # fmt: skip
        running.add(process)
    _, said = process.communicate()
    with lock:
        running.discard(process)
    seconds = time.monotonic() - began
    if process.returncode:
        lines = said.strip().splitlines()
        part.unlink(missing_ok=True)
        return Done(
            job, "failed", lines[-1].split(": ", 1)[-1] if lines else f"ended with code {process.returncode}", seconds
        )
    rows = part.read_text().splitlines()[1:]
    lost = sum(row.endswith(",lost") for row in rows)
    os.replace(part, job.out)
    return Done(job, "done", f"{len(rows)} rows, lost in {lost}, {seconds:.1f} s", seconds)


def _drop_parts(job: Job) -> None:
    """Removes the temporary files that interrupted runs left for a clip."""
    for old in job.out.parent.glob(f".{glob.escape(job.out.stem)}.*.part.csv"):
        old.unlink(missing_ok=True)


def progress(todo: Sequence[Job]) -> str:
    """The progress of the clips in work: the last frame that each has written."""
    said = []
    for job in todo:
        for part in job.out.parent.glob(f".{glob.escape(job.out.stem)}.*.part.csv"):
            with part.open("rb") as file:
                file.seek(max(part.stat().st_size - 400, 0))
                rows = file.read().decode(errors="replace").split("\n")[:-1]
            frame = rows[-1].split(",")[0] if rows else ""
            said.append(f"{job.clip.name} at frame {frame if frame.isdigit() else 0}")
    return ", ".join(said) or "starting"


def table(results: Sequence[Done]) -> str:
    """The outcome of each clip, aligned."""
    rows = [("clip", "state", "what")] + [
        (r.job.clip.name, r.kind, r.said) for r in sorted(results, key=lambda r: r.job.clip.name)
    ]
    wide = [max(len(row[k]) for row in rows) for k in (0, 1)]
    return "\n".join(f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c}" for a, b, c in rows)
