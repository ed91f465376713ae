"""Who may ask, and what every answer forbids the browser."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import text_of, told

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, forms of our own would have the origin "null"
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
OWN_HEADER = "x-hivemind"
"""With this header, whatever it says, a program says that it is no page of another site: forms cannot send it."""
MAX_HEADERS = 100
MAX_HEAD = 16 * 1024
"""Bytes of a request's address and headers."""


def is_change(method: str) -> bool:
    """Whether a request with that method may change something."""
    return method not in ("GET", "HEAD", "OPTIONS")


class Guard:
    """Refuses foreign hosts and foreign changes with 403, and puts the security headers on every answer.

    What is not from ``/static/`` is kept in no cache. With ``addresses`` each host that is written as an address, and
    is no name, is ours: a foreign page has a name, or an address of its own.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], *, addresses: bool = False) -> None:
        self._app, self._addresses = app, addresses
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, 403 or 431, or pass on what may pass."""
        if scope["type"] != "http":
            return
        caching = "no-cache" if scope["path"].startswith("/static/") else "no-store"

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", caching)
            await send(message)

        headers = Headers(scope=scope)
        answer = _misshapen(scope, headers) or self._refusal(scope, headers)
        await (answer or self._app)(scope, receive, told(scope, guarded))

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(_host(hosts[0])):
            return _no(403, "this page is not served under that host name")
        if is_change(scope["method"]):
            return _foreign_change(headers, hosts[0])
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_link(headers, scope["path"]):
            return _no(403, "another site can link to this page, and nothing else")
        return None

    def _is_ours(self, host: str) -> bool:
        return host in self._hosts or (self._addresses and _is_address(host))


def _misshapen(scope: Scope, headers: Headers) -> Response | None:
    """The answer to a request that another server on its way may read otherwise than we do, or that is too long."""
    length = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(n) + len(v) + 4 for n, v in headers.raw)
    if length > MAX_HEAD or len(headers.raw) > MAX_HEADERS:
        return _no(431, f"a request has at most {MAX_HEADERS} headers, and {MAX_HEAD:,} bytes of them")
    framing = headers.getlist("content-length"), headers.getlist("transfer-encoding")
    if len(framing[0]) + len(framing[1]) > 1:
        return _no(400, "a body has one length")
    if not is_change(scope["method"]) and (framing[0] not in ([], ["0"]) or framing[1]):
        return _no(400, "what is only read has no body")
    return None


def _foreign_change(headers: Headers, host: str) -> Response | None:
    """The answer to a change that does not show that it comes from our own page, or from no page at all."""
    origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
    if any(not _is_of(origin, host) for origin in origins) or any(site != "same-origin" for site in sites):
        return _no(403, "a change from another site is refused")
    is_program = OWN_HEADER in headers or headers.get("authorization", "").lower().startswith("bearer ")
    if not (origins or sites or is_program):
        return _no(403, "a change has to say that it is from no page of another site", "add the header X-Hivemind: 1")
    return None


def _is_address(host: str) -> bool:
    """Whether it is one as browsers write them: they name no interface, after which anything may stand."""
    if "%" in host:
        return False
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _is_link(headers: Headers, path: str) -> bool:
    """Whether a person followed a link; to a stream of events nobody links."""
    is_followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return is_followed and not path.startswith("/events/")


def _no(status: int, why: str, todo: str = "") -> Response:
    """A refusal; what follows on this connection may be the rest of what was refused, so it ends."""
    return PlainTextResponse(text_of(why, todo), status, headers={"Connection": "close"})


def _is_of(origin: str, host: str) -> bool:
    """Whether an Origin header names ``host``."""
    try:
        parts = urlsplit(origin)
    except ValueError:  # it is no URL
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _host(header: str) -> str:
    """The host of a Host header without its port, in lower case; ``[::1]`` keeps its brackets."""
    host, colon, port = header.rpartition(":")
    return (host if colon and port.isdigit() and not header.endswith("]") else header).lower().rstrip(".")
