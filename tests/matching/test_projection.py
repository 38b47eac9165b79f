"""The projection of a tracker's embedding: fitted to clips, kept with the weights, a further level of the embedding."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.matching.material import COLOURS
from tracker.cli import fit_projection
from tracker.errors import ConfigError, WeightsError
from tracker.matching.fit_projection import discriminants
from tracker.matching.matcher import Matcher, embedding_mark
from tracker.matching.metrics import verification
from tracker.matching.track_pairs import Pair, eer_interval
from tracker.model.checkpoint import fingerprint
from tracker.tracking.embedding import pyramid
from tracker.tracking.projection import FILE, Projection, projection_of
from tracker.tracking.tracker import SiamTracker


def test_what_changes_for_one_thing_counts_less() -> None:
    rng = np.random.default_rng(0)
    things = rng.normal(size=(30, 2)).repeat(12, axis=0)
    noise = rng.normal(size=(360, 6)) * [0.1, 0.1, 4, 4, 4, 4]  # four directions say nothing
    vectors, labels = np.pad(things, ((0, 0), (0, 4))) + noise, np.arange(30).repeat(12)
    seen = discriminants(vectors[:180], labels[:180], 2, 0.01)
    upper = np.triu_indices(180, 1)
    same = (labels[180:, None] == labels[180:])[upper]

    def error(x: np.ndarray) -> float:
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        return verification((x @ x.T)[upper], same).eer

    assert error(seen(vectors[180:].astype(np.float32))) < 0.15 < 0.4 < error(vectors[180:])
    for bad in ((7, 0.5), (0, 0.5), (2, 0.0), (2, 1.5)):
        with pytest.raises(ConfigError, match="can't be used"):
            discriminants(vectors, labels, *bad)


def test_the_projection_is_one_more_level() -> None:
    rng = np.random.default_rng(1)
    host = rng.normal(size=(4, 6, 4, 4)).astype(np.float32)
    host[:, -1] = np.abs(host[:, -1])
    projection = Projection(rng.normal(size=5).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32))
    z, share = host[:, :5], host[:, 5:]
    whole = (z / np.linalg.norm(z, axis=1, keepdims=True) * share).sum((2, 3)) / share.sum((2, 3))
    seen = projection(whole)
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    without, found = pyramid(host, 1), pyramid(host, 1, projection)
    np.testing.assert_allclose(found @ found.T, (3 * without @ without.T + seen @ seen.T) / 4, atol=1e-5)


def test_the_default_tracker_has_one_and_galleries_are_bound_to_it() -> None:
    tracker = SiamTracker.from_pretrained("siamtrack-s", "cpu")
    assert tracker.observer.projection is not None
    picture, with_it = np.zeros((40, 40, 3), np.uint8), embedding_mark(tracker)
    length = Matcher.of_tracker(tracker).embed(picture).shape[1]
    tracker.observer.projection = None
    assert embedding_mark(tracker) != with_it
    assert Matcher.of_tracker(tracker).embed(picture).shape[1] < length
    assert SiamTracker.from_pretrained("siamtrack-n", "cpu").observer.projection is None


def test_the_command_fits_and_a_damaged_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(3):
        folder = tmp_path / "clips" / f"clip{k}"
        folder.mkdir(parents=True)
        for n in range(12):
            frame = np.full((80, 100, 3), 90, np.uint8)
            frame[20 : 40 + n, 20 + n : 60] = COLOURS[k]
            cv2.imwrite(str(folder / f"{n + 1:08d}.jpg"), frame)
        (folder / "groundtruth.txt").write_text("".join(f"{20 + n},20,{40 - n},{20 + n}\n" for n in range(12)))
    (tmp_path / "clips" / "list.txt").write_text("clip0\nclip1\nclip2\n")
    out = tmp_path / "p.npz"
    arguments = ["--model", "siamtrack-n", "--clips", str(tmp_path / "clips"), "--frames", "4", "--dimensions", "2"]
    assert fit_projection.main([*arguments, "--output", str(out)]) == 0
    assert "12 crops of 3 clips, 2 dimensions" in capsys.readouterr().out
    mark = fingerprint(SiamTracker.from_pretrained("siamtrack-n", "cpu").model)
    found = projection_of(mark, out)
    assert found is not None and found.matrix.shape[1] == 2
    assert projection_of("another", out) is None and projection_of(mark, tmp_path / "none.npz") is None
    bad = tmp_path / "bad.npz"
    bad.write_bytes(FILE.read_bytes()[:900])
    with pytest.raises(WeightsError, match="can't be read"):
        projection_of(mark, bad)


def test_an_interval_holds_its_rate_and_shrinks_with_more_clips() -> None:
    def width(clips: int) -> float:
        rng = np.random.default_rng(2)
        pairs, similarity = [], []
        for k in range(900):
            kind = ("genuine", "other", "same-class")[k % 3]
            t, u = rng.choice(clips, 2, replace=False)
            pairs.append(Pair(kind, (int(t), 0), (int(t if kind == "genuine" else u), 1)))
            similarity.append(rng.normal(2 if kind == "genuine" else 0) + 0.3 * (t % 3))
        values = np.array(similarity)
        low, high = eer_interval(values, pairs)
        assert low < verification(values, [p.kind == "genuine" for p in pairs]).eer < high
        return high - low

    assert width(60) < width(6)
