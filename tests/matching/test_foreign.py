"""The optional packages as encoders and as search, where they are installed; no weights are fetched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.matching.material import shape
from tracker.errors import ConfigError
from tracker.matching import gallery as gallery_module
from tracker.matching.config import InputConfig, MatchModel, PartConfig
from tracker.matching.encoders import build_encoder
from tracker.matching.gallery import Gallery
from tracker.matching.matcher import Matcher
from tracker.matching.store import load_matcher, save_matcher
from tracker.matching.twins import Twins


def filled(vectors: np.ndarray, energy: str) -> Gallery:
    """A gallery of vectors: two of each thing, and one thing with as many as all others together."""
    gallery = Gallery(None)
    gallery.model, gallery.fingerprint, gallery.energy = "test", "0", energy
    gallery.vectors = vectors
    gallery.names = [f"thing{k // 2}" if k < 200 else "many" for k in range(len(vectors))]
    gallery.views = [None] * len(vectors)
    return gallery


@pytest.mark.parametrize("energy", ["cosine", "euclidean", "dot"])
def test_faiss_finds_what_the_plain_product_finds(energy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 12)).astype(np.float32)
    if energy == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery = filled(vectors, energy)
    queries = vectors[:5] + np.float32(0.01)
    plain = gallery.search(queries, 3)
    called: list[int] = []
    original = Gallery._nearest

    def counted(self: Gallery, wanted: np.ndarray, count: int) -> object:
        called.append(len(wanted))
        return original(self, wanted, count)

    monkeypatch.setattr(gallery_module, "MANY", 100)
    monkeypatch.setattr(Gallery, "_nearest", counted)
    fast = gallery.search(queries, 3)
    assert called == [5]
    for row, other in zip(plain, fast, strict=True):
        assert [hit.name for hit in row] == [hit.name for hit in other] and len(other) == 3
        np.testing.assert_allclose([h.similarity for h in row], [h.similarity for h in other], atol=1e-3)


def test_a_model_of_timm_is_an_encoder(tmp_path: Path) -> None:
    pytest.importorskip("timm", exc_type=ImportError)
    part = PartConfig("timm", {"name": "resnet10t", "pretrained": False})
    torch.manual_seed(0)
    twins = Twins(MatchModel(input=InputConfig(width=64, height=64), encoder=part)).eval()
    save_matcher(tmp_path / "timm.safetensors", twins, "of-timm")
    matcher = Matcher.from_pretrained(str(tmp_path / "timm.safetensors"))
    pictures = [shape(kind, 0, 64) for kind in range(3)]
    found = matcher.embed(pictures)
    assert found.shape == (3, 512) and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert matcher.similarity(pictures, pictures).diagonal() == pytest.approx([1, 1, 1], abs=1e-5)
    assert load_matcher(tmp_path / "timm.safetensors").twins.tied
    with pytest.raises(ConfigError, match="timm has no model 'resnet9999'"):
        build_encoder(PartConfig("timm", {"name": "resnet9999"}), InputConfig())


def test_a_model_of_sentence_transformers_is_a_matcher(tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers", exc_type=ImportError)
    from sentence_transformers.sentence_transformer.modules import BoW  # built here: nothing is fetched

    from tracker.matching.foreign import sentence_encoder

    words = ["plane", "air", "dog", "sleeps", "takes", "off"]
    bag = BoW(vocab=words)
    package.SentenceTransformer(modules=[bag], device="cpu").save(str(tmp_path / "bag"))
    matcher = Matcher.of_function(sentence_encoder(str(tmp_path / "bag")), "bag-of-words", modality="text")
    similarity = matcher.similarity(["plane takes off"], ["air plane takes off", "dog sleeps"])
    assert similarity.shape == (1, 2) and similarity[0, 0] > 0.8 > 0.1 > similarity[0, 1]
    gallery = Gallery(matcher)
    gallery.add("flight", "air plane")
    gallery.add("pet", "dog sleeps")
    assert gallery.search("plane")[0][0].name == "flight"


@pytest.mark.parametrize("package", ["timm", "sentence_transformers"])
def test_a_missing_package_is_one_sentence(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tracker.matching.foreign import sentence_encoder, timm_encoder

    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ConfigError, match="pip install"):
        timm_encoder(InputConfig()) if package == "timm" else sentence_encoder("nothing")
