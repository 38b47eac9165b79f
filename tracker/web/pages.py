"""Shared by our web servers: static files, response headers, and the exchange of the token for a cookie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import resources
from pathlib import Path

from aiohttp import web

from tracker.web.access import Guard

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def load_files(package: str) -> dict[str, bytes]:
    """The static files of a page, by name; no other file is served."""
    folder = resources.files(package) / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if Path(file.name).suffix in TYPES}


class Pages(ABC):
    """Base class of a server with a page.

    Args:
        guard: The access checks.
        files: The files of the page, by name.
        cookie: Name of the token's cookie; the port is appended, since cookies don't distinguish ports.
        images: Origin from which the page may load images, beside this server (Content-Security-Policy).
    """

    def __init__(self, guard: Guard, files: dict[str, bytes], cookie: str, images: str = "") -> None:
        self._guard, self._files, self._cookie_name, self._port = guard, files, cookie, guard.address.port
        self._headers = {
            "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'"
            f"{images}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
            "Server": "SiamTrack",
        }

    @staticmethod
    @abstractmethod
    def _refuse(status: int, text: str) -> web.Response:
        """The response for a refused request."""

    @property
    def _cookie(self) -> str:
        return f"{self._cookie_name}-{self._port}"

    def _entrance(self, request: web.Request) -> web.Response | None:
        """Opens the page with the token in its address: sets the cookie and redirects, so that the token disappears
        from address bar and history."""
        token = request.query.get("token")
        if self._guard.token is None or request.path != "/" or token is None or not self._guard.token_allowed(token):
            return None
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(self._cookie, token, httponly=True, samesite="Strict", path="/")
        return response

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        for name, value in self._headers.items():
            response.headers.setdefault(name, value)

    async def _page(self, request: web.Request) -> web.Response:
        """The page itself, or one of its files."""
        name = request.match_info.get("name", "index.html")
        if name not in self._files:
            return self._refuse(404, "There is no such file here.")
        return web.Response(body=self._files[name], content_type=TYPES[Path(name).suffix], charset="utf-8")
