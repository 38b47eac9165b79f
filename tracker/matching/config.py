"""The recipe of a matcher: what it reads, how it embeds, what it is trained on, every field with its unit.

Light on purpose (no torch): a command line reads it before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracker.config_merge import merge
from tracker.errors import ConfigError
from tracker.files import suggest
from tracker.settings import LARGEST, Checked, setting
from tracker.training.config import TrainConfig
from tracker.yaml_files import read_yaml

MODALITIES = ("image", "text")
ENERGIES = ("cosine", "euclidean", "dot")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class PartConfig(Checked):
    """A named part with its arguments: an encoder, a loss or a miner.

    Attributes:
        name: In the registry of its kind.
        options: Arguments of its class.
    """

    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InputConfig(Checked, section="model.input"):
    """What an encoder reads.

    Attributes:
        modality: image or text.
        width, height: Images: size in pixels that every picture is brought to.
        gray: Images: whether colour is dropped.
        fit: Images: stretch (to width and height) or pad (keeps the shape, the rest is filled with the border's mean
            colour).
        mirror: Images: whether an embedding is the mean of those of the picture and of its mirror image (twice the
            time).
        context: Placing: side of the square that is compared, as a share of the longer side of the thing; its
            surroundings help to find it. Of no importance for an embedding.
        unit: Texts: word or char, what a token is.
        max_tokens: Texts: later tokens are cut off.
        buckets: Texts: rows of the embedding table that words and character n-grams are hashed to.
        grams: Texts: lengths of the character n-grams of a word, from and to; [0, 0]: none.
        gram_limit: Texts: n-grams of a word at most.
    """

    modality: str = setting("image", choices=MODALITIES)
    width: int = setting(112, 1, 65535, "pixels")
    height: int = setting(112, 1, 65535, "pixels")
    gray: bool = False
    fit: str = setting("stretch", choices=("stretch", "pad"))
    mirror: bool = False
    context: float = setting(1.0, 1, 1000)
    unit: str = setting("word", choices=("word", "char"))
    max_tokens: int = setting(40, 1, LARGEST)
    buckets: int = setting(20000, 1, LARGEST)
    grams: list[int] = field(default_factory=lambda: [3, 5])
    gram_limit: int = 24


@dataclass(frozen=True)
class MatchModel(Checked, section="model"):
    """What a matcher's file says of itself.

    Attributes:
        input: What the encoder reads.
        encoder: Of both sides of a pair.
        second: Of the other side, where the weights are not tied (cross-modal pairs); its name is empty for tied twins.
        energy: cosine, euclidean (minus the squared distance) or dot, as in the tracker.
    """

    input: InputConfig = field(default_factory=InputConfig)
    encoder: PartConfig = field(default_factory=lambda: PartConfig("cnn"))
    second: PartConfig = field(default_factory=PartConfig)
    energy: str = setting("cosine", choices=ENERGIES)

    @property
    def tied(self) -> bool:
        """Whether both sides of a pair go through the same weights."""
        return not self.second.name


@dataclass(frozen=True)
class AugmentConfig(Checked, section="data.augment"):
    """How much two views of a picture differ in training. Lengths are shares of the picture's side.

    Attributes:
        rotate: Largest turn, degrees.
        scale: Largest factor on the size, as a logarithm (0.2: 0.82 to 1.22), each axis by a factor of its own.
        shear: Largest shear.
        shift: Largest shift.
        warp: Elastic displacement, standard deviation.
        flip: Whether pictures are mirrored at random.
        light: Largest change of brightness and contrast.
        noise: Standard deviation of pixel noise, gray levels.
        stroke: Share of pictures whose dark lines become a pixel thicker or thinner (drawings).
        erase: Share of pictures with a gray rectangle over a part.
        tone: Share of pictures whose gray levels go through a random curve, half of them inverted. Light, noise,
            erase and tone differ between the two sides of aligned pictures: nothing of them may tell which belong
            together.
    """

    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    warp: float = 0.0
    flip: bool = False
    light: float = 0.0
    noise: float = 0.0
    stroke: float = 0.0
    erase: float = 0.0
    tone: float = 0.0


@dataclass(frozen=True)
class DataConfig(Checked, section="data"):
    """The material; see `tracker.matching.sources`.

    Attributes:
        root: Folder that paths are relative to.
        sources: Parts, each a mapping as in `sources.SourceConfig`.
        classes: Classes in one batch.
        samples: Pictures of each class in one batch.
        siblings: Share of the classes of a batch that come from one parent folder (an alphabet, a make of car):
            look-alikes.
        turns: Quarter turns that make new classes (1: none, 4: each class counts four times).
        folds, fold: Cross-validation by identity: one of `folds` parts of the classes is kept from training; 1: none
            is.
        augment: How much views differ.
        words: Texts: share of the words that are dropped in training.
    """

    root: str = "data"
    sources: list[dict[str, Any]] = field(default_factory=list)
    classes: int = setting(16, 2, LARGEST)
    samples: int = setting(4, 1, LARGEST)
    siblings: float = 0.0
    turns: int = 1
    folds: int = setting(1, 1, LARGEST)
    fold: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    words: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.turns not in (1, 2, 4):
            raise ConfigError(f"data.turns is {self.turns}; it must be 1, 2 or 4 quarter turns.")
        if not 0 <= self.fold < self.folds:
            raise ConfigError(f"data.fold is {self.fold} of {self.folds} folds; it counts from 0.")


@dataclass(frozen=True)
class LossConfig(Checked, section="loss"):
    """What is trained.

    Attributes:
        name: One of `losses.LOSSES`.
        options: Arguments of the loss.
        miner: Which pairs or triplets count; empty: all.
        memory: Embeddings of earlier batches that take part (cross-batch memory); 0: none.
    """

    name: str = "multi-similarity"
    options: dict[str, Any] = field(default_factory=dict)
    miner: PartConfig = field(default_factory=PartConfig)
    memory: int = 0


@dataclass(frozen=True)
class MatchConfig(Checked):
    """One recipe of a matcher.

    Attributes:
        name: Of the model.
        model, data, loss: See their classes.
        start: A matcher whose weights the run begins with, by name or file; empty: fresh weights.
        train: The run itself, as for trackers (`tracker.training.config`); batch_size counts
            pairs or triplets; of classes, a batch is data.classes x data.samples.
        test: What `match test` measures: a mapping as in `protocols.TestConfig`.
    """

    name: str = "matcher"
    model: MatchModel = field(default_factory=MatchModel)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    start: str = ""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(channels_last=False, precision="fp32", validate_every=0)
    )
    test: dict[str, Any] = field(default_factory=dict)


def find_recipe(name_or_file: str | Path) -> Path:
    """The file of a recipe by its path, or by the name of a shipped one (`match-omniglot`).

    Raises:
        ConfigError: Neither.
    """
    path = Path(name_or_file)
    if path.is_file():
        return path
    folders = [REPOSITORY / "tracker" / "recipes", REPOSITORY / "configs"]
    known = {file.stem: file for folder in folders for file in sorted(folder.glob("match-*.yaml"))}
    if str(name_or_file) in known:
        return known[str(name_or_file)]
    raise ConfigError(
        f"The recipe {str(name_or_file)!r} is neither a file nor a shipped one ({', '.join(known) or 'none'})."
        + suggest(str(name_or_file), known)
    )


def load_recipe(name_or_file: str | Path, overrides: Sequence[str] = ()) -> MatchConfig:
    """A recipe with `key=value` changes.

    Raises:
        ConfigError: It is missing, malformed, or holds an unknown key.
    """
    path = find_recipe(name_or_file)
    return merge(MatchConfig(), read_yaml(path), overrides, where=str(path))
