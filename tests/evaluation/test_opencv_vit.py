"""`opencv:vit` is measured at its best: its network gets RGB and ImageNet's deviations, whatever OpenCV does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tracker.evaluation import baselines
from tracker.evaluation.baselines import DEVIATIONS, QUATERNION, OpenCVBaseline, inverts_quaternions

MEANS = (0.485, 0.456, 0.406)
COLOUR = (150, 200, 255)  # BGR

needs_vit = pytest.mark.skipif(not hasattr(cv2, "TrackerVit_create"), reason="this OpenCV has no TrackerVit")


def network(folder: Path, channel: int) -> Path:
    """A network with the inputs and outputs of ViTTrack whose score is the mean of one channel of the search window."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def const(name: str, values: Any) -> Any:
        return numpy_helper.from_array(np.asarray(values), name)

    nodes = [
        helper.make_node("AveragePool", ["search"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("AveragePool", ["template"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Mul", ["small", "zero"], ["nothing"]),
        helper.make_node("Add", ["cells", "nothing"], ["both"]),  # so that the template is no idle input
        helper.make_node("Conv", ["both", "pick"], ["output1"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["both", "two"], ["none"], kernel_shape=[1, 1]),
        helper.make_node("Add", ["none", "half"], ["output2"]),
        helper.make_node("Add", ["none", "half"], ["output3"]),
    ]
    pick = np.zeros((1, 3, 1, 1), np.float32)
    pick[0, channel] = 0.25  # keeps the score below 1
    weights = [
        const("zero", np.zeros((1, 1, 1, 1), np.float32)),
        const("pick", pick),
        const("two", np.zeros((2, 3, 1, 1), np.float32)),
        const("half", np.full((1, 2, 1, 1), 0.2, np.float32)),
    ]
    ports = {"template": [1, 3, 128, 128], "search": [1, 3, 256, 256]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports.items()]
    counts = {"output1": 1, "output2": 2, "output3": 2}
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 16, 16]) for n, c in counts.items()]
    graph = helper.make_graph(nodes, "vit", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folder.mkdir()
    onnx.save(model, str(folder / "vit.onnx"))
    return folder


@needs_vit
def test_the_network_sees_rgb_with_the_deviations_that_it_was_trained_with(tmp_path: Path) -> None:
    image = np.empty((240, 320, 3), np.uint8)
    image[:] = COLOUR
    ratios = []
    for channel in range(3):
        baseline = OpenCVBaseline("vit", network(tmp_path / str(channel), channel))
        baseline.init(image, np.array([100.0, 80.0, 60.0, 50.0]))
        baseline.update(image)
        expected = (COLOUR[2 - channel] / 255 - MEANS[channel]) / DEVIATIONS[channel]
        ratios.append(baseline._tracker.getTrackingScore() / expected)
    assert ratios == pytest.approx([ratios[0]] * 3, rel=0.02) and ratios[0] > 0.1


class Fake:
    """`cv2.TrackerVit` of a version: `how` inverts what is given as deviations."""

    how: Any = None

    def __init__(self, params: Any) -> None:
        self.inverse = type(self).how(np.array(params.stdvalue))

    def init(self, image: Any, box: Any) -> None:
        pass

    def update(self, image: Any) -> tuple[bool, tuple[int, ...]]:
        return True, (1, 2, 3, 4)

    def getTrackingScore(self) -> float:  # OpenCV's name
        return float(self.inverse[:3].sum())


def quaternion(q: np.ndarray) -> np.ndarray:
    return q * (1, -1, -1, -1) / (q**2).sum()


def each(q: np.ndarray) -> np.ndarray:
    return np.divide(1, q, out=np.zeros(4), where=q != 0)


@pytest.mark.parametrize(("how", "given"), [(quaternion, QUATERNION), (each, DEVIATIONS)])
def test_what_is_given_depends_on_what_the_class_does(
    how: Any, given: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Params:
        net, stdvalue = "", (0.0,) * 4

    class Version(Fake):
        pass

    Version.how = staticmethod(how)
    (tmp_path / "vit.onnx").touch()
    monkeypatch.setattr(cv2, "TrackerVit_Params", Params, raising=False)
    monkeypatch.setattr(cv2, "TrackerVit_create", Version, raising=False)
    inverts_quaternions.cache_clear()
    (params,) = OpenCVBaseline("vit", tmp_path)._params
    inverts_quaternions.cache_clear()
    assert params.stdvalue == given
    assert how(np.array(params.stdvalue))[:3] == pytest.approx(1 / np.array(DEVIATIONS[:3]), rel=2e-3)
    stock = baselines.OpenCVBaseline("vit-stock", tmp_path)._params[0]
    assert stock.stdvalue == (0.0,) * 4, "the class as it comes"
