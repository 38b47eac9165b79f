"""A real server whose worker follows targets in an endless clip, and what a client of it reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestClient, TestServer

from tests.conftest import moving_square
from tests.web.standin import MatchTemplate, SingleTrackers
from tracker.media.sources.base import Source
from tracker.media.sources.latest import LatestFrameSource
from tracker.types import Frame, VideoInfo
from tracker.web.access import Address, Guard
from tracker.web.framing import split_parts
from tracker.web.hub import Hub
from tracker.web.server import Site
from tracker.web.worker import LiveWorker

CLIP, TRUTH = moving_square(16)


class Endless(Source):
    """The clip there and back again, 50 frames a second."""

    def __init__(self) -> None:
        self.info, self.at = VideoInfo("endless", CLIP[0].shape[1], CLIP[0].shape[0]), 0

    def __next__(self) -> Frame:
        time.sleep(0.02)
        self.at += 1
        return Frame(CLIP[place(self.at - 1)], self.at - 1)


def place(index: int) -> int:
    """Which picture of the clip frame `index` of `Endless` shows."""
    k = index % (2 * len(CLIP) - 2)
    return min(k, 2 * len(CLIP) - 2 - k)


def serve(
    body: Callable[[TestClient, LiveWorker], Awaitable[None]],
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    save_dir: Path | None = None,
) -> None:
    """Run `body` against a real server whose worker follows targets in `Endless`."""

    async def session() -> None:
        hub = Hub({"version": "test"})
        hub.status(early=True)  # before there is a loop: must not block later wake-ups
        source = LatestFrameSource(Endless, reconnect_for=0)
        worker = LiveWorker(source, SingleTrackers(MatchTemplate), hub, save_dir=save_dir)
        site = Site(hub, worker.submit, Guard(Address(host), token), lambda: worker.recorder.finished)
        hub.attach(asyncio.get_running_loop())
        worker.start()
        try:
            async with TestClient(TestServer(site.app), cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
                await asyncio.wait_for(body(client, worker), 30)
        finally:
            worker.stop()
            await asyncio.to_thread(worker.join)
        assert worker.error is None

    asyncio.run(session())


async def text_of(socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next text message of a kind; frames on the way are acknowledged."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT and message.json()["type"] == kind:
            return dict(message.json())
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_json({"type": "ack", "seq": split_parts(message.data)[0]["seq"]})
    raise AssertionError(f"closed before {kind}")


async def frame_of(
    socket: aiohttp.ClientWebSocketResponse, ack: bool = True
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The next frame."""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            header, parts = split_parts(message.data)
            if ack:
                await socket.send_json({"type": "ack", "seq": header["seq"]})
            return header, parts
    raise AssertionError("closed before a frame")
