"""CVAT serverless tracker in nuclio's handler interface (see README.md)."""

from __future__ import annotations

import base64
import copy
import json
import secrets
from collections import OrderedDict
from typing import Any

import cv2
import numpy as np

from tracker import SiamTracker, SiamTrackError

MOST = 256


class Memory:
    """Targets by name. The tracker is one; what it remembers of a target is taken out and put back.

    Args:
        tracker: `SiamTracker`, or anything with `init`, `update` and `target`.
    """

    def __init__(self, tracker: Any) -> None:
        self.tracker = tracker
        self._targets: OrderedDict[str, Any] = OrderedDict()

    def step(self, image: np.ndarray, shape: list[float] | None, state: Any) -> tuple[list[float], str]:
        """A frame for one target: its box as CVAT has it (x1, y1, x2, y2), and the name of its state.

        Raises:
            SiamTrackError: The box can't be tracked, or the state is unknown.
        """
        name = state.get("id") if isinstance(state, dict) else state
        if name is None:
            if shape is None or len(shape) != 4:
                raise SiamTrackError(f"The first frame of a target needs a shape x1, y1, x2, y2; this is {shape}.")
            x1, y1, x2, y2 = shape
            self.tracker.init(image, (x1, y1, x2 - x1, y2 - y1))
            name, box = secrets.token_hex(8), np.array([x1, y1, x2 - x1, y2 - y1], dtype=float)
        else:
            if name not in self._targets:
                raise SiamTrackError(
                    "What was known of this target is gone (the function was restarted); draw its box again."
                )
            self.tracker.target = self._targets[name]
            box = self.tracker.update(image).box
        self._targets[name] = copy.copy(self.tracker.target)
        self._targets.move_to_end(name)
        while len(self._targets) > MOST:
            self._targets.popitem(last=False)
        return [float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3])], name


def init_context(context: Any) -> None:
    """Called once by nuclio: load the model."""
    context.user_data.memory = Memory(SiamTracker.from_pretrained("siamtrack-s", "cpu"))


def handler(context: Any, event: Any) -> Any:
    """Called by nuclio for each request of CVAT."""
    try:
        data = event.body if isinstance(event.body, dict) else json.loads(event.body)
        pixels = np.frombuffer(base64.b64decode(data["image"]), np.uint8)
        image = cv2.imdecode(pixels, cv2.IMREAD_COLOR)
        if image is None:
            raise SiamTrackError("The image isn't a JPEG or PNG.")
        shapes, states = data.get("shapes") or [], data.get("states") or []
        count = max(len(shapes), len(states))
        out: dict[str, list[Any]] = {"shapes": [], "states": []}
        for k in range(count):
            shape, state = (shapes[k] if k < len(shapes) else None), (states[k] if k < len(states) else None)
            new_shape, name = context.user_data.memory.step(image, shape, state)
            out["shapes"].append(new_shape)
            out["states"].append({"id": name})
        status, body = 200, out
    except (SiamTrackError, KeyError, ValueError, TypeError) as error:
        status, body = 400, {"message": str(error)}  # type: ignore[dict-item]
    return context.Response(body=json.dumps(body), headers={}, content_type="application/json", status_code=status)
