"""Training data: readers of layouts, what happens to bad files, and the pairs of a step."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.conftest import moving_square
from tests.training.material import got10k, own_clips, recipe, stills, write_frames, write_rows, write_video
from tracker.datasets.tracks import AnnotatedTrack, BadFiles, DataError
from tracker.errors import ConfigError
from tracker.geometry import iou
from tracker.model_config import ModelConfig
from tracker.training.data.build import build_pair_source, pair_config
from tracker.training.data.pairs import LivePairs, SamplePairs
from tracker.training.data.sampling import PairConfig, draw, jitter_boxes
from tracker.training.data.shards import MemorySamples
from tracker.training.data.sources import DataConfig, SourceConfig, build_mixture, read_tracks

IMAGES, BOXES = moving_square(8)


def tracks_of(path: Path, store: Path | None = None, bad: str = "stop", **options: object) -> list[AnnotatedTrack]:
    return read_tracks(SourceConfig(path="", **options), path, store or path.parent / "store", BadFiles(bad))  # type: ignore[arg-type]


def test_got10k_reads_absence_and_class(tmp_path: Path) -> None:
    alpha, beta = tracks_of(got10k(tmp_path / "got"), kind="clips")
    assert alpha.kind == "square" and len(alpha.present) == 12
    assert list(beta.present) == [0, 1, 2, 3, 4]
    assert alpha.image(0).shape == (120, 160, 3)


def test_lasot(tmp_path: Path) -> None:
    folder = tmp_path / "lasot" / "airplane" / "airplane-10"
    write_frames(folder / "img", IMAGES)
    write_rows(folder / "groundtruth.txt", BOXES)
    write_rows(folder / "full_occlusion.txt", np.array([[0, 0, 1, 0, 0, 0, 0, 0]]))
    write_rows(folder / "out_of_view.txt", np.array([[0, 0, 0, 0, 0, 0, 0, 1]]))
    (track,) = tracks_of(tmp_path / "lasot", kind="lasot", subset="train")
    assert track.kind == "airplane" and list(track.present) == [0, 1, 3, 4, 5, 6]
    with pytest.raises(DataError, match="holds no test sequence"):
        tracks_of(tmp_path / "lasot", kind="lasot", subset="test")


def test_trackingnet_sorts_frames_by_number(tmp_path: Path) -> None:
    images, boxes = moving_square(12)
    write_frames(tmp_path / "tn" / "TRAIN_0" / "frames" / "abc_0", images, "{}.jpg", 0)
    write_rows(tmp_path / "tn" / "TRAIN_0" / "anno" / "abc_0.txt", boxes)
    (track,) = tracks_of(tmp_path / "tn", kind="trackingnet")
    assert [p.stem for p in track.frames] == [str(k) for k in range(12)]


def test_imagenet_vid_has_several_targets_and_an_index(tmp_path: Path) -> None:
    root, clip = tmp_path / "vid", "train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000"
    write_frames(root / "Data" / "VID" / clip, IMAGES, "{:06d}.JPEG.jpg", 0)
    for file in (root / "Data" / "VID" / clip).iterdir():
        file.rename(file.with_suffix(""))
    notes = root / "Annotations" / "VID" / clip
    notes.mkdir(parents=True)
    for k, (x, y, w, h) in enumerate(BOXES):
        corner = f"<bndbox><xmax>{x + w}</xmax><xmin>{x}</xmin><ymax>{y + h}</ymax><ymin>{y}</ymin></bndbox>"
        rest = "<object><trackid>1</trackid><name>n1</name><bndbox><xmax>9</xmax><xmin>2</xmin><ymax>9</ymax>"
        rest += "<ymin>2</ymin>" + "</bndbox></object>"
        first = f"<object><trackid>0</trackid><name>n0</name>{corner}</object>"
        (notes / f"{k:06d}.xml").write_text(f"<annotation>{first}{rest if k < 3 else ''}</annotation>")
    store = tmp_path / "store"
    for shift in (0, 0, 5):  # the second time from the index; the third, boxes were corrected
        if shift:
            for file in notes.iterdir():
                text = file.read_text()
                file.write_text(
                    re.sub(r"<(xmin|xmax)>(\d+)", lambda m: f"<{m[1]}>{int(m[2]) + 5}", text.replace(".0", ""))
                )
        zero, one = tracks_of(root, store, kind="imagenet-vid")
        assert (
            np.allclose(zero.boxes, BOXES + np.array([shift, 0, 0, 0])) and zero.kind == "n0" and len(one.frames) == 3
        )
        assert zero.clip == one.clip and zero.image(0).shape == (120, 160, 3)


def test_otb_two_targets_and_other_delimiters(tmp_path: Path) -> None:
    write_frames(tmp_path / "otb" / "Jogging" / "img", IMAGES, "{:04d}.jpg")
    write_rows(tmp_path / "otb" / "Jogging" / "groundtruth_rect.1.txt", BOXES, "\t")
    write_rows(tmp_path / "otb" / "Jogging" / "groundtruth_rect.2.txt", BOXES + 3)
    one, two = tracks_of(tmp_path / "otb", kind="otb")
    assert (one.name, two.name, one.clip) == ("Jogging.1", "Jogging.2", "Jogging")
    assert np.allclose(two.boxes, BOXES + 3)


def test_davis_boxes_come_from_masks(tmp_path: Path) -> None:
    write_frames(tmp_path / "davis" / "JPEGImages" / "480p" / "dog", IMAGES, "{:05d}.jpg", 0)
    masks = []
    for x, y, w, h in BOXES.astype(int):
        mask = np.zeros((120, 160), np.uint8)
        mask[y : y + h, x : x + w] = 255
        masks.append(mask)
    write_frames(tmp_path / "davis" / "Annotations" / "480p" / "dog", masks, "{:05d}.png", 0)
    (track,) = tracks_of(tmp_path / "davis", kind="davis")
    assert np.allclose(track.boxes, BOXES) and len(track.masks) == len(IMAGES)


def test_toolkit_class_and_the_broken_ones(tmp_path: Path) -> None:
    pytest.importorskip("got10k.datasets", reason="the got10k package or what it imports is missing")
    got10k(tmp_path / "data" / "train")
    alpha, beta = tracks_of(tmp_path / "data", kind="toolkit", dataset="GOT10k", options={"subset": "train"})
    assert alpha.name == "alpha" and len(beta.frames) == 12
    with pytest.raises(ConfigError, match="kind: lasot reads the same folder"):
        tracks_of(tmp_path / "data", kind="toolkit", dataset="LaSOT")
    with pytest.raises(ConfigError, match="no data set 'Nonsense'"):
        tracks_of(tmp_path / "data", kind="toolkit", dataset="Nonsense")
    with pytest.raises(DataError, match="can't read"):
        tracks_of(tmp_path / "data", kind="toolkit", dataset="UAV123")


def test_own_clips_are_decoded_once(tmp_path: Path) -> None:
    root, store = own_clips(tmp_path / "clips"), tmp_path / "store"
    write_frames(root / "c", IMAGES, "f{}.png")
    write_rows(root / "c" / "boxes.txt", BOXES)
    a, b, c = tracks_of(root, store, kind="folder")
    assert [t.name for t in (a, b, c)] == ["a", "b", "c"] and len(a.frames) == 12
    assert np.abs(a.image(3).astype(int) - moving_square(12)[0][3]).mean() < 8
    stamp = a.frames[0].stat().st_mtime_ns
    again = tracks_of(root, store, kind="folder")[0]
    assert again.frames[0].stat().st_mtime_ns == stamp
    assert not list(store.glob("*.part"))
    every = tracks_of(root, store, kind="folder", every=3, limit=3, names=["a"])[0]
    assert len(every.frames) == 3 and np.allclose(every.boxes, a.boxes[:9:3])


def test_own_clips_that_are_wrong_are_named(tmp_path: Path) -> None:
    root = own_clips(tmp_path / "clips")
    write_rows(root / "a.txt", np.tile(BOXES[:1], (50, 1)))
    with pytest.raises(DataError, match=r"a\.mp4 ends before its boxes.*50 lines.*on_bad_file=skip"):
        tracks_of(root, kind="folder")
    (root / "b.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="None of the 2 sequences"):
        tracks_of(root, kind="folder", bad="skip")
    write_video(tmp_path / "clips" / "lonely.mp4", IMAGES)
    with pytest.raises(DataError, match=r"lonely\.mp4 has no box file"):
        tracks_of(root, kind="folder")


def test_unlabelled_videos_give_tracks_that_return_home(tmp_path: Path) -> None:
    images = [np.ascontiguousarray(np.kron(i, np.ones((2, 2, 1), np.uint8))) for i in moving_square(16)[0]]
    write_video(tmp_path / "videos" / "x.mp4", images)
    options = {"kind": "videos", "tracks": 3, "length": 6}
    tracks = tracks_of(tmp_path / "videos", **options)
    assert 1 <= len(tracks) <= 3 and all(len(t.present) == 6 for t in tracks)
    again = tracks_of(tmp_path / "videos", **options)
    assert all(np.array_equal(p.boxes, q.boxes) for p, q in zip(tracks, again, strict=True))


def test_flow_follows_and_a_lost_region_is_not_kept(tmp_path: Path) -> None:
    from tracker.training.data.pseudo_labels import find_tracks, follow_flow

    images, boxes = moving_square(8)
    found = follow_flow(images, boxes[0])
    assert len(found) == 8 and iou(np.stack(found), boxes).min() > 0.8
    paths = tuple(write_frames(tmp_path / "f", images))
    assert find_tracks(paths, lambda frames, box: [box] * (len(frames) - 1), 2, 5, seed=0) == []
    assert find_tracks(paths, lambda frames, box: [box + 20 * k for k in range(len(frames))], 2, 5, seed=0) == []


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_an_unreadable_picture(tmp_path: Path, policy: str, caplog: pytest.LogCaptureFixture) -> None:
    got10k(tmp_path / "got", ("alpha", "gamma"))
    for file in (tmp_path / "got" / "gamma").glob("*.jpg"):
        file.write_bytes(b"broken")
    data = DataConfig(root=str(tmp_path), scenery="", sources=[{"kind": "clips", "path": "got"}], on_bad_file=policy)
    mixture = build_mixture(data, ModelConfig(template_size=65, search_size=129), store=tmp_path / "store")
    caplog.set_level(logging.WARNING)

    def run() -> set[str]:
        return {mixture.sample(np.random.default_rng([0, k])).label for k in range(12)}

    if policy == "stop":
        with pytest.raises(DataError, match=r"gamma.*on_bad_file=skip"):
            run()
    else:
        assert run() == {"alpha"}
        assert "gamma" in caplog.text and len({r.message for r in caplog.records}) == len(caplog.records)


def test_an_empty_track(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    got10k(tmp_path / "got")
    write_rows(tmp_path / "got" / "alpha" / "groundtruth.txt", np.zeros((12, 4)))
    with pytest.raises(DataError, match=r"alpha in .* shows its target in 0 frames"):
        tracks_of(tmp_path / "got", kind="clips")
    assert [t.name for t in tracks_of(tmp_path / "got", kind="clips", bad="skip")] == ["beta"]
    assert "alpha" in caplog.text


def test_mistakes_in_a_recipe_are_sentences(tmp_path: Path) -> None:
    got10k(tmp_path / "got")

    def build(**data: object) -> None:
        build_mixture(DataConfig(root=str(tmp_path), scenery="", **data), ModelConfig(), store=tmp_path)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="unknown; there are clips, got10k, lasot"):
        build(sources=[{"kind": "nonsense"}])
    with pytest.raises(ConfigError, match="on_bad_file is 'ignore'"):
        build(sources=[{"kind": "clips", "path": "got"}], on_bad_file="ignore")
    with pytest.raises(ConfigError, match="needs photos as backgrounds"):
        build(sources=[{"kind": "boxed", "path": "x.json"}])
    with pytest.raises(ConfigError, match=r"sources\.every is 0; it must be a whole number from 1"):
        build(sources=[{"kind": "folder", "every": 0}])
    with pytest.raises(DataError, match=r"No sequence of .* matches zeta"):
        build(sources=[{"kind": "clips", "path": "got", "names": ["zeta"]}])


def memory(tracks: list[int], kinds: list[int], present: bool = True) -> MemorySamples:
    """Samples whose features are their own numbers."""
    count = len(tracks)
    labels = {
        "targets": np.full((count, 2, 2), 30, np.float32),
        "boxes": np.tile(np.array([1, 2, 3, 4], np.float32), (count, 3, 1)),
        "tracks": np.array(tracks),
        "kinds": np.array(kinds),
        "present": np.full((count, 3), present),
    }
    numbers = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1, 1)
    return MemorySamples(
        labels, {"templates": np.tile(numbers, (1, 2, 1, 2, 2)), "searches": np.tile(numbers, (1, 3, 1, 3, 3))}
    )


def test_pairs_of_a_step_are_shared_and_never_repeated() -> None:
    source = SamplePairs(
        [memory([1, 2, 3], [0, 0, 0]), memory([4, 5], [0, 0])], PairConfig(negative_pairs=0.3), 8, seed=1, start=4
    )
    whole = source.batch(7, 0, 1)
    halves = [source.batch(7, rank, 2) for rank in range(2)]
    for name in ("template", "search", "box", "positive", "track"):
        joined = np.concatenate([getattr(h, name).numpy() for h in halves])
        assert np.array_equal(joined, getattr(whole, name).numpy()), name
    picks = [tuple(draw(1, step, 64, 10**6, (2, 3), 0.3)) for step in range(20)]
    assert len(set(picks)) == 20
    assert len({p.sample for step in picks for p in step}) > 1270  # of 1280 draws: no worker sees another's


def test_shares_of_negative_pairs_and_look_alikes() -> None:
    source = SamplePairs(
        [memory(list(range(20)), [1] * 10 + [2] * 10)], PairConfig(negative_pairs=0.5, same_kind=0.75), 64, 0, 4
    )
    negative_pairs = alike = 0
    for step in range(20):
        batch = source.batch(step, 0, 1)
        a, b = batch.template[:, 0, 0, 0].int(), batch.search[:, 0, 0, 0].int()
        assert np.array_equal((a == b).numpy(), batch.positive.numpy())
        negative_pairs += int((~batch.positive).sum())
        alike += int(((a // 10 == b // 10) & (a != b)).sum())
    assert negative_pairs / 1280 == pytest.approx(0.5 * 19 / 20, abs=0.05)
    assert alike / negative_pairs == pytest.approx(0.75 + 0.25 * 9 / 19, abs=0.05)


def test_an_negative_pair_is_never_the_target_itself(caplog: pytest.LogCaptureFixture) -> None:
    few = SamplePairs([memory([7, 7, 7, 8], [0] * 4)], PairConfig(negative_pairs=1.0), 64, 0, 4)
    batch = few.batch(0, 0, 1)
    track = np.array([7, 7, 7, 8])
    other = track[batch.search[:, 0, 0, 0].int().numpy()]
    assert not (~batch.positive.numpy() & (track[batch.template[:, 0, 0, 0].int().numpy()] == other)).any()
    one = SamplePairs([memory([7, 7], [0, 0])], PairConfig(negative_pairs=1.0), 16, 0, 4)
    assert one.batch(0, 0, 1).positive.all() and "All samples show one target" in caplog.text
    old = SamplePairs([memory([7, 7], [0, 0])], PairConfig(negative_pairs=1.0, distinct=False), 64, 0, 4)
    assert not old.batch(0, 0, 1).positive.all()
    with pytest.raises(ConfigError, match="no prepared sample has a kind"):
        SamplePairs([memory([1, 2], [0, 0])], PairConfig(same_kind=0.5), 8, 0, 4)
    away = SamplePairs([memory([1, 2], [0, 0], present=False)], PairConfig(negative_pairs=0.0), 8, 0, 4)
    assert not away.batch(0, 0, 1).positive.any()


def test_redrawn_boxes_of_a_pair_keep_their_centres_and_their_ratio() -> None:
    size, box = np.array([40, 20], np.float32), np.array([100, 110, 160, 130], np.float32)
    widths = []
    for k in range(200):
        other, there = jitter_boxes(size, box, 0.15, np.random.default_rng(k))
        assert there[:2] + there[2:] == pytest.approx(box[:2] + box[2:])
        assert (there[2:] - there[:2]) / other == pytest.approx([60 / 40, 20 / 20], rel=1e-5)
        widths.append(np.log(other[0] / 40))
    assert abs(np.mean(widths)) < 0.04 and 0.1 < np.std(widths) < 0.18 and np.abs(widths).max() <= 0.301


def test_pairs_with_another_convention_show_the_same_pictures() -> None:
    samples = [memory([1, 2, 3], [0, 0, 0])]
    plain, other = (SamplePairs(samples, PairConfig(box_jitter=c), 8, 0, 3).batch(2, 0, 1) for c in (0.0, 0.15))
    assert torch.equal(plain.search, other.search) and not torch.equal(plain.template_size, other.template_size)
    halves = [SamplePairs(samples, PairConfig(box_jitter=0.15), 8, 0, 3).batch(2, rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([h.template_size for h in halves]), other.template_size)


def test_live_pairs_are_a_function_of_the_step(tmp_path: Path) -> None:
    got10k(tmp_path / "data" / "got")
    stills(tmp_path / "data" / "stills")
    sources = [
        {"kind": "clips", "path": "got"},
        {"kind": "paste", "path": "stills"},
        {"kind": "photos", "path": "stills/photos"},
    ]
    config = recipe(
        tmp_path / "data",
        tmp_path / "cache",
        sources,
        use_cache=False,
        negative_pairs=0.5,
        same_kind=1.0,
        material={"scenery": "stills/photos"},
    )
    one, two = build_pair_source(config, 0), build_pair_source(config, 0)
    two.batch(0, 0, 1)
    a, b = one.batch(5, 0, 1), two.batch(5, 0, 1)
    assert (
        np.array_equal(a.template, b.template)
        and np.array_equal(a.search, b.search)
        and np.array_equal(a.positive, b.positive)
    )
    assert a.template.shape == (6, 3, 65, 65) and a.search.shape == (6, 3, 129, 129)
    source = LivePairs(pair_config(config.train["data"]), config, 24, 0)
    negative_pairs = [(x, y) for x, y, genuine in source.pairs(0) if not genuine]
    assert negative_pairs and all(x.identity != y.identity for x, y in negative_pairs)
    assert any(x.kind and x.kind == y.kind for x, y in negative_pairs)


def test_damaged_cutout_is_named(tmp_path: Path) -> None:
    stills(tmp_path / "stills")
    cv2.imwrite(str(tmp_path / "stills" / "cutouts" / "cup-0.png"), np.zeros((20, 20, 3), np.uint8))
    data = DataConfig(root=str(tmp_path), scenery="stills/photos", sources=[{"kind": "paste", "path": "stills"}])
    mixture = build_mixture(data, ModelConfig(template_size=65, search_size=129))
    with pytest.raises(DataError, match=r"cup-0\.png has no alpha channel"):
        for k in range(40):
            mixture.sample(np.random.default_rng(k))
