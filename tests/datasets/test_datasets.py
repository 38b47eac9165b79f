"""Readers: every layout is read, the package reads the same, and a wrong folder gets a sentence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.evaluation.trees import SIZE, got10k_tree, images, otb_tree, text, vot_tree, walk
from tracker.datasets import otb
from tracker.datasets.package_tables import package_table
from tracker.datasets.registry import DATASETS, load_dataset
from tracker.datasets.vot import corners_to_boxes
from tracker.errors import SourceError


class TestGot10k:
    def test_same_as_the_package(self, tmp_path):
        package = pytest.importorskip("got10k.datasets")
        root = got10k_tree(tmp_path)
        theirs = package.GOT10k(str(root), "val", return_meta=True)
        ours = load_dataset("got10k", root)
        assert ours.names == theirs.seq_names
        for sequence, (frames, truth, meta) in zip(ours.sequences, theirs, strict=True):
            assert list(sequence.frames) == frames
            assert np.array_equal(sequence.truth, truth)
            assert np.array_equal(sequence.valid[1:], meta["cover"][1:] > 0) and not sequence.valid[0]
            assert sequence.object_class == meta["object_class"]
            assert sequence.size == SIZE

    def test_test_set_has_one_box(self, tmp_path):
        data = load_dataset("got10k", got10k_tree(tmp_path, "test"), "test")
        assert data.truth_withheld
        assert np.isfinite(data.sequences[0].truth[0]).all() and np.isnan(data.sequences[0].truth[1:]).all()

    @pytest.mark.parametrize(
        ("break_it", "sentence"),
        [
            (lambda r: shutil.rmtree(r / "val" / "GOT-10k_Val_000001"), "GOT-10k_Val_000001 is missing"),
            (lambda r: (r / "val" / "GOT-10k_Val_000001" / "00000003.jpg").unlink(), "has 14 lines for 13 images"),
            (
                lambda r: (r / "val" / "GOT-10k_Val_000001" / "groundtruth.txt").write_text("1,2,3\n"),
                "line 1 has 3 values",
            ),
            (
                lambda r: (r / "val" / "GOT-10k_Val_000001" / "groundtruth.txt").write_text("1,2,3,x\n"),
                "line 1 isn't numbers",
            ),
        ],
    )
    def test_a_broken_sequence_is_named_and_left_out(self, tmp_path, break_it, sentence):
        root = got10k_tree(tmp_path)
        break_it(root)
        data = load_dataset("got10k", root)
        assert list(data.failures) == ["GOT-10k_Val_000001"] and sentence in data.failures["GOT-10k_Val_000001"]
        assert (
            data.names == [f"GOT-10k_Val_{k:06d}" for k in (2, 3, 4)] and data.title == "GOT-10k val, 3 of 4 sequences"
        )
        assert load_dataset("got10k", root, sequences="*2,*3").failures == {}  # what isn't asked for isn't looked at
        with pytest.raises(SourceError, match=re.escape(sentence)):
            load_dataset("got10k", root, sequences="*1")

    def test_without_its_list(self, tmp_path):
        root = got10k_tree(tmp_path)
        (root / "val" / "list.txt").unlink()
        with pytest.raises(SourceError, match=r"list\.txt is missing: GOT-10k is laid out as ROOT/val/list\.txt"):
            load_dataset("got10k", root)

    def test_one_folder_too_deep(self, tmp_path):
        with pytest.raises(SourceError, match="give the folder above as --root"):
            load_dataset("got10k", got10k_tree(tmp_path) / "val")


class TestOtb:
    def test_lists_are_the_benchmarks(self):
        package = pytest.importorskip("got10k.datasets")
        lists = package.OTB._OTB__version_dict
        assert sorted(otb.OTB2013) == sorted(lists[2013])
        assert sorted(otb.OTB50) == sorted(lists["tb50"])
        assert sorted(otb.OTB100) == sorted(lists["tb100"])

    def test_same_as_the_package(self, tmp_path, capsys):
        package = pytest.importorskip("got10k.datasets")
        root = otb_tree(tmp_path)
        text(root / "Jogging" / "groundtruth_rect.1.txt", walk(12, 1))
        text(root / "Jogging" / "groundtruth_rect.2.txt", walk(12, 2))
        images(root / "Jogging" / "img", 12, "{:04d}.jpg")
        theirs = package.OTB(str(root), 2013, download=False)
        ours = load_dataset("otb2013", root)
        assert ours.names == theirs.seq_names == ["Boy", "Car4", "Deer", "Jogging.1", "Jogging.2"]
        assert ours.title == "OTB-2013, 4 of 50 sequences"
        for sequence, (frames, truth) in zip(ours.sequences, theirs, strict=True):
            assert list(sequence.frames) == frames
            assert np.array_equal(sequence.truth, truth)

    def test_only_what_is_there(self, tmp_path):
        assert load_dataset("otb", otb_tree(tmp_path, ("My-own", "Deer"))).names == ["Deer", "My-own"]

    def test_annotated_part_of_a_sequence(self, tmp_path):
        images(tmp_path / "Football1" / "img", 80, "{:04d}.jpg")
        text(tmp_path / "Football1" / "groundtruth_rect.txt", walk(74, 0))
        (sequence,) = load_dataset("otb", tmp_path).sequences
        assert len(sequence.frames) == 74 and sequence.frames[0].endswith("0001.jpg")

    def test_attribute_file(self, tmp_path):
        root = otb_tree(tmp_path)
        (root / "attributes.json").write_text('{"Boy": ["IV"]}')
        assert load_dataset("otb", root).sequences[0].attributes["IV"].all()

    def test_wrong_folders(self, tmp_path):
        with pytest.raises(SourceError, match=r"groundtruth_rect\.txt"):
            load_dataset("otb", tmp_path)
        root = otb_tree(tmp_path)
        with pytest.raises(SourceError, match="give the folder above"):
            load_dataset("otb", root / "Boy")
        with pytest.raises(SourceError, match="None of the 49 sequences of OTB-50"):
            load_dataset("otb50", otb_tree(tmp_path / "x", ("Boy",)))


class TestVot:
    @pytest.mark.parametrize("colour", [False, True])
    def test_both_layouts(self, tmp_path, colour):
        data = load_dataset("vot", vot_tree(tmp_path / "vot2018", colour=colour))
        assert data.title == "VOT2018" and data.eao_range == (100, 356)
        assert data.sequences[0].polygons.shape == (40, 8)
        assert set(data.sequences[0].attributes) == {"occlusion", "camera_motion", "empty"}

    def test_start_boxes_are_the_packages(self, tmp_path):
        package = pytest.importorskip("got10k.datasets")
        root = vot_tree(tmp_path)
        theirs = package.VOT(str(root), 2018, anno_type="rect", download=False)
        ours = load_dataset("vot", root, "2018")
        for sequence, (_, truth) in zip(ours.sequences, theirs, strict=True):
            np.testing.assert_allclose(sequence.truth, truth, atol=1e-9)
        upright = corners_to_boxes(np.array([[10.0, 20, 30, 20, 30, 60, 10, 60]]))
        np.testing.assert_allclose(upright, [[9.5, 19.5, 21, 41]])

    def test_the_year_must_be_known(self, tmp_path):
        with pytest.raises(SourceError, match="give --subset 2013"):
            load_dataset("vot", vot_tree(tmp_path / "somewhere"))


class TestOthers:
    def test_lasot_leaves_hidden_frames_out(self, tmp_path):
        pytest.importorskip("got10k")
        name = package_table("lasot.json")["test"][0]
        folder = tmp_path / name.rsplit("-", 1)[0] / name
        images(folder / "img", 6)
        text(folder / "groundtruth.txt", np.abs(walk(6, 0)))
        (folder / "full_occlusion.txt").write_text("0,0,1,0,0,0\n")
        (folder / "out_of_view.txt").write_text("0,0,0,1,0,0\n")
        (sequence,) = load_dataset("lasot", tmp_path).sequences
        assert sequence.valid.tolist() == [True, True, False, False, True, True]
        assert sequence.object_class == name.rsplit("-", 1)[0]

    def test_uav_frames_from_the_table(self, tmp_path):
        pytest.importorskip("got10k")
        entry = package_table("uav123.json")["UAV123"]["bird1_2"]
        count = entry["end_frame"] - entry["start_frame"] + 1
        truth = np.abs(walk(count, 0))
        truth[5] = np.nan
        text(tmp_path / "anno" / "UAV123" / "bird1_2.txt", truth)
        images(tmp_path / "data_seq" / "UAV123" / "bird1", 1, "{:06d}.jpg", entry["start_frame"])
        (sequence,) = load_dataset("uav123", tmp_path).sequences
        assert sequence.frames[0].endswith("000775.jpg") and len(sequence) == count
        assert not sequence.valid[5] and sequence.valid.sum() == count - 1

    def test_nfs_quotes_and_thinning(self, tmp_path):
        folder = tmp_path / "ball" / "30"
        images(folder / "ball", 4, "{:05d}.jpg")
        lines = [f'0 {k} 10 {k + 20} 50 {k} 0 0 0 "ball"' for k in range(32)]
        (folder / "ball.txt").write_text("\n".join(lines) + "\n")
        (sequence,) = load_dataset("nfs", tmp_path).sequences
        assert sequence.truth.tolist() == [[0, 10, 20, 40], [8, 10, 20, 40], [16, 10, 20, 40], [24, 10, 20, 40]]

    def test_tcolor_range(self, tmp_path):
        folder = tmp_path / "Ball_ce1"
        images(folder / "img", 6, "{:04d}.jpg")
        text(folder / "Ball_ce1_gt.txt", walk(4, 0))
        (folder / "Ball_ce1_frames.txt").write_text("2,5\n")
        (sequence,) = load_dataset("tcolor128", tmp_path).sequences
        assert sequence.frames[0].endswith("0002.jpg") and len(sequence) == 4

    def test_dtb70_is_otb(self, tmp_path):
        assert load_dataset("dtb70", otb_tree(tmp_path)).title == "DTB70, 3 of 70 sequences"

    def test_trackingnet_sorts_by_number(self, tmp_path):
        images(tmp_path / "TEST" / "frames" / "abc", 12, "{}.jpg", 0)
        text(tmp_path / "TEST" / "anno" / "abc.txt", walk(1, 0))
        data = load_dataset("trackingnet", tmp_path)
        assert [Path(f).stem for f in data.sequences[0].frames] == [str(k) for k in range(12)]
        assert data.truth_withheld


class TestFolder:
    def test_images_and_clips(self, tmp_path):
        otb_tree(tmp_path, ("Own",), 5)
        writer = cv2.VideoWriter(str(tmp_path / "b.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, SIZE)
        for k in range(4):
            writer.write(np.full((SIZE[1], SIZE[0], 3), 40 * k, np.uint8))
        writer.release()
        (tmp_path / "b.txt").write_text("1,2,10,10\n0,0,0,0\n3,4,10,10\n3,4,10,10\n")
        data = load_dataset("folder", tmp_path)
        assert data.names == ["Own", "b"]
        clip = data.sequences[1]
        assert clip.is_clip and len(list(clip.images())) == 4
        assert clip.valid.tolist() == [True, False, True, True]
        assert clip.attributes["absent"].tolist() == [False, True, False, False]
        assert load_dataset("folder", tmp_path / "b.avi").names == ["b"]
        assert load_dataset("folder", tmp_path / "Own").names == ["Own"]

    def test_boxes_for_more_frames_than_the_clip_has(self, tmp_path):
        writer = cv2.VideoWriter(str(tmp_path / "b.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, SIZE)
        writer.write(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
        writer.release()
        (tmp_path / "b.txt").write_text("1,2,10,10\n" * 3)
        with pytest.raises(SourceError, match="ends after 1 frames, but its boxes are for 3"):
            list(load_dataset("folder", tmp_path).sequences[0].images())


@pytest.mark.parametrize("key", sorted(set(DATASETS) - {"vot"}))
def test_an_empty_folder_says_what_was_expected(tmp_path, key):
    with pytest.raises(SourceError, match=r"ROOT|expected"):
        load_dataset(key, tmp_path)


def test_unknown_names():
    with pytest.raises(SourceError, match="choose one of got10k"):
        load_dataset("imagenet", "x")
    with pytest.raises(SourceError, match="nothing is downloaded"):
        load_dataset("otb", "no/such/folder")
