"""Galleries: known things as files - found again, appended, bound to their model, safe to load."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.cli.helpers import tiny_model
from tests.matching.material import shape
from tracker import Gallery, Matcher, SiamTracker
from tracker.errors import ConfigError, SiamTrackError, SourceError
from tracker.matching import gallery_file as room
from tracker.matching.gallery_file import GalleryError
from tracker.matching.inputs import Region
from tracker.matching.metrics import verification


def by_colour(items: list[np.ndarray]) -> np.ndarray:
    return np.array([item.reshape(-1, 3).mean(0) - 235 for item in items], np.float32)


@pytest.fixture
def matcher() -> Matcher:
    return Matcher.of_function(by_colour, "colour")


@pytest.fixture
def known(matcher: Matcher) -> Gallery:
    gallery = Gallery(matcher)
    for kind in range(3):
        gallery.add(f"thing{kind}", [shape(kind, k) for k in range(4)])
    return gallery


def test_a_thing_is_found_by_name(known: Gallery) -> None:
    for kind in range(3):
        (hits,) = known.search(shape(kind, 99))
        assert hits[0].name == f"thing{kind}" and hits[0].probability is None
        assert len({hit.name for hit in hits}) == len(hits) == 3
    known.calibrate_on_itself()
    name, verdict = known.verify(shape(1, 77), far=0.1)
    assert name == "thing1" and verdict.same and verdict.probability is not None
    other = known.verify(shape(1, 77), far=0.1, name="thing0")[1]
    assert other.probability is not None and other.probability < 0.5 < verdict.probability


def test_a_file_keeps_everything_and_is_appendable(known: Gallery, matcher: Matcher, tmp_path: Path) -> None:
    known.calibrate_on_itself()
    known.save(tmp_path / "g.npz")
    again = Gallery.load(tmp_path / "g.npz", matcher)
    assert (
        again.names == known.names
        and np.array_equal(again.vectors, known.vectors)
        and again.calibration == known.calibration
    )
    again.add("thing9", [shape(4, 0)])
    again.save(tmp_path / "g.npz")
    last = Gallery.load(tmp_path / "g.npz", matcher)
    assert last.things == ["thing0", "thing1", "thing2", "thing9"] and last.search(shape(4, 5))[0][0].name == "thing9"
    assert last.remove("thing0") == 4 and last.things == ["thing1", "thing2", "thing9"]
    with pytest.raises(GalleryError, match="Did you mean 'thing1'"):
        last.remove("thing11")


def test_another_model_is_refused(known: Gallery, tmp_path: Path) -> None:
    known.save(tmp_path / "g.npz")
    with pytest.raises(GalleryError, match="made with the model colour, and this is other"):
        Gallery.load(tmp_path / "g.npz", Matcher.of_function(by_colour, "other"))
    with pytest.raises(GalleryError, match="another model"):
        known.add("x", np.zeros((1, 7), np.float32))


def test_euclidean_search_is_the_nearest(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gallery = Gallery(Matcher.of_function(lambda items: np.stack(items), "raw", "euclidean"))
    vectors = rng.normal(size=(20, 6)).astype(np.float32)
    for k, vector in enumerate(vectors):
        gallery.add(f"n{k}", vector[None])
    query = rng.normal(size=(1, 6)).astype(np.float32)
    nearest = int(np.linalg.norm(vectors - query, axis=1).argmin())
    (hits,) = gallery.search(query, 4)
    assert hits[0].name == f"n{nearest}"
    assert hits[0].similarity == pytest.approx(-float(((vectors[nearest] - query) ** 2).sum()), abs=1e-4)


@pytest.mark.parametrize("kind", ["text", "pickle", "zip", "names", "shapes", "bomb", "nan"])
def test_a_hostile_file_is_one_sentence(
    kind: str, known: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "g.npz"
    known.save(file)
    with np.load(file) as data:
        arrays = dict(data)
    header = json.loads(bytes(arrays["header"]))
    if kind == "text":
        file.write_text("not a gallery")
    elif kind == "pickle":
        buffer = io.BytesIO()
        np.save(buffer, np.array([Evil()], object), allow_pickle=True)
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("header.npy", buffer.getvalue())
    elif kind == "zip":
        file.write_bytes(file.read_bytes()[:-200])
    elif kind == "bomb":
        monkeypatch.setattr(room, "LARGEST", 100)
    else:
        if kind == "names":
            header["names"] = header["names"][:-1]
        if kind == "nan":
            arrays["vectors"][0] = np.nan
        if kind == "shapes":
            header["views"] = [5]
        np.savez(file, **{**arrays, "header": np.frombuffer(json.dumps(header).encode(), np.uint8)})
    before = file.read_bytes()
    with pytest.raises(GalleryError) as caught:
        Gallery.load(file)
    assert str(file) in str(caught.value) and file.read_bytes() == before and not (tmp_path / "owned").exists()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, ("owned",))


def test_requests_that_cannot_be_served(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery(matcher)
    with pytest.raises(GalleryError, match="is empty"):
        gallery.search(shape(0, 0))
    with pytest.raises(GalleryError, match="needs a name"):
        gallery.add(" ", shape(0, 0))
    with pytest.raises(SourceError, match="does not exist"):
        Gallery.load(tmp_path / "none.npz")
    gallery.add("a", shape(0, 0))
    with pytest.raises(ConfigError, match="no calibration"):
        gallery.verify(shape(0, 1))
    with pytest.raises(SiamTrackError, match="nothing to embed"):
        matcher.embed([])
    assert pickle.loads(pickle.dumps(gallery.search(shape(0, 0))))


def test_the_trackers_embedding_is_public_and_leaves_the_target_alone(tmp_path: Path) -> None:
    file = tiny_model(tmp_path / "tiny.safetensors")
    tracker = SiamTracker.from_pretrained(file, "cpu", engine="torch")
    frame = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    tracker.init(frame, (20, 20, 30, 30))
    target = tracker.target
    a, b = tracker.embed(frame, (20, 20, 30, 30)), tracker.embed(frame, (60, 40, 30, 30))
    assert (
        tracker.target is target
        and a.shape == b.shape
        and np.linalg.norm(a) == pytest.approx(1, abs=1e-4)
        and a @ a > a @ b
    )
    matcher = Matcher.from_pretrained(file, "cpu")
    np.testing.assert_allclose(matcher.embed(Region(frame, (20, 20, 30, 30)))[0], a, atol=1e-4)
    assert matcher.similarity(Region(frame, (20, 20, 30, 30)), [frame]).shape == (1, 1)


def test_likeness_is_the_mean_cosine_of_cells(tmp_path: Path) -> None:
    from tracker.tracking.embedding import flattened
    from tracker.tracking.similarity import similarity

    host = np.random.default_rng(1).normal(size=(3, 6, 4, 4)).astype(np.float32)
    host[:, -1] = np.abs(host[:, -1])
    vectors = flattened(host, 1)
    assert np.diag(vectors @ vectors.T) == pytest.approx(1, abs=1e-5)
    share = host[:, -1:].copy()
    host[:, -1:] = share[:1]  # with equal shares both formulas are the same
    np.testing.assert_allclose(flattened(host, 1) @ flattened(host, 1).T, similarity(host, host, 1), atol=1e-5)


def test_a_pyramid_is_the_mean_likeness_of_its_levels() -> None:
    from tracker.tracking.embedding import flattened, pyramid

    host = np.random.default_rng(1).normal(size=(3, 6, 4, 4)).astype(np.float32)
    host[:, -1] = np.abs(host[:, -1])
    z, share = host[:, :5], host[:, 5:]
    cells = z / np.linalg.norm(z, axis=1, keepdims=True)
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    whole = unit((cells * share).sum((2, 3)))
    quarters = unit((cells * share).reshape(3, 5, 2, 2, 2, 2).sum((3, 5)).reshape(3, -1))
    likeness = [v @ v.T for v in (whole, quarters, flattened(host, 1))]
    found = pyramid(host, 1)
    np.testing.assert_allclose(found @ found.T, np.mean(likeness, axis=0), atol=1e-5)
    # Turned by half, a thing is as like itself as a whole, though its cells are at other places.
    turned = pyramid(np.concatenate([host[:1], host[:1, :, ::-1, ::-1]]), 1)
    assert (turned @ turned.T)[0, 1] > float((flattened(host[:1], 1) @ flattened(host[:1, :, ::-1, ::-1], 1).T)[0, 0])


def test_shipped_matchers_need_no_data() -> None:
    from tracker.matching.strokes import draw

    matcher = Matcher.from_pretrained("match-omniglot", "cpu")
    vectors = matcher.embed([draw(k, w, seed=7) for k in range(10) for w in range(3)])
    upper = np.triu_indices(30, 1)
    same = (np.arange(30) // 3)[upper[0]] == (np.arange(30) // 3)[upper[1]]
    assert verification((vectors @ vectors.T)[upper], same).eer < 0.15
    assert matcher.verify(draw(1, 1, seed=7), draw(1, 2, seed=7), far=0.1).probability is not None
    texts = Matcher.from_pretrained("match-sentences", "cpu")
    near, far = texts.similarity(
        ["A man is playing a guitar."], ["A man plays the guitar.", "The stock market fell on Monday."]
    )[0]
    assert near > far + 0.2
