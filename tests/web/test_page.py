"""The browser page without a browser: the server over real sockets, and its command line."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestClient

from tests.web.served import CLIP, TRUTH, Endless, frame_of, place, serve, text_of
from tests.web.standin import MatchTemplate, SingleTrackers
from tracker.errors import BoxError
from tracker.geometry import iou
from tracker.media.sinks.video import count_frames
from tracker.model.checkpoint import shipped_models
from tracker.tracking.tracker import SiamTracker
from tracker.web.hub import IN_FLIGHT
from tracker.web.targets import MOST_TARGETS, TargetGroup
from tracker.web.worker import LiveWorker


def test_the_page_is_told_of_damaged_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Endless, "damaged", 2, raising=False)

    async def body(client: TestClient, worker: LiveWorker) -> None:
        async with client.ws_connect("/ws") as socket:
            header, _ = await frame_of(socket)
            assert header["damaged"] == 2

    serve(body)


def test_the_token_is_asked_for() -> None:
    async def body(client: TestClient, worker: LiveWorker) -> None:
        for path in ("/", "/?token=wrong", "/static/app.js", "/ws", "/recordings/x.mp4"):
            answer = await client.get(path, allow_redirects=False)
            assert answer.status == 401 and "token" in await answer.text(), path
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect("/ws")
        answer = await client.get("/?token=secret", allow_redirects=False)
        assert answer.status == 303 and answer.headers["Location"] == "/"
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        answer = await client.get("/")
        assert answer.status == 200 and "Access-Control-Allow-Origin" not in answer.headers
        async with client.ws_connect("/ws") as socket:
            await frame_of(socket)

    serve(body, host="0.0.0.0", token="secret")


def test_what_is_served_and_to_whom() -> None:
    async def body(client: TestClient, worker: LiveWorker) -> None:
        page = await client.get("/")
        assert page.status == 200 and "default-src 'none'" in page.headers["Content-Security-Policy"]
        text = await page.text()
        assert "http://" not in text and "https://" not in text  # nothing from elsewhere
        for name in ("app.js", "stage.js", "panel.js", "link.js", "app.css", "icon.svg"):
            assert (await client.get(f"/static/{name}")).status == 200
        for path in (
            "/static/../server.py",
            "/static/%2e%2e%2fserver.py",
            "/static/nothing.js",
            "/recordings/%2e%2e%2fx",
            "/x",
        ):
            assert (await client.get(path)).status == 404, path
        assert (await client.post("/", data=b"x")).status == 405
        assert (await client.get("/", headers={"Host": "evil.example"})).status == 403
        assert (await client.get("/ws", headers={"Origin": "http://evil.example"})).status == 403
        async with client.ws_connect("/ws") as socket:
            await socket.send_str("x" * 5000)
            async for _ in socket:
                pass
            assert socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG

    serve(body)


def test_boxes_targets_and_their_errors() -> None:
    async def body(client: TestClient, worker: LiveWorker) -> None:
        async with client.ws_connect("/ws") as socket:
            header, parts = await frame_of(socket)
            assert header["tracks"] == [] and header["size"] == [160, 120] and parts["picture"][:2] == b"\xff\xd8"
            for box, words in (
                ([500, 0, 10, 10], "outside the frame"),
                ([1, 1, 0, 5], "no area"),
                ([1, 2], "four numbers"),
            ):
                await socket.send_json({"type": "target", "box": box, "seq": header["seq"]})
                notice = await text_of(socket, "notice")
                assert notice["level"] == "error" and words in notice["text"]
            await socket.send_json({"type": "target", "box": [1, 1, 9, 9], "seq": 10**9})
            assert "draw the box again" in (await text_of(socket, "notice"))["text"]
            await socket.send_json({"type": "record", "on": True})
            assert "--save-dir" in (await text_of(socket, "notice"))["text"]
            # Drawn for a third of a second: the target is taken from the held frame, and is where it should be at once.
            header, _ = await frame_of(socket)
            await socket.send_json({"type": "hold", "seq": header["seq"]})
            await asyncio.sleep(0.3)
            await socket.send_json({"type": "target", "box": list(TRUTH[place(header["index"])]), "seq": header["seq"]})
            await text_of(socket, "started")
            seen = 0
            while seen < 15:
                header, parts = await frame_of(socket)
                if header["tracks"]:
                    seen += 1
                    track = header["tracks"][0]
                    assert track["state"] == "tracking" and track["score"] > 0.9
                    np.testing.assert_allclose(track["box"], TRUTH[place(header["index"])], atol=1)
                    rows, columns = header["views"]["rows"], header["views"]["columns"]
                    assert (
                        len(parts["response"]) == rows * columns
                        and max(rows, columns) <= 64
                        and {"template", "search"} <= set(parts)
                    )
            await socket.send_json({"type": "target", "box": [5, 5, 20, 20], "seq": header["seq"], "add": True})
            await socket.send_json({"type": "show", "views": False})
            while [t["id"] for t in header["tracks"]] != [0, 1] or "views" in header:
                header, parts = await frame_of(socket)
            await socket.send_json({"type": "drop", "id": 0})
            while [t["id"] for t in header["tracks"]] != [1]:
                header, parts = await frame_of(socket)
            await socket.send_json({"type": "clear"})
            while header["tracks"]:
                header, parts = await frame_of(socket)

    serve(body)


def test_a_slow_browser_gets_newer_frames_not_more() -> None:
    async def body(client: TestClient, worker: LiveWorker) -> None:
        async with client.ws_connect("/ws") as slow, client.ws_connect("/ws") as quick:
            last = -1
            for _ in range(IN_FLIGHT):
                header, _ = await frame_of(slow, ack=False)
                last = header["seq"]
            for _ in range(25):
                header, _ = await frame_of(quick)
            assert header["seq"] >= last + 15 and header["skipped"] <= 10
            backlog = 0
            while True:  # nothing was queued for the slow one meanwhile
                try:
                    backlog += (await slow.receive(timeout=0.2)).type is aiohttp.WSMsgType.BINARY
                except asyncio.TimeoutError:
                    break
            assert backlog == 0
            await slow.send_json({"type": "ack", "seq": last})
            header, _ = await frame_of(slow)
            assert header["seq"] > last + 15 and header["skipped"] >= 15

    serve(body)


def test_recording_over_the_wire(tmp_path: Path) -> None:
    async def body(client: TestClient, worker: LiveWorker) -> None:
        async with client.ws_connect("/ws") as socket:
            header, _ = await frame_of(socket)
            await socket.send_json({"type": "target", "box": list(TRUTH[place(header["index"])]), "seq": header["seq"]})
            await socket.send_json({"type": "record", "on": True})
            for _ in range(12):
                await frame_of(socket)
            await socket.send_json({"type": "record", "on": False})
            status: dict[str, Any] = {}
            while not status.get("recordings"):
                status = await text_of(socket, "status")
            name = next(n for n in status["recordings"] if n.endswith(".mp4"))
            answer = await client.get(f"/recordings/{name}")
            assert answer.status == 200 and (await answer.read()) == (tmp_path / name).read_bytes()
            assert count_frames(tmp_path / name) == len(
                {r["frame"] for r in csv.DictReader((tmp_path / name).with_suffix(".csv").open())}
            )

    serve(body, save_dir=tmp_path)


def test_targets_of_the_shipped_model_join_and_leave() -> None:
    if "siamtrack-n" not in shipped_models():
        pytest.skip("no weights are shipped")
    group = TargetGroup(SiamTracker.from_pretrained("siamtrack-n", "cpu", engine="onnxruntime"))
    first = group.add(CLIP[0], TRUTH[0])
    second = group.add(CLIP[0], np.array([90.0, 10, 30, 30]), passed=CLIP[1:5])
    tracks = group.update(CLIP[5])
    assert [t.target_id for t in tracks] == group.ids() == [first, second] == [0, 1]
    seen = group.views()
    assert (
        seen is not None
        and seen[0] == first
        and group.drop(first)
        and not group.drop(first)
        and group.ids() == [second]
    )
    group.renumber()
    assert group.ids() == [second] and group.drop(second) and group.views() is None
    group.renumber()
    assert group.add(CLIP[0], TRUTH[0], passed=CLIP[1:8]) == 0
    assert iou(group.update(CLIP[8])[0].box, TRUTH[8]) > 0.5


def test_there_is_an_end_of_targets() -> None:
    group = SingleTrackers(MatchTemplate)
    for _ in range(MOST_TARGETS):
        group.add(CLIP[0], TRUTH[0])
    with pytest.raises(BoxError, match="remove one first"):
        group.add(CLIP[0], TRUTH[0])


# The command
