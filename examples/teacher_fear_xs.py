"""FEAR-XS (Borsuk et al., ECCV 2022; MIT) as a teacher: what `train.data.cache.peer` asks of another tracker.

PYTHONPATH=examples siamtrack prepare --config RECIPE train.data.cache.peer=teacher_fear_xs:FearXS \
    'train.data.cache.peer_files=[fear_xs_init.onnx, fear_xs_track.onnx]'

The two networks are not part of this project. The first makes features of a template (1, 3, 128, 128), the second gives
`cls` (1, 1, 16, 16) and `bbox` (1, 4, 16, 16; left, top, right, bottom of each cell) for a search (1, 3, 256, 256).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tracker.training.data.peers import Answer
from tracker.types import Image

TEMPLATE, SEARCH, CELLS, STRIDE = 128, 256, 16, 16  # pixels, pixels, cells of a side, pixels
TEMPLATE_SIDES, SEARCH_SIDES = 1.4, 5.0  # what the crops show, in sides of the target: both are stretched to squares
MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # of RGB


class FearXS:
    """Asked about a template in some searches; see `tracker.training.data.peers.Peer`.

    Args:
        files: The networks of the template and of the search.
    """

    def __init__(self, files: Sequence[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.template, self.search = (
            onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]) for file in files
        )

    def __call__(self, template: Image, size: NDArray[np.float32], searches: Sequence[Image]) -> Iterator[Answer]:
        """One answer for each search."""
        sides = np.asarray(size, np.float64) * SEARCH_SIDES
        (features,) = self.template.run(None, {"image": cut(template, size * TEMPLATE_SIDES, TEMPLATE)})
        cells = (np.arange(CELLS) - CELLS // 2) * STRIDE
        scale = sides / SEARCH  # pixels of our search in one of its own
        for search in searches:
            inputs = {"image": cut(search, sides, SEARCH), "template_features": features}
            around, score = self.search.run(["bbox", "cls"], inputs)
            x, y = np.meshgrid(cells, cells)
            left, top, right, bottom = around[0]
            boxes = np.stack([x - left, y - top, x + right, y + bottom]) * np.tile(scale, 2)[:, None, None]
            middle = search.shape[0] / 2
            yield Answer(score[0, 0], cells * scale[0] + middle, cells * scale[1] + middle, boxes + middle)


def cut(picture: Image, sides: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """(1, 3, size, size) RGB around the middle of a picture, less the mean; its mean colour where it ends.

    Args:
        picture: BGR, square.
        sides: Width and height of what is shown, in its pixels.
        size: Side of the crop.
    """
    step = np.asarray(sides, np.float64) / size
    corner = picture.shape[0] / 2 - size * step / 2 + step / 2 - 0.5  # the place of the crop's first pixel
    matrix = np.array([[step[0], 0, corner[0]], [0, step[1], corner[1]]])
    fill = picture.reshape(-1, 3).mean(0).tolist()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    return np.ascontiguousarray((crop[:, :, ::-1] - MEAN).transpose(2, 0, 1)[None], dtype=np.float32)
