"""Label Studio ML backend: video rectangles in, tracked video rectangles out (see README.md)."""

from __future__ import annotations

import argparse
import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from aiohttp import web

from tracker import SiamTracker, SiamTrackError
from tracker.annotate.api import annotate
from tracker.annotate.formats.label_studio import corner, region
from tracker.annotate.frames import open_frames

VERSION = "siamtrack-1"


class Backend:
    """Answers predictions; one at a time, since they share a tracker.

    Args:
        folder: Where the videos are.
        make_tracker: Builds the tracker at the first request.
    """

    def __init__(self, folder: Path, make_tracker: Callable[[], Any] = SiamTracker.from_pretrained) -> None:
        self._folder, self._make, self._tracker = folder.resolve(), make_tracker, None
        self._lock = threading.Lock()

    def video(self, address: str) -> Path:
        """The file of a task's video, inside the folder.

        Raises:
            SiamTrackError: It isn't there.
        """
        parts = urlsplit(address)
        inside = parse_qs(parts.query).get("d", [unquote(parts.path)])[0].removeprefix("/data/")
        for guess in (inside.lstrip("/"), Path(inside).name):
            path = (self._folder / guess).resolve()
            if path.is_relative_to(self._folder) and path.is_file():
                return path
        raise SiamTrackError(
            f"The video {address!r} isn't in {self._folder}; set LABEL_STUDIO_FILES to the folder that holds it."
        )

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to `/predict`: for each task a result with every region that was drawn, filled in.

        Raises:
            SiamTrackError: A video or a box can't be used.
        """
        drawn = (request.get("params") or {}).get("context") or {}
        return {"results": [self._task(task, drawn.get("result") or []) for task in request.get("tasks", [])]}

    def _task(self, task: dict[str, Any], drawn: list[dict[str, Any]]) -> dict[str, Any]:
        given = [r for r in drawn or _drafts(task) if r.get("type") == "videorectangle" and r["value"].get("sequence")]
        if not given:
            return {"model_version": VERSION, "score": 0.0, "result": []}
        address = next(
            v for v in task["data"].values() if isinstance(v, str) and Path(urlsplit(v).path + urlsplit(v).query).suffix
        )
        path, out, scores = self.video(address), [], []
        frames = open_frames(path)
        width, height, count = frames.width, frames.height, len(frames)
        frames.close()
        with self._lock:
            if self._tracker is None:
                self._tracker = self._make()
            for one in given:
                keys: dict[int, Any] = {}
                for item in one["value"]["sequence"]:
                    k = int(item["frame"]) - 1
                    if 0 <= k < count:
                        keys[k] = corner(item, width, height)
                clip = annotate(path, keys, tracker=self._tracker)
                target = clip.targets[0]
                target.label = (one["value"].get("labels") or ["object"])[0]
                answer = region(clip, target, 0.5, one.get("from_name", "box"), one.get("to_name", "video"))
                out.append(answer | {"id": one.get("id", answer["id"]), "origin": "prediction"})
                scores.append(float(np.nanmean(target.scores)))
        return {"model_version": VERSION, "score": float(np.mean(scores)), "result": out}


def _drafts(task: dict[str, Any]) -> list[dict[str, Any]]:
    """What is drawn in a task: its newest draft or annotation."""
    for kind in ("drafts", "annotations"):
        for entry in reversed(task.get(kind) or []):
            if isinstance(entry, dict) and entry.get("result"):
                return list(entry["result"])
    return []


def make_app(backend: Backend) -> web.Application:
    """The routes that Label Studio asks for."""

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "UP", "model_class": "SiamTrack"})

    async def setup(request: web.Request) -> web.Response:
        return web.json_response({"model_version": VERSION})

    async def predict(request: web.Request) -> web.Response:
        try:
            return web.json_response(await asyncio.to_thread(backend.predict, await request.json()))
        except (SiamTrackError, KeyError, ValueError, TypeError, StopIteration) as error:
            return web.json_response({"detail": str(error)}, status=400)

    app = web.Application(client_max_size=64 << 20)
    app.add_routes(
        [web.get("/", health), web.get("/health", health), web.post("/setup", setup), web.post("/predict", predict)]
    )
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9090)
    options = parser.parse_args()
    web.run_app(
        make_app(Backend(Path(os.environ.get("LABEL_STUDIO_FILES", ".")))), host=options.host, port=options.port
    )
