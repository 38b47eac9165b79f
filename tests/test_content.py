"""Results and caches belong to their data: what changes it is measured and cut anew, what doesn't is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.trees import got10k_tree, images, otb_tree, text, vot_tree, walk
from tracker.datasets.base import Dataset
from tracker.datasets.registry import load_dataset, with_truth
from tracker.errors import ConfigError, SourceError, WeightsError
from tracker.evaluation import pool, specs
from tracker.evaluation.runner import RunStore, evaluate_sequence, make_tasks
from tracker.evaluation.specs import parse_tracker
from tracker.evaluation.submission import check_zip, make_zip
from tracker.evaluation.summary import summarise, text_table
from tracker.files import content_of
from tracker.metrics.result_store import load_result, record_path
from tracker.metrics.results import FAILURE, INIT, SKIPPED, TRACKED
from tracker.metrics.vot import overlaps, vot_metrics


def run(
    dataset: Dataset, output: Path, protocol: str = "ope", who: str = "python:tests.evaluation.trees:Drifter"
) -> int:
    """Evaluates what isn't stored; how many sequences that were."""
    store, made = RunStore(output, dataset), 0
    for task in make_tasks(dataset, [parse_tracker(who, None)], protocol):  # type: ignore[arg-type]
        if store.load(task) is None:
            store.save(evaluate_sequence(task))
            made += 1
    return made


def replace_picture(root: Path) -> None:
    shutil.copy(root / "Boy" / "img" / "0003.jpg", root / "Boy" / "img" / "0005.jpg")


def same_size_and_time(root: Path) -> None:
    path = root / "Boy" / "img" / "0005.jpg"
    facts, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def later_box(root: Path) -> None:
    path = root / "Boy" / "groundtruth_rect.txt"
    rows = path.read_text().split("\n")
    path.write_text("\n".join([*rows[:5], "1,1,9,9", *rows[6:]]))


@pytest.mark.parametrize("change", [replace_picture, same_size_and_time, later_box])
def test_what_was_repaired_is_measured_anew_and_nothing_else(tmp_path: Path, change: Callable[[Path], None]) -> None:
    root = otb_tree(tmp_path / "data")
    assert run(load_dataset("otb", root), tmp_path / "out") == 3
    assert run(load_dataset("otb", root), tmp_path / "out") == 0
    change(root)
    assert run(load_dataset("otb", root), tmp_path / "out") == 1
    assert run(load_dataset("otb", root), tmp_path / "out") == 0


def test_a_record_says_what_it_was_made_on(tmp_path: Path) -> None:
    dataset = load_dataset("otb", otb_tree(tmp_path / "data", ("Boy",)))
    run(dataset, tmp_path / "out")
    (task,) = make_tasks(dataset, [parse_tracker("python:tests.evaluation.trees:Drifter", None)], "ope")
    result = load_result(record_path(tmp_path / "out", "Drifter", task.fingerprint, "Boy"))
    assert result.content == task.content == dataset.sequences[0].content() != ""


def test_content_of_files(tmp_path: Path) -> None:
    big, small = tmp_path / "big", tmp_path / "small"
    big.write_bytes(bytes(100_000))
    small.write_bytes(b"x")
    key = content_of([big, small])
    assert key == content_of([big, small]) != content_of([small, big]) != content_of([big])
    assert content_of([tmp_path / "missing"]) != content_of([]) and content_of([big], b"a") != content_of([big], b"b")


def test_code_of_new_subpackages_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {p.relative_to(specs.PACKAGE).as_posix() for p in specs.sources()}
    assert {
        "tracking/lifecycle.py",
        "evaluation/runner.py",
        "evaluation/baselines.py",
        "datasets/base.py",
        "crops.py",
    } <= names
    assert not any(
        name.startswith(("cli/", "web/", "training/")) or name == "evaluation/report/build.py" for name in names
    )
    monkeypatch.setattr(specs, "PACKAGE", tmp_path)
    versions = []
    for path in ("tracking/parts/deep/a.py", "runtime/onnx/b.py", "media/sources/c.py", "datasets/d.py", "cli/e.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n")
        specs.code_version.cache_clear()
        versions.append(specs.code_version())
    specs.code_version.cache_clear()
    assert len(set(versions)) == 4 and versions[3] == versions[4]  # only the command line changes no box


@pytest.mark.parametrize("key", ["otb", "vot", "got10k", "folder"])
def test_one_broken_sequence_does_not_block_another(tmp_path: Path, key: str) -> None:
    if key == "vot":
        root = vot_tree(tmp_path / "VOT2018")
        broken, file = "seq1", root / "seq1" / "groundtruth.txt"
    elif key == "got10k":
        root = got10k_tree(tmp_path)
        broken, file = "GOT-10k_Val_000002", root / "val" / "GOT-10k_Val_000002" / "groundtruth.txt"
    else:
        root = otb_tree(tmp_path)
        broken, file = "Car4", root / "Car4" / "groundtruth_rect.txt"
    whole = load_dataset(key, root)
    for content in (b"1,2,3\n", b"\xff\xfe\x00", b"1,2,3,4\n", b"nan,nan,nan,nan\n" * len(whole.sequences[1])):
        file.write_bytes(content)
        data = load_dataset(key, root)
        assert list(data.failures) == [broken] and broken not in data.names and len(data.names) == len(whole.names) - 1
        assert load_dataset(key, root, sequences=data.names[0]).failures == {}
        with pytest.raises(SourceError):
            load_dataset(key, root, sequences=broken)


def trackingnet(root: Path, rows: int = 1) -> Path:
    for k in range(2):
        truth = walk(6, k)
        images(root / "TEST" / "frames" / f"clip_{k}", 6, "{}.jpg", 0, truth)
        text(root / "TEST" / "anno" / f"clip_{k}.txt", truth[:rows])
    return root


@pytest.mark.parametrize("rows", [1, 6])
def test_withheld_truth_gives_no_figure(tmp_path: Path, rows: int) -> None:
    dataset = load_dataset("trackingnet", trackingnet(tmp_path, rows))
    results = [evaluate_sequence(t) for t in make_tasks(dataset, [parse_tracker("still", None)], "ope")]
    evaluation = summarise(dataset, results, "ope", {})
    (table,) = evaluation.trackers
    assert set(table.overall) == {"fps", "fps_total", "decode_ms"} and not table.curves and not table.attributes
    assert all(set(s.values) == {"fps", "fps_total", "decode_ms"} for s in table.sequences)
    assert "AUC" not in text_table(evaluation) and np.isnan(results[0].truth[1:]).all()
    with pytest.raises(SourceError, match="truth of TrackingNet test is withheld"):
        with_truth(dataset, "tuned on")


def test_trackingnet_submission(tmp_path: Path) -> None:
    import zipfile

    dataset = load_dataset("trackingnet", trackingnet(tmp_path / "data"))
    store = RunStore(tmp_path / "out", dataset)
    for task in make_tasks(dataset, [parse_tracker("still", None)], "ope"):
        store.save(evaluate_sequence(task))
    file = make_zip(store.folder("still"), dataset, tmp_path / "still.zip")
    assert zipfile.ZipFile(file).namelist() == ["clip_0.txt", "clip_1.txt"]
    assert check_zip(file, dataset, "trackingnet") == []
    assert any("511" in m for m in check_zip(file, None, "trackingnet"))
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("x/clip_0.txt", "1,2,3,4\n5 6 7 8\n")
        archive.writestr("other.txt", "1,2,3,nan\n")
    said = " ".join(check_zip(tmp_path / "bad.zip", dataset, "trackingnet"))
    kinds = ("Files in folders", "1 of 2 sequences are missing: clip_1", "aren't test sequences: other")
    for word in (*kinds, "separated by spaces", "not finite"):
        assert word in said


def test_vot_frames_without_region_count_for_nothing(tmp_path: Path) -> None:
    root = tmp_path / "VOT2018"
    corners = np.tile([20.0, 20, 60, 20, 60, 50, 20, 50], (40, 1))
    corners[5:9] = np.nan  # hidden while tracked: no failure
    corners[14] = np.tile([30.0, 30], 4)  # a point
    corners[20:] += 200  # the target jumps away: a failure in frame 20
    corners[25] = np.nan  # where it would be started again: the next frame is
    corners[26] = np.tile([230.0, 230], 4)
    images(root / "a", 40)
    text(root / "a" / "groundtruth.txt", corners)
    (root / "list.txt").write_text("a\n")
    dataset = load_dataset("vot", root)
    assert dataset.sequences[0].valid.sum() == 40 - 7
    (task,) = make_tasks(dataset, [parse_tracker("still", None)], "supervised")
    from dataclasses import replace

    result = replace(evaluate_sequence(task), size=(400, 400))
    assert not result.error
    codes = result.codes.tolist()  # type: ignore[union-attr]
    assert codes[0] == INIT and set(codes[1:20]) == {TRACKED}


def test_vot_failure_waits_for_the_next_region(tmp_path: Path) -> None:
    root = tmp_path / "VOT2018"
    corners = np.tile([10.0, 10, 30, 10, 30, 30, 10, 30], (30, 1))
    corners[8:] += 40
    corners[13] = np.nan
    corners[14] = np.tile([60.0, 60], 4)
    images(root / "a", 30)
    text(root / "a" / "groundtruth.txt", corners)
    (root / "list.txt").write_text("a\n")
    (task,) = make_tasks(load_dataset("vot", root), [parse_tracker("still", None)], "supervised")
    result = evaluate_sequence(task)
    codes = result.codes.tolist()  # type: ignore[union-attr]
    assert codes[8] == FAILURE and codes[9:15] == [SKIPPED] * 6 and codes[15] == INIT and set(codes[16:]) == {TRACKED}
    assert np.isfinite(overlaps(result)[16:]).all()
    table = vot_metrics("t", [result], (10, 20))
    assert table.overall["failures"] == 1 and table.overall["robustness"] == pytest.approx(100 / 28)


def test_toolkit_tracker_by_name(tmp_path: Path) -> None:
    pytest.importorskip("got10k.trackers")
    from tracker.evaluation.toolkit import as_toolkit_tracker

    tracker = as_toolkit_tracker("siamtrack-n", device="cpu")
    assert tracker.name == "siamtrack-n"
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    tracker.init(picture, np.array([20.0, 20, 30, 30]))
    assert np.asarray(tracker.update(picture)).shape == (4,)
    with pytest.raises(WeightsError, match="Did you mean 'siamtrack-n'"):
        as_toolkit_tracker("siamtrack-nn")
    with pytest.raises(ConfigError, match="no option 'gpu'"):
        as_toolkit_tracker("siamtrack-n", gpu="1")


def test_a_ray_token_is_called_that() -> None:
    class AuthenticationError(RuntimeError):
        pass

    assert pool.is_token_failure(AuthenticationError("Token authentication is enabled but no token was found"))
    assert pool.is_token_failure(RuntimeError("Unauthenticated: InvalidAuthToken"))
    assert not pool.is_token_failure(ConnectionError("ray client connection timeout"))
