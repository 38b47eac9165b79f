"""Access control of the page: the address it listens on, the token, and the checks of Host and Origin."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tracker.errors import SiamTrackError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8765
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Address:
    """The address that the page listens on. Port 0: any free one."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT

    @property
    def loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `HOST`, `:PORT`, `PORT` or `[IPv6]:PORT` -> Address; nothing -> the default.

    Raises:
        SiamTrackError: It has none of these forms.
    """
    text = text.strip()
    if not text:
        return Address()
    wrong = SiamTrackError(
        f"{text!r} is not an address to listen on; give HOST:PORT such as 127.0.0.1:{DEFAULT_PORT}, "
        "or --web alone (and the source before it)."
    )
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise wrong
        port = rest[1:]
    elif text.count(":") > 1:
        host, port = text, ""
    elif text.isdigit():
        host, port = "", text
    else:
        host, _, port = text.partition(":")
    if port and not (port.isdigit() and int(port) < 65536):
        raise wrong
    if host and not all(c.isalnum() or c in "-.:%_" for c in host):
        raise wrong
    if ":" in host:
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            raise wrong from None
    return Address(host or DEFAULT_HOST, int(port) if port else DEFAULT_PORT)


def bracketed(host: str) -> str:
    """A host as a URL writes it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def reachable_name(host: str) -> str:
    """A name under which other machines reach this one when it listens on every interface (0.0.0.0 or ::)."""
    if host not in ("0.0.0.0", "::"):
        return host
    family, probe = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((probe, 9))  # UDP: nothing is sent, the system only chooses the interface
            return str(sock.getsockname()[0])
    except OSError:
        return socket.gethostname()


def well_formed(header: str | None, origin: bool = False) -> bool:
    """Whether a Host header (RFC 9110, 7.2), or an Origin (RFC 6454, 7), is valid or absent."""
    if header is None or (origin and header == "null"):
        return True
    try:
        parts = urlsplit(header if origin else f"//{header}")
        parts.port  # noqa: B018  (a port that is not a number raises here)
        name = parts.hostname
    except ValueError:
        return False
    rest = parts.path or parts.query or parts.fragment or parts.username is not None or (origin and not parts.scheme)
    return bool(name) and not rest and all(c.isalnum() or c in "-._~:%" for c in str(name))


@dataclass(frozen=True)
class Guard:
    """The checks that every request must pass.

    Attributes:
        address: The address that the page listens on. On loopback no token is needed, but the Host header must name
            this machine, so that another web site can't reach the tracker by pointing its own host name here (DNS
            rebinding).
        token: Required as query parameter or cookie; None on loopback.
    """

    address: Address
    token: str | None = field(default=None, repr=False)

    @classmethod
    def for_address(cls, address: Address) -> Guard:
        """No token on loopback, a fresh random one (192 bits) anywhere else."""
        return cls(address, None if address.loopback else secrets.token_urlsafe(24))

    def url(self, port: int) -> str:
        """The address to open, with the token if there is one."""
        base = f"http://{bracketed(reachable_name(self.address.host))}:{port}/"
        return f"{base}?token={self.token}" if self.token else base

    def host_allowed(self, host_header: str) -> bool:
        """Whether a request with this Host header may be answered."""
        if not self.address.loopback:
            return True
        if not well_formed(host_header):
            return False
        return (urlsplit(f"//{host_header}").hostname or "") in LOOPBACK_NAMES | {self.address.host}

    def token_allowed(self, given: str | None) -> bool:
        """Whether this is the token (compared in constant time), or none is needed."""
        if self.token is None:
            return True
        return given is not None and hmac.compare_digest(given.encode(errors="replace"), self.token.encode())

    @staticmethod
    def origin_allowed(origin: str | None, host_header: str) -> bool:
        """Whether a WebSocket comes from our own page. Programs that aren't browsers send no Origin."""
        if origin is None:
            return True
        if not well_formed(origin, origin=True):
            return False
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host_header.lower()
