"""The contract of errors: what a user gives in is served, or refused with a sentence that derives from
SiamTrackError."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracker
from tests.cli.helpers import tiny_model
from tests.conftest import moving_square
from tracker import SiamTracker
from tracker.datasets.tracks import DataError
from tracker.errors import BoxError, ConfigError, ImageError, SiamTrackError, SourceError, WeightsError, reading, shown
from tracker.geometry import rows_of
from tracker.model.checkpoint import HEADER, load_model, read_safetensors
from tracker.tracking.adapters import OpenCVTracker
from tracker.tracking.multi import MultiTracker
from tracker.tracking.template_memory import load_target
from tracker.training.checkpoint import read_checkpoint
from tracker.training.data.cache import read_index
from tracker.training.data.shards import Shard

FRAMES, BOXES = moving_square(6)
BAD_BOXES = [
    (1, 2, 3),
    "abc",
    (1, 2, 3, "x"),
    None,
    (1j, 2, 3, 4),
    (10**400, 2, 3, 4),
    {},
    np.zeros(4, complex),
    ["1", "2", "3", "4"],
]
BAD_BOXES += [
    (1, 2, 3, np.inf),
    (1, 2, 1e308, 1e308),
    (1, 2, -3, 4),
    (1, 2, 3, np.nan),
    (500, 500, 5, 5),
    [[1, 2], [3]],
    object(),
]
BAD_IMAGES: list[Any] = [
    None,
    "a.png",
    [[1, 2]],
    np.uint8(3),
    np.zeros(5, np.uint8),
    np.zeros((0, 5, 3), np.uint8),
    np.zeros((5, 5, 3)),
]
BAD_IMAGES += [
    np.zeros((5, 5, 2), np.uint8),
    np.zeros((5, 5, 3), object),
    np.zeros((5, 5, 3), complex),
    np.zeros((5, 5, 3), ">u2"),
]


@pytest.fixture(scope="module")
def single() -> SiamTracker:
    return SiamTracker.from_pretrained("siamtrack-n", "cpu", engine="onnxruntime")


def named(value: Any) -> str:
    """Id of a case, without addresses: processes that share the tests have to find the same ones."""
    return shown(value, 30).split(" at 0x")[0]


@pytest.mark.parametrize("box", BAD_BOXES, ids=named)
def test_a_box_that_is_none(single: SiamTracker, box: Any) -> None:
    for call in (
        lambda: single.init(FRAMES[0], box),
        lambda: MultiTracker(single, 1).init(FRAMES[0], [BOXES[0], box]),
        lambda: MultiTracker(single, 1).add(FRAMES[0], box),
        lambda: list(tracker.track(FRAMES, box, tracker=single)),
        lambda: OpenCVTracker(single).init(FRAMES[0], box),
    ):
        with pytest.raises(BoxError) as caught:
            call()
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("image", BAD_IMAGES, ids=named)
def test_a_picture_that_is_none(single: SiamTracker, image: Any) -> None:
    for call in (
        lambda: single.init(image, BOXES[0]),
        lambda: single.find(image, "no-file.npz"),
        lambda: MultiTracker(single, 1).init(image, BOXES[:1]),
        lambda: MultiTracker(single, 1).update(image),
        lambda: list(tracker.track([image, image], BOXES[0], tracker=single)),
        lambda: list(tracker.track([FRAMES[0], image], BOXES[0], tracker=single)),
    ):
        with pytest.raises(ImageError):
            call()


@pytest.mark.parametrize("source", [None, True, 5.5, object(), b"a.mp4", np.array(5)])
def test_a_source_that_is_none(single: SiamTracker, source: Any) -> None:
    with pytest.raises(SourceError):
        list(tracker.track(source, BOXES[0], tracker=single))


@pytest.mark.parametrize("start", [-1, "3", None, 1.5, True])
def test_a_first_frame_that_is_none(single: SiamTracker, start: Any) -> None:
    with pytest.raises(SourceError, match="is not a count from 0"):
        list(tracker.track(FRAMES, BOXES[0], tracker=single, start=start))


def test_update_counts_its_frames(single: SiamTracker) -> None:
    single.init(FRAMES[0], BOXES[0])
    assert [single.update(f).index for f in FRAMES[1:4]] == [1, 2, 3]
    assert single.update(FRAMES[4], index=70).index == 70 and single.update(FRAMES[5]).index == 71
    single.init(FRAMES[0], BOXES[0])
    assert single.update(FRAMES[1]).index == 1
    several = MultiTracker(single, 1)
    several.init(FRAMES[0], BOXES[:1])
    assert [t.index for f in FRAMES[1:3] for t in several.update(f)] == [1, 2]
    assert several.update(FRAMES[3], index=np.int64(9))[0].index == 9
    for bad in ("3", 1.5, True, object()):
        with pytest.raises(SiamTrackError, match="no whole number"):
            single.update(FRAMES[1], index=bad)  # type: ignore[arg-type]
        with pytest.raises(SiamTrackError):
            several.update(FRAMES[1], index=bad)  # type: ignore[arg-type]
    with pytest.raises(SiamTrackError, match="no number of seconds"):
        single.update(FRAMES[1], timestamp="now")  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [(500, 500, 20, 20), "x", (1, 2, 3), (1, 2, 0, 4)])
def test_a_refused_init_changes_nothing(single: SiamTracker, bad: Any) -> None:
    several = MultiTracker(single, 1)
    several.init(FRAMES[0], BOXES[:1])
    several.add(FRAMES[0], BOXES[1])
    several.update(FRAMES[1])
    before = dict(several.targets)
    with pytest.raises(BoxError):
        several.init(FRAMES[0], [BOXES[0], bad])
    assert several.targets == before and [t.target_id for t in several.update(FRAMES[2])] == [0, 1]
    several.init(FRAMES[0], [])
    assert several.update(FRAMES[1]) == [] and rows_of(np.zeros((0, 4))) == []


@pytest.mark.parametrize("name", [None, 5, "", "no-such", "a" * 5000, "a\0b", b"x", ["siamtrack-n"]])
def test_a_model_that_is_none(name: Any) -> None:
    with pytest.raises(WeightsError):
        SiamTracker.from_pretrained(name, "cpu")


def test_arguments_of_a_wrong_kind() -> None:
    for options in ({"overrides": "tracking.scales=3"}, {"overrides": [5]}, {"config": 5}, {"overrides": 5}):
        with pytest.raises(ConfigError):
            SiamTracker.from_pretrained("siamtrack-n", "cpu", **options)  # type: ignore[arg-type]
    for options in ({"device": None}, {"device": "tpu"}, {"engine": []}):
        with pytest.raises(SiamTrackError):
            SiamTracker.from_pretrained("siamtrack-n", **options)  # type: ignore[arg-type]


HEADERS = [
    "",
    "nan",
    "[]",
    "5",
    "{}",
    '"config"',
    '{"config": null}',
    '{"config": 5}',
    '{"config": {"tracking": {"context": NaN}}}',
]
HEADERS += [
    '{"config": {"model": []}}',
    '{"config": {"name": "${x"}}',
    '{"config": {"model": {"backbone": "x"}}}',
    "[" * 3000,
]


@pytest.mark.parametrize("text", HEADERS, ids=lambda t: t[:40])
def test_a_foreign_header(tmp_path: Path, text: str) -> None:
    from safetensors.numpy import save_file

    path = tiny_model(tmp_path / "m.safetensors")
    _, state = read_safetensors(path)
    save_file(state, path, metadata={HEADER: text})
    with pytest.raises(SiamTrackError):
        SiamTracker.from_pretrained(path, "cpu")


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_arrays_of_another_shape_or_kind(tmp_path: Path, engine: str) -> None:
    from safetensors.numpy import save_file

    path = tiny_model(tmp_path / "m.safetensors")
    metadata, state = read_safetensors(path)
    key = next(k for k in state if k.endswith("running_var"))
    for change in (
        state[key][: len(state[key]) // 2].copy(),
        np.zeros(0, np.float32),
        state[key][None].repeat(2, 0),
        state[key] * np.nan,
    ):
        save_file({**state, key: change}, path, metadata=metadata)
        with pytest.raises(WeightsError):
            SiamTracker.from_pretrained(path, "cpu", engine=engine)


def test_state_dicts_of_others(tmp_path: Path) -> None:
    import torch

    path, key = tmp_path / "m.pth", "backbone.conv1.0.weight"
    odd: list[Any] = [5, "x", None, torch.zeros(2, 2).to_sparse(), [torch.zeros(1)]]
    for state in (*({key: value} for value in odd), {key: torch.zeros(1), 5: 1}, {key: torch.zeros(1)}, [1], 5):
        torch.save(state, path)
        with pytest.raises(SiamTrackError):
            SiamTracker.from_pretrained(path, "cpu", engine="torch")


def test_saved_targets(single: SiamTracker, tmp_path: Path) -> None:
    single.init(FRAMES[0], BOXES[0])
    single.save_target(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as data:
        arrays = {key: data[key] for key in data.files}
    header = json.loads(bytes(arrays["header"]))

    def head(value: object) -> dict[str, Any]:
        return {"header": np.frombuffer(json.dumps(value).encode(), np.uint8)}

    changes: list[dict[str, Any]] = [head([]), head({k: v for k, v in header.items() if k != "frame"})]
    changes += [head({**header, "frame": frame}) for frame in ([1], None, [1e400, 2], [0, 5], "ab", [1, 2, 3])]
    changes += [{"embeddings": arrays["embeddings"][:, :5]}, {"embeddings": arrays["embeddings"] * np.nan}]
    other = head({**header, "model": "x"})
    changes += [
        {**other, "pictures": np.zeros((1, 0, 0, 3), np.uint8)},
        {**other, "targets": np.zeros(1)},
        {"size": np.array([1, np.inf])},
    ]
    changes += [
        {"pictures": arrays["pictures"][..., :2]},
        {"targets": -arrays["targets"]},
        {"size": np.array([1e30, 1])},
    ]
    for change in changes:
        np.savez_compressed(tmp_path / "x.npz", **{**arrays, **change})
        with pytest.raises(SourceError):
            single.find(FRAMES[0], tmp_path / "x.npz")
    for path in (None, 5, "", "a\0b", tmp_path):
        with pytest.raises(SourceError):
            load_target(path)  # type: ignore[arg-type]
    assert single.find(FRAMES[0], tmp_path / "good.npz").index == 0


@pytest.mark.parametrize(
    ("read", "kind"),
    [(Shard, DataError), (read_checkpoint, WeightsError), (load_target, SourceError), (load_model, WeightsError)],
)
def test_bytes_that_are_nothing(tmp_path: Path, read: Callable[[Path], Any], kind: type[SiamTrackError]) -> None:
    for k, data in enumerate((b"", b"PK\x03\x04", b"x" * 100, bytes(1000), b"\x80\x05K\x05.")):
        path = tmp_path / f"{k}.npz"
        path.write_bytes(data)
        with pytest.raises(kind):
            read(path)


def test_a_damaged_index_is_that_of_another_recipe(tmp_path: Path) -> None:
    for text in ("", "5", "[]", "{", '{"fingerprint": 5}'):
        (tmp_path / "cache.json").write_text(text)
        assert read_index(tmp_path / "cache.json").get("fingerprint") in (None, "5")


def test_reading_keeps_what_is_no_damage() -> None:
    for error in (BoxError("x"), ModuleNotFoundError("y"), KeyboardInterrupt()):
        with pytest.raises(type(error)), reading(lambda why: SourceError(why)):
            raise error
    with pytest.raises(SourceError, match=r"^KeyError 'a'$"), reading(lambda why: SourceError(why)):
        raise KeyError("a")
    assert shown(10**6000) == "a value of type int" and len(shown("x" * 1000)) == 80
