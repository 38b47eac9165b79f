"""Training data: readers of layouts, what happens to bad files, and the pairs of a step."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import moving_square
from tests.training.material import got10k, own_clips, write_frames, write_rows, write_video
from tracker.datasets.tracks import AnnotatedTrack, BadFiles, DataError
from tracker.errors import ConfigError
from tracker.geometry import iou
from tracker.model_config import ModelConfig
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
