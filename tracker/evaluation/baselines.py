"""Baselines: a box that never moves, and the trackers of the installed OpenCV."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import ConfigError, WeightsError
from tracker.types import Box, Image

CLASSES = {
    "boosting": "Boosting",
    "csrt": "CSRT",
    "dasiamrpn": "DaSiamRPN",
    "goturn": "GOTURN",
    "kcf": "KCF",
    "medianflow": "MedianFlow",
    "mil": "MIL",
    "mosse": "MOSSE",
    "nano": "Nano",
    "tld": "TLD",
    "vit": "Vit",
    "vit-stock": "Vit",
}
# The files that a tracker needs from --model-dir: attribute of its parameters -> file name patterns, first match wins.
FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "nano": {"backbone": ("*backbone*.onnx",), "neckhead": ("*neckhead*.onnx", "*head*.onnx")},
    "vit": {"net": ("*vit*.onnx",)},
    "vit-stock": {"net": ("*vit*.onnx",)},
    "dasiamrpn": {"model": ("*model*.onnx",), "kernel_cls1": ("*cls1*.onnx",), "kernel_r1": ("*r1*.onnx",)},
    "goturn": {"modelTxt": ("*.prototxt",), "modelBin": ("*.caffemodel",)},
}


class StillBox:
    """Always reports the first box: the lower bound for any tracker."""

    def init(self, image: Image, box: Box) -> None:
        self._box = np.asarray(box, dtype=np.float64)

    def update(self, image: Image) -> Box:
        return self._box


class OpenCVBaseline:
    """One of OpenCV's trackers behind `init` and `update`.

    OpenCV's boxes are whole pixels, in and out. If it reports that it has lost the target, the box is its last one, and
    `lost` is True. MIL seeds its random numbers by the clock, so its boxes differ from run to run; the others are
    deterministic.

    "vit" gets the input that its network was trained with. `cv2.TrackerVit` of OpenCV 5.0 inverts `stdvalue` as a
    quaternion, (a, -b, -c, -d) / |q|^2, instead of element by element as 5.1 does, and all versions take the frames'
    BGR for RGB. Where it is a quaternion, which is tested (`inverts_quaternions`), stdvalue = (0.07433, -0.07599,
    -0.07565, 0) makes that inverse equal to 1 / (0.229, 0.224, 0.225), the ImageNet deviations. The frames are
    converted to RGB here. "vit-stock" is the class without these corrections.

    Args:
        name: Key of `CLASSES`.
        model_dir: Folder with the model files of trackers that need some (nano, vit, dasiamrpn, goturn).

    Raises:
        ConfigError: The installed OpenCV hasn't got the tracker.
        WeightsError: A model file is missing.
    """

    def __init__(self, name: str, model_dir: str | Path | None = None) -> None:
        self.name = name
        self._params = _parameters(name, model_files(name, model_dir))
        self._create = factory(name)
        self._rgb = name == "vit"
        self.lost = False

    def init(self, image: Image, box: Box) -> None:
        self._tracker = self._create(*self._params)
        x, y, w, h = (round(float(v)) for v in box)
        self._box: NDArray[np.float64] = np.asarray(box, dtype=np.float64)
        self._tracker.init(self._frame(image), (x, y, max(w, 1), max(h, 1)))
        self.lost = False

    def update(self, image: Image) -> Box:
        found, box = self._tracker.update(self._frame(image))
        self.lost = not found
        if box is not None and box[2] > 0 and box[3] > 0:
            self._box = np.asarray(box, dtype=np.float64)
        return self._box

    def _frame(self, image: Image) -> Image:
        return np.ascontiguousarray(image[..., ::-1]) if self._rgb else image


def factory(name: str) -> Any:
    """OpenCV's factory function of a tracker.

    Raises:
        ConfigError: There is no such tracker, or not in the installed OpenCV.
    """
    import cv2

    if name not in CLASSES:
        raise ConfigError(
            f"There is no OpenCV tracker {name!r}; known are {', '.join(CLASSES)}. Write for example --tracker "
            "opencv:csrt."
        )
    for module in (cv2, getattr(cv2, "legacy", None)):
        create = getattr(module, f"Tracker{CLASSES[name]}_create", None)
        if create is not None:
            return create
    present = [key for key, value in CLASSES.items() if _has(value)]
    contrib = (
        ""
        if name in ("goturn", "nano", "vit", "vit-stock", "dasiamrpn", "mil")
        else (f" {CLASSES[name]} comes with the package opencv-contrib-python, which takes the place of opencv-python.")
    )
    raise ConfigError(
        f"OpenCV {cv2.__version__}, as installed, has no tracker {CLASSES[name]}; it has {', '.join(present)}.{contrib}"
    )


def _has(name: str) -> bool:
    import cv2

    return any(hasattr(module, f"Tracker{name}_create") for module in (cv2, getattr(cv2, "legacy", None)))


def model_files(name: str, model_dir: str | Path | None) -> dict[str, Path]:
    """Parameter name -> model file of a tracker that needs some; empty for the others. Several folders are separated by
    line ends.

    Raises:
        WeightsError: No folder was given, or a file isn't in it.
    """
    wanted = FILES.get(name, {})
    if not wanted:
        return {}
    patterns = ", ".join(p[0] for p in wanted.values())
    if model_dir is None:
        raise WeightsError(f"opencv:{name} needs model files ({patterns}); give their folder with --model-dir DIR.")
    folders = [Path(line) for line in str(model_dir).splitlines()]
    places = ", ".join(map(str, folders))
    found: dict[str, Path] = {}
    for key, options in wanted.items():
        match = next(
            (f for pattern in options for d in folders for f in sorted(d.glob(pattern)) if f not in found.values()),
            None,
        )
        if match is None:
            raise WeightsError(
                f"opencv:{name} needs a file {options[0]}, and there is none in {places}; --model-dir names its folder."
            )
        found[key] = match
    return found


def _parameters(name: str, files: dict[str, Path]) -> tuple[Any, ...]:
    import cv2

    if not files:
        return ()
    factory(name)
    params = getattr(cv2, f"Tracker{CLASSES[name]}_Params")()
    for key, path in files.items():
        setattr(params, key, str(path))
    if name == "vit":
        params.stdvalue = QUATERNION if inverts_quaternions(str(files["net"])) else DEVIATIONS
    return (params,)


DEVIATIONS, QUATERNION = (0.229, 0.224, 0.225, 0.0), (0.07433, -0.07599, -0.07565, 0.0)
"""The standard deviations that the network of "vit" was trained with, and the numbers whose quaternion inverse gives
them."""


@cache
def inverts_quaternions(net: str) -> bool:
    """Whether `cv2.TrackerVit` treats `stdvalue` as a quaternion.

    A fourth number changes the inverse of a quaternion; element by element it is the value of a channel that no image
    has.

    Args:
        net: The network's file.
    """
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    seen = []
    for fourth in (0.0, 1.0):
        params = cv2.TrackerVit_Params()  # type: ignore[attr-defined]
        params.net, params.stdvalue = net, (*DEVIATIONS[:3], fourth)
        tracker = cv2.TrackerVit_create(params)  # type: ignore[attr-defined]
        tracker.init(image, (60, 60, 40, 40))
        found, box = tracker.update(image)
        seen.append((found, tuple(box), tracker.getTrackingScore()))
    return seen[0] != seen[1]
