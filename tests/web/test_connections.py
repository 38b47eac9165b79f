"""Whoever reaches the port without the token can't take the page away, nor fill the log."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tracker.web.access import Address, Guard, well_formed
from tracker.web.connections import ConnectionLimit, RateLimit


class Echo(asyncio.Protocol):
    """Answers each piece with itself."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


async def served(limit: ConnectionLimit, act) -> None:  # type: ignore[no-untyped-def]
    server = await asyncio.get_running_loop().create_server(limit, "127.0.0.1", 0)
    async with server:
        await act(*server.sockets[0].getsockname())


def test_half_open_requests_make_room_and_time_out() -> None:
    limit = ConnectionLimit(Echo, most=8, seconds=0.3)

    async def act(host: str, port: int) -> None:
        held = []
        for _ in range(60):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.1\r\nX: ")
            held.append((reader, writer))
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await asyncio.wait_for(reader.read(4), 5) == b"GET "
        assert len(limit) <= 8
        await asyncio.sleep(0.6)
        assert len(limit) == 1  # all but the one that asked
        for _, one in [*held, (reader, writer)]:
            one.close()

    asyncio.run(served(limit, act))


def test_those_inside_are_not_thrown_out() -> None:
    limit = ConnectionLimit(Echo, most=2, seconds=5)

    async def act(host: str, port: int) -> None:
        inside = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await reader.read(3) == b"GET"
            inside.append((reader, writer))
        reader, writer = await asyncio.open_connection(host, port)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readexactly(1)
        inside[0][1].write(b"more")
        for _, one in [*inside, (reader, writer)]:
            one.close()

    asyncio.run(served(limit, act))


def test_endless_headers_are_cut_off() -> None:
    limit = ConnectionLimit(Echo, most=4, seconds=20)

    async def act(host: str, port: int) -> None:
        _, writer = await asyncio.open_connection(host, port)
        with pytest.raises(ConnectionError):
            for _ in range(200):
                writer.write(b"X: " + b"y" * 1000)
                await writer.drain()
                await asyncio.sleep(0.001)
        assert len(limit) == 0

    asyncio.run(served(limit, act))


def test_the_log_is_not_flooded() -> None:
    few = RateLimit(5)
    let = [few.filter(logging.LogRecord("x", logging.ERROR, "", 0, "m %d", (k,), None)) for k in range(1000)]
    assert sum(let) == 5


@pytest.mark.parametrize(
    "header", ["[", "[::1", "a:b:c", "host:99999", "x y", "host/path", "user@host", "", "host?x", "\udcff"]
)
def test_malformed_hosts(header: str) -> None:
    assert not well_formed(header)
    assert not Guard.for_address(Address()).host_allowed(header)


@pytest.mark.parametrize("header", ["http://[", "nonsense", "http://a:b", "http://x/y", "http://"])
def test_malformed_origins(header: str) -> None:
    assert not well_formed(header, origin=True)
    assert not Guard.origin_allowed(header, "localhost:1")


@pytest.mark.parametrize("header", ["localhost", "localhost:80", "[::1]:8765", "192.0.2.1:8", "a-b.example"])
def test_good_hosts(header: str) -> None:
    assert well_formed(header) and well_formed(f"http://{header}", origin=True)
