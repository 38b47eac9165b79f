"""Outputs are complete, or whole up to a frame; the old file stays until the new one is worth it; nothing goes
unsaid."""

from __future__ import annotations

import importlib
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.helpers import BOX, ROOT, environment, tiny_model, write_video
from tests.conftest import moving_square
from tracker.errors import OutputError
from tracker.media.sinks.boxes import BoxSink
from tracker.types import Frame, Track

IMAGE = np.zeros((48, 64, 3), np.uint8)


def add(sink: BoxSink, frames: range, targets: int = 1) -> None:
    for k in frames:
        sink.write(Frame(IMAGE, k), [Track(np.array([1.0, 2, 3, k + 1]), 0.5, target_id=t) for t in range(targets)])


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    os.chmod(path, 0o640)
    sink = BoxSink(path, overwrite=True)
    add(sink, range(3))
    assert path.read_text() == "old" and sink.where == tmp_path / "a.part.csv"
    sink.close(complete=False)
    assert path.read_text() == "old" and len(sink.where.read_text().splitlines()) == 4
    with BoxSink(path, overwrite=True) as again:
        add(again, range(5))
    assert len(path.read_text().splitlines()) == 6 and os.listdir(tmp_path) == ["a.csv"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(KeyError), BoxSink(path, overwrite=True) as third:
        add(third, range(1))
        raise KeyError
    assert len(path.read_text().splitlines()) == 6


def test_nothing_is_created_before_the_first_frame(tmp_path: Path) -> None:
    BoxSink(tmp_path / "a.csv").close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("torn", [0, 1, 20, 45, 70])
def test_resumed_is_as_unbroken(tmp_path: Path, name: str, torn: int) -> None:
    kind, whole = name[2:], tmp_path / f"whole.{name[2:]}"
    with BoxSink(whole, kind) as sink:
        add(sink, range(6), targets=2)
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2 + torn])
    with BoxSink(path, kind, resume=True) as sink:
        add(sink, range(6), targets=2)
    assert path.read_bytes() == whole.read_bytes()
    with pytest.raises(OutputError, match=r"line .*differs"), BoxSink(path, kind, resume=True) as sink:
        add(sink, range(1, 6), targets=2)
    assert path.read_bytes() == whole.read_bytes()


def test_a_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.test_outputs_whole import BoxSink, add
from tracker.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
for kind in ("csv", "jsonl"):
    try:
        with BoxSink("o." + kind, kind) as sink:
            add(sink, range(20))
    except OutputError as error:
        assert " whole in o." in str(error), error
    else:
        raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True)
    for name in ("o.csv", "o.jsonl"):
        text = (tmp_path / name).read_text()
        assert 100 < len(text) <= 200 and text.endswith("\n")


def test_a_full_disk_leaves_no_index_that_blocks(tmp_path: Path) -> None:
    code = f"""
import os, resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from tracker.errors import SiamTrackError
from tracker.files import write_atomic
from tracker.model_config import ModelConfig
from tracker.training.data.cache import CacheConfig, open_index
from tracker.training.data.sources import DataConfig
make = lambda: open_index(CacheConfig(path="cache"), DataConfig(), ModelConfig())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for full in (0, 20):
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    for write in (make, lambda: write_atomic("x.json", "x" * 100)):
        try:
            write()
        except SiamTrackError as error:
            print(error)
        else:
            raise SystemExit("no error")
    assert os.listdir("cache") == [] and os.listdir(".") == ["cache"], (os.listdir("cache"), os.listdir("."))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
make()
make()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cache.json") == 2 and done.stdout.count("x.json") == 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    tiny_model(folder / "tiny.safetensors")
    write_video(folder / "clip.mp4", moving_square(12)[0])
    return folder


def track(place: Path, cwd: Path, *args: object) -> list[str]:
    model = ["--model", str(place / "tiny.safetensors"), "--save-boxes", "a.csv"]
    return [
        sys.executable,
        str(ROOT / "tools" / "track.py"),
        str(place / "clip.mp4"),
        "--box",
        BOX,
        *model,
        *map(str, args),
    ]


@pytest.mark.parametrize(
    "tail", ["2>/dev/null | true", "2>&1 | true", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"]
)
def test_messages_that_nobody_reads_stop_nothing(place: Path, tmp_path: Path, tail: str) -> None:
    line = " ".join(f"'{word}'" for word in track(place, tmp_path)) + f" {tail}; echo ${{PIPESTATUS[0]}} >code"
    subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment(), check=True)
    assert (tmp_path / "code").read_text().strip() == "0"
    text = (tmp_path / "a.csv").read_text()
    assert [row.split(",")[0] for row in text.splitlines()] == ["frame", *map(str, range(12))]


def test_a_printed_result_that_is_cut_off_is_no_success(tmp_path: Path) -> None:
    code = "from tracker.cli.common import run\nraise SystemExit(run(lambda argv: print('x' * 9999999) or 0))"
    line = f"'{sys.executable}' -c \"{code}\" | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "141" and "went away" in done.stderr


@pytest.mark.parametrize("words", ["", "nosuch", "track --nosuch"])
def test_a_mistake_is_one_where_nobody_reads_of_it(words: str) -> None:
    line = f"'{sys.executable}' -m tracker.cli {words} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment(), check=False).returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["", "--help", "--version", "track --help", "track --version", "settings"])
def test_a_text_that_a_full_disk_does_not_take_is_no_success(words: str) -> None:
    line = f"'{sys.executable}' -m tracker.cli {words} >/dev/full"
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "No space left on device." in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_while_a_package_is_imported_ends_the_job(place: Path, tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\nclass Finder:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'cv2.version': os.kill(os.getpid(), signal.{name})\nsys.meta_path.insert(0, Finder())\n"
    )
    env = environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    done = subprocess.run(track(place, tmp_path), cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code and "Stopped by" in done.stderr and not (tmp_path / "a.csv").exists()


def test_find_twice_is_refused(place: Path, tmp_path: Path) -> None:
    line = [*track(place, tmp_path), "--find", "a.npz", "--find", "b.npz"]
    done = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "twice" in done.stderr


def test_an_index_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    from tracker.model_config import ModelConfig
    from tracker.training.data.cache import CacheConfig, open_index, shard_path
    from tracker.training.data.sources import DataConfig

    cache = CacheConfig(path=str(tmp_path / "c"))
    folder = open_index(cache, DataConfig(), ModelConfig())
    for text in ("", "{", "[]", '{"fingerprint": 3}'):
        (folder / "cache.json").write_text(text)
        open_index(cache, DataConfig(), ModelConfig())
        assert json.loads((folder / "cache.json").read_text())["fingerprint"]
    (folder / "cache.json").write_text("")
    shard_path(folder, 0).write_bytes(b"of another recipe?")
    with pytest.raises(OutputError, match="holds shards"):
        open_index(cache, DataConfig(), ModelConfig())


def test_workers_end_with_their_command(tmp_path: Path) -> None:
    child = (
        "import time; from tracker.cli.common import end_with_parent; end_with_parent(0.1); print('up', "
        "flush=True); time.sleep(60)"
    )
    code = (
        f"import subprocess, sys, time\np = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "open('pid', 'w').write(str(p.pid)); time.sleep(60)"
    )
    env = environment(PYTHONPATH=str(ROOT))
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline().strip() == "up"
    parent.kill()
    parent.wait()
    state, until = "", time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            state = ""
        if state in ("", "Z"):
            break
        time.sleep(0.1)
    assert state in ("", "Z")


@pytest.mark.parametrize(
    ("command", "name", "rest"),
    [
        ("effort", "", "--dataset otb --root nowhere"),
        ("stress", "stress.json", "--dataset otb --root nowhere"),
        ("calibrate", "calibration.md", "--dataset otb --root nowhere"),
        ("crossval", "crossval.md", "--data a=otb:nowhere"),
        ("findtest", "findtest.md", "--data a=otb:nowhere --classes nowhere"),
        ("benchmark", "benchmark.json", "--model nowhere"),
        ("finetune", "", "nowhere.mp4"),
        ("tune", "", "--dataset folder --root nowhere"),
        ("report", "report.html", "nowhere"),
    ],
)
def test_an_output_is_looked_at_before_any_work(tmp_path: Path, command: str, name: str, rest: str) -> None:
    main = importlib.import_module(f"tracker.cli.{command}").main
    suffix = {"effort": ".md", "finetune": ".safetensors", "tune": ".yaml"}.get(command, "")
    there, below = tmp_path / f"out{suffix}", tmp_path / "file" / f"out{suffix}"
    (tmp_path / "file").write_text("mine")
    kept = there / name if name else there
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    for output in (there, below) if command != "report" else (there,):
        with pytest.raises(OutputError, match=r"out|file"):
            main([*rest.split(), "--output", str(output)])
    assert kept.read_text() == (tmp_path / "file").read_text() == "mine"
