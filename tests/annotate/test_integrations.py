"""The backends for Label Studio and CVAT, asked as those tools ask."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from tests.annotate.clips import boxes, walk
from tests.annotate.standin import Slowed
from tests.tracking.standin import ground, pixel_tracker, put, thing
from tracker.annotate.formats.label_studio import boxes_of
from tracker.errors import SiamTrackError
from tracker.geometry import iou

FOLDER = Path(__file__).parents[2] / "examples" / "integrations"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"integration_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_label_studio_asks_and_gets_a_track(tmp_path: Path) -> None:
    from aiohttp.test_utils import TestClient, TestServer

    server = load(FOLDER / "label_studio" / "server.py")
    walk(tmp_path / "upload_walk.mp4", pillar=False)
    x, y, w, h = boxes(1)[30]
    item = {
        "frame": 31,
        "enabled": True,
        "rotation": 0,
        "x": x / 3.2,
        "y": y / 2.4,
        "width": w / 3.2,
        "height": h / 2.4,
        "time": 1.2,
    }
    drawn = {
        "id": "abc", "type": "videorectangle", "from_name": "box", "to_name": "video",
        "value": {"framesCount": 60, "duration": 2.4, "sequence": [item], "labels": ["Car"]},
    }  # fmt: skip
    request = {
        "tasks": [{"id": 1, "data": {"video": "/data/upload/1/upload_walk.mp4"}}], "label_config": "<View/>",
        "project": "1.2",
        "params": {"login": None, "password": None, "context": {"result": [drawn]}},
    }  # fmt: skip

    async def talk() -> tuple[Any, Any, Any]:
        async with TestClient(TestServer(server.make_app(server.Backend(tmp_path, Slowed)))) as client:
            up = await (await client.get("/health")).json()
            version = await (await client.post("/setup", json={"project": "1.2", "schema": "<View/>"})).json()
            answer = await (await client.post("/predict", json=request)).json()
            request["tasks"][0]["data"]["video"] = "/data/../../etc/passwd.mp4"  # type: ignore[index]
            refused = await client.post("/predict", json=request)
            assert refused.status == 400 and "isn't in" in (await refused.json())["detail"]
            return up, version, answer

    up, version, answer = asyncio.run(talk())
    assert up["status"] == "UP" and version["model_version"]
    (result,) = answer["results"][0]["result"]
    assert result["id"] == "abc" and result["value"]["labels"] == ["Car"] and result["type"] == "videorectangle"
    assert iou(boxes_of(result["value"]["sequence"], 60, 320, 240), boxes(1)).min() > 0.8
    assert len(result["value"]["sequence"]) < 40, "straight lines need few items"


def test_cvat_asks_frame_by_frame(tmp_path: Path) -> None:
    main = load(FOLDER / "cvat" / "main.py")
    context = SimpleNamespace(user_data=SimpleNamespace(memory=main.Memory(pixel_tracker())), Response=SimpleNamespace)
    back = ground(seed=5)

    def ask(k: int, shapes: list[Any], states: list[Any]) -> Any:
        image = put(put(back, thing(seed=1), 40 + 3 * k, 60), thing(seed=2), 250 - 3 * k, 150)
        data = cv2.imencode(".png", image)[1]
        body = {"image": base64.b64encode(data.tobytes()).decode(), "shapes": shapes, "states": states}
        return main.handler(context, SimpleNamespace(body=json.dumps(body).encode() if k % 2 else body))

    answer = ask(0, [[40, 60, 68, 88], [250, 150, 278, 178]], [])
    for k in range(1, 8):
        assert answer.status_code == 200, answer.body
        said = json.loads(answer.body)
        answer = ask(k, said["shapes"], said["states"])
    shapes = np.array(json.loads(answer.body)["shapes"])
    true = np.array([(61, 60, 28, 28), (229, 150, 28, 28)], float)
    assert iou(np.concatenate([shapes[:, :2], shapes[:, 2:] - shapes[:, :2]], axis=1), true).min() > 0.6
    gone = ask(8, [[1, 1, 5, 5]], [{"id": "unknown"}])
    assert gone.status_code == 400 and "draw its box again" in json.loads(gone.body)["message"]
    assert main.handler(context, SimpleNamespace(body=b"{}")).status_code == 400
    with pytest.raises(SiamTrackError):
        context.user_data.memory.step(back, None, None)
