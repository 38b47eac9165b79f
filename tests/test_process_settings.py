"""Nothing that the library does changes a setting of the whole process, and many threads at once don't bring it
down."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

STRESS = """
import faulthandler, hashlib, sys
faulthandler.enable()
import cv2
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from tracker.crops import Crop, mean_colour

threads = int(sys.argv[1])
cv2.setNumThreads(threads)
image = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
crops = [Crop.around((300.0 + 37 * k, 200.0 + 11 * k), 60.0 + 45 * k, 97 + 32 * (k % 6)) for k in range(24)]
alone = [hashlib.sha1(c.cut(image, (1, 2, 3))).digest() for c in crops]

def work(k):
    for i in range(40):
        n = (5 * k + i) % len(crops)
        assert hashlib.sha1(crops[n].cut(image, (1, 2, 3))).digest() == alone[n]
        mean_colour(image[: 20 + k])
        if i % 8 == 0:
            cv2.resize(image, (640, 360))  # somebody else's work on OpenCV's own threads

with ThreadPoolExecutor(32) as pool:
    list(pool.map(work, range(32)))
assert cv2.getNumThreads() == max(threads, 1)
print(hashlib.sha1(b"".join(alone)).hexdigest())
"""

TRACKED = """
import os, random, signal, sys, warnings
import cv2, numpy as np, torch
from threadpoolctl import threadpool_info

cv2.setNumThreads(3)
random.seed(1); np.random.seed(2); torch.manual_seed(3)

def state():
    own = ("TORCH", "PYTORCH", "TRITON", "KMP_")  # torch's own variables
    facts = {
        "OpenCV's threads": cv2.getNumThreads(),
        "optimised code": cv2.useOptimized(),
        "BLAS": [(p["internal_api"], p["num_threads"]) for p in threadpool_info() if p["user_api"] == "blas"],
        "torch's threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "gradients": torch.is_grad_enabled(),
        "environment": {k: v for k, v in os.environ.items() if not k.startswith(own)},
        "folder": os.getcwd(),
        "warnings": list(warnings.filters),
        "signals": {n: signal.getsignal(n) for n in signal.valid_signals()},
        "random": random.getstate(),
        "numpy's random": tuple(str(part) for part in np.random.get_state()),
        "numpy's errors": np.geterr(),
        "torch's random": torch.get_rng_state().tolist(),
        "path": list(sys.path),
        "hooks": (sys.excepthook, sys.displayhook),
        "recursion": sys.getrecursionlimit(),
    }
    umask = os.umask(0o22); os.umask(umask)
    return {**facts, "umask": umask}

def check(what, before):
    after = state()
    for name in before:
        if isinstance(before[name], dict):
            changed = {k: (before[name].get(k), after[name].get(k)) for k in {**before[name], **after[name]}}
            changed = {k: v for k, v in changed.items() if v[0] != v[1]}
            assert not changed, f"{what} changed {name}: {changed}"
        old, new = str(before[name])[:300], str(after[name])[:300]
        assert before[name] == after[name], f"{what} changed {name}: {old} -> {new}"
    print("ok", what)

"""

WAYS = {
    "a video": """
before = state()
import tracker
for one in tracker.track(CLIP, box=(368, 190, 32, 27)):
    if one.index == 12: break
check("a video", before)
""",
    "several targets, torch": """
import tracker
from tracker.media.sources.open import open_source
from tracker.tracking.multi import MultiTracker
from itertools import islice
before = state()
with open_source(CLIP) as source:
    frames = [f.image for f in islice(source, 6)]
for engine in ("onnxruntime", "torch"):
    many = MultiTracker(tracker.SiamTracker.from_pretrained("siamtrack-s", engine=engine))
    many.init(frames[0], [(368 + 9 * k, 190, 32, 27) for k in range(8)])
    for frame in frames[1:]:
        many.update(frame)
check("several targets", before)
""",
    "training": """
from tests.training.standin import SETTINGS, ToyMatcher, ToySource
from tracker.training.config import train_config
from tracker.training.trainer import Trainer
from tracker.training.initialise import initial_model
from tracker.config import load_config
from pathlib import Path
import tempfile
# An optimiser imports it, and with it come sympy's warning filter and torch's own environment variables.
import torch._dynamo
config = train_config({**SETTINGS, "steps": 8, "threads": 1, "workers": 1})
model, source = ToyMatcher(), ToySource(config.batch_size)
before = state()
initial_model(load_config(Path(RECIPE), []), 7)
with tempfile.TemporaryDirectory() as folder:
    Trainer(model, source, config, folder).run()
check("training", before)
""",
}


@pytest.mark.parametrize("threads", [0, 1, 2, 8, 16])
def test_32_threads_cut_crops(threads: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STRESS, str(threads)], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("way", [pytest.param(way, marks=[pytest.mark.slow] * (way == "training")) for way in WAYS])
def test_settings_of_the_process_stay(way: str) -> None:
    files = (
        f"CLIP, RECIPE = {str(ROOT / 'demo' / 'helicopter.mp4')!r}, {str(ROOT / 'configs' / 'siamtrack-s.yaml')!r}\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TRACKED + files + WAYS[way]]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and "ok" in done.stdout, done.stderr[-2000:]


FORBIDDEN = {
    "setNumThreads", "setUseOptimized", "set_num_threads", "set_num_interop_threads", "threadpool_limits",
    "manual_seed_all", "seterr", "set_rng_state", "set_rng_state_all", "set_state", "setstate", "basicConfig",
    "setlocale", "chdir", "umask", "simplefilter", "filterwarnings", "catch_warnings", "putenv", "set_default_dtype",
    "use_deterministic_algorithms", "fork_rng", "setrlimit", "set_start_method", "setswitchinterval",
    "setrecursionlimit", "setdefaulttimeout", "setParallelForBackend", "setLogLevel", "redirect_stdout",
    "redirect_stderr", "set_verbosity", "switch_backend", "set_sharing_strategy", "setUseOpenCL", "stack_size",
    "set_float32_matmul_precision", "captureWarnings",
}  # fmt: skip
WHOLE = {
    "matplotlib.use", "gc.disable", "gc.enable", "gc.freeze", "logging.disable", "faulthandler.enable", "os.nice",
    "os.setpriority", "os.sched_setaffinity", "av.logging.set_level", "torch.set_grad_enabled", "sys.settrace",
    "sys.setprofile",
}  # fmt: skip
SET = ("sys.stdout =", "sys.stderr =", "sys.excepthook =", "tempfile.tempdir =", "torch.backends.")
# function -> why it may: it is the start of a process that is ours alone, or asked for by a command (`own_process`)
OWN_PROCESSES = {
    "evaluation/process.py:enter": "a worker process",
    "evaluation/workers.py:limit_threads": "a worker process",
    "evaluation/workers.py:_limit_torch": "a worker process",
    "evaluation/workers.py:follow_parent": "a worker process",
    "training/data/loader.py:_start_worker": "a worker process",
    "training/run_state.py:__enter__": "only where own_process",
    "training/run_state.py:_restore": "only where own_process",
    "training/trainer.py:run": "only where own_process",
    "training/trainer.py:_launch": "only where own_process",
    "training/checkpoint.py:restore_random_states": "only where own_process",
    "runtime/processor.py:one_blas_thread": "called by commands",
    "benchmark/device.py:watch": "called by a command, undone at its end",
    "serve/capacity.py:hire": "the processors of a worker process",
    "serve/process.py:": "a worker process",
    "serve/process.py:main": "a worker process",
    "serve/ray_cluster.py:__init__": "a worker process",
}


def changes(path: Path) -> set[str]:
    """Functions of a module that call a setter that is named above, as file:function; others are not found."""
    found = set()

    def walk(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            text = ast.unparse(child) if isinstance(child, ast.Call | ast.Assign | ast.Delete | ast.AugAssign) else ""
            target = ast.unparse(child.func) if isinstance(child, ast.Call) else ""
            name = target.rsplit(".", 1)[-1]
            environment = text.startswith(("os.environ[", "del os.environ")) or target in (
                "os.environ.update", "os.environ.setdefault", "os.environ.pop", "os.unsetenv"
            )  # fmt: skip
            seeds = target in (
                "random.seed",
                "np.random.seed",
                "torch.manual_seed",
                "torch.random.manual_seed",
                "torch.cuda.manual_seed",
            )
            handler = target in ("signal.signal", "signal.setitimer", "signal.alarm")
            if name in FORBIDDEN or environment or seeds or handler or target in WHOLE or text.startswith(SET):
                found.add(f"{path.relative_to(ROOT / 'tracker').as_posix()}:{inner}")
            walk(child, inner)

    walk(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def test_no_library_code_sets_anything_for_the_whole_process() -> None:
    library = [p for p in (ROOT / "tracker").rglob("*.py") if "cli" not in p.relative_to(ROOT / "tracker").parts[:1]]
    found = set().union(*(changes(path) for path in library))
    assert found <= set(OWN_PROCESSES), f"these change the whole process: {sorted(found - set(OWN_PROCESSES))}"
