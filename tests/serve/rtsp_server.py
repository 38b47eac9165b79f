"""A small RTSP server for tests: one H.264 stream, RTP within the TCP connection (RFC 2326, 10.12; RFC 6184)."""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Sequence

LARGEST = 1200
"""Bytes of a NAL unit that go into one RTP packet; longer ones are cut into FU-A fragments."""


class RtspServer:
    """Serves encoded pictures in a loop to any number of clients.

    Args:
        packets: Annex B access units; the first is a key frame with its parameter sets.
        rate: Pictures a second.
        user: `name:password` that is asked for (Basic), or nothing.
    """

    def __init__(self, packets: Sequence[bytes], rate: int = 25, user: str = "") -> None:
        self._pictures = [re.split(rb"\x00\x00\x00?\x01", packet)[1:] for packet in packets]
        self._rate, self._user = rate, base64.b64encode(user.encode()).decode() if user else ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.plays = 0
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def drop_clients(self) -> None:
        """Breaks off all connections."""
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._clients.clear()

    def close(self) -> None:
        """No more clients."""
        self._listener.close()
        self.drop_clients()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines, contextlib.suppress(OSError):
            while request := lines.readline().decode():
                method, headers = request.split()[0], {}
                while line := lines.readline().decode().strip():
                    key, _, value = line.partition(":")
                    headers[key.lower()] = value.strip()
                self._answer(client, method, headers)
                if method == "TEARDOWN":
                    return

    def _answer(self, client: socket.socket, method: str, headers: dict[str, str]) -> None:
        status, more, body = "200 OK", [f"CSeq: {headers.get('cseq', '0')}", "Session: 1"], ""
        if self._user and headers.get("authorization") != f"Basic {self._user}":
            status, more = "401 Unauthorized", [*more, 'WWW-Authenticate: Basic realm="test"']
        elif method == "OPTIONS":
            more.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            sets = ",".join(base64.b64encode(nal).decode() for nal in self._pictures[0] if nal[0] & 31 in (7, 8))
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n"
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
                f"a=fmtp:96 packetization-mode=1; sprop-parameter-sets={sets}\r\na=control:track\r\n"
            )
            more += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            more.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        client.sendall("\r\n".join([f"RTSP/1.0 {status}", *more, "", body]).encode())
        if method == "PLAY" and status.startswith("200"):
            self.plays += 1
            threading.Thread(target=self._send, args=(client,), daemon=True).start()

    def _send(self, client: socket.socket) -> None:
        numbers, began = itertools.count(), time.monotonic()
        with contextlib.suppress(OSError):
            for k in itertools.count():
                time.sleep(max(0.0, began + k / self._rate - time.monotonic()))
                parts = [part for nal in self._pictures[k % len(self._pictures)] for part in _fragments(nal)]
                for part in parts:
                    last = part is parts[-1]
                    number, stamp = next(numbers) & 0xFFFF, k * 90000 // self._rate & 0xFFFFFFFF
                    packet = struct.pack(">BBHII", 0x80, 96 | last << 7, number, stamp, 1) + part
                    client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


def _fragments(nal: bytes) -> list[bytes]:
    """A NAL unit as payloads of RTP packets."""
    if len(nal) <= LARGEST:
        return [nal]
    parts = [nal[at : at + LARGEST] for at in range(1, len(nal), LARGEST)]
    indicator = nal[0] & 0xE0 | 28
    return [
        bytes([indicator, (k == 0) << 7 | (k == len(parts) - 1) << 6 | nal[0] & 31]) + part
        for k, part in enumerate(parts)
    ]
