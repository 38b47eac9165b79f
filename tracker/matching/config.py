"""The recipe of a matcher: data, model and training settings, every field with its unit.

Imports no torch: command lines read it before anything heavy is imported.
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
    """The input of an encoder.

    Attributes:
        modality: image or text.
        width, height: Images: size in pixels that every image is resized to.
        gray: Images: whether colour is dropped.
        fit: Images: stretch (to width and height) or pad (keeps the aspect ratio and fills the rest with the border's
            mean colour).
        mirror: Images: whether an embedding is the mean of those of the image and of its mirror image (twice the time).
        context: Placing: side of the square that is compared, as a fraction of the longer side of the object; its
            surroundings help to locate it. Irrelevant for an embedding.
        unit: Texts: word or char, the kind of token.
        max_tokens: Texts: further tokens are cut off.
        buckets: Texts: rows of the embedding table that words and character n-grams are hashed to.
        grams: Texts: minimum and maximum length of the character n-grams of a word; [0, 0]: none.
        gram_limit: Texts: greatest number of n-grams of a word.
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
    """The architecture, as stored in a matcher's file.

    Attributes:
        input: The input of the encoder.
        encoder: The encoder of both sides of a pair.
        second: The encoder of the other side, if weights are not shared (cross-modal pairs); its name is empty for
            shared weights.
        energy: cosine, euclidean (minus the squared distance) or dot, as in the tracker.
    """

    input: InputConfig = field(default_factory=InputConfig)
    encoder: PartConfig = field(default_factory=lambda: PartConfig("cnn"))
    second: PartConfig = field(default_factory=PartConfig)
    energy: str = setting("cosine", choices=ENERGIES)

    @property
    def tied(self) -> bool:
        """Whether both sides of a pair share their weights."""
        return not self.second.name


@dataclass(frozen=True)
class MatchAugmentConfig(Checked, section="data.augment"):
    """Augmentation in training. Lengths are fractions of the image's side.

    Attributes:
        rotate: Largest rotation, degrees.
        scale: Largest scale factor, as a logarithm (0.2: 0.82 to 1.22), drawn for each axis.
        shear: Largest shear.
        shift: Largest shift.
        warp: Elastic displacement, standard deviation.
        flip: Whether images are mirrored at random.
        light: Largest change of brightness and contrast.
        noise: Standard deviation of pixel noise, gray levels.
        stroke: Fraction of images whose dark lines become a pixel thicker or thinner (drawings).
        erase: Fraction of images with a gray rectangle over a part.
        tone: Fraction of images whose gray levels go through a random curve, half of them inverted. Brightness, noise,
            erasing and tone are drawn independently for the two sides of aligned images, so that they don't reveal
            which ones belong together.
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
class MatchDataConfig(Checked, section="data"):
    """The material; see `tracker.matching.sources`.

    Attributes:
        root: Folder that paths are relative to.
        sources: List of sources, each a mapping as in `sources.SourceConfig`.
        classes: Classes in one batch.
        samples: Images per class in one batch.
        siblings: Fraction of the classes of a batch that come from one parent folder (an alphabet, a make of car):
            look-alikes.
        turns: Number of quarter turns that count as new classes (1: none, 4: each class counts four times).
        folds, fold: Cross-validation by identity: one of `folds` parts of the classes is held out from training; 1:
            none.
        augment: Augmentation.
        words: Texts: fraction of the words that are dropped in training.
    """

    root: str = "data"
    sources: list[dict[str, Any]] = field(default_factory=list)
    classes: int = setting(16, 2, LARGEST)
    samples: int = setting(4, 1, LARGEST)
    siblings: float = 0.0
    turns: int = 1
    folds: int = setting(1, 1, LARGEST)
    fold: int = 0
    augment: MatchAugmentConfig = field(default_factory=MatchAugmentConfig)
    words: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.turns not in (1, 2, 4):
            raise ConfigError(f"data.turns is {self.turns}; it must be 1, 2 or 4 quarter turns.")
        if not 0 <= self.fold < self.folds:
            raise ConfigError(f"data.fold is {self.fold} of {self.folds} folds; it counts from 0.")


@dataclass(frozen=True)
class MatchLossConfig(Checked, section="loss"):
    """The loss and its sampling.

    Attributes:
        name: One of `losses.LOSSES`.
        options: Arguments of the loss.
        miner: Selection of pairs or triplets; empty: all.
        memory: Number of embeddings of earlier batches to compare with (cross-batch memory); 0: none.
    """

    name: str = "multi-similarity"
    options: dict[str, Any] = field(default_factory=dict)
    miner: PartConfig = field(default_factory=PartConfig)
    memory: int = 0


@dataclass(frozen=True)
class MatchConfig(Checked):
    """One recipe of a matcher.

    Attributes:
        name: Name of the model.
        model, data, loss: See their classes.
        start: A matcher whose weights initialise the run, by name or file; empty: random weights.
        train: Settings of the run, as for trackers (`tracker.training.config`); batch_size counts pairs or triplets;
            for classes, a batch is data.classes x data.samples.
        test: Settings of `match test`: a mapping as in `protocols.TestConfig`.
    """

    name: str = "matcher"
    model: MatchModel = field(default_factory=MatchModel)
    data: MatchDataConfig = field(default_factory=MatchDataConfig)
    loss: MatchLossConfig = field(default_factory=MatchLossConfig)
    start: str = ""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(channels_last=False, precision="fp32", validate_every=0)
    )
    test: dict[str, Any] = field(default_factory=dict)


def find_recipe(name_or_file: str | Path) -> Path:
    """The file of a recipe by its path, or by the name of a shipped one (`match-omniglot`).

    Raises:
        ConfigError: There is no such file or recipe.
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
    """Reads a recipe and applies `key=value` overrides.

    Raises:
        ConfigError: It is missing, malformed, or contains an unknown key.
    """
    path = find_recipe(name_or_file)
    return merge(MatchConfig(), read_yaml(path), overrides, where=str(path))
