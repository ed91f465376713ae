"""Who may ask, and what every answer forbids the browser."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Refuses foreign hosts and foreign changes with 403, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or pass on what may pass."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope["method"], Headers(scope=scope))

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (PlainTextResponse(refusal, 403) if refusal else self._app)(scope, receive, guarded)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _host(hosts[0]) not in self._hosts:
            return "this page is not served under that host name"
        origin = headers.get("origin")
        if method not in ("GET", "HEAD", "OPTIONS") and origin and not _is_of(origin, hosts[0]):
            return "a change from another site is refused"
        return None


def _is_of(origin: str, host: str) -> bool:
    """Whether an Origin header names ``host``."""
    try:
        return urlsplit(origin).netloc == host
    except ValueError:  # it is no URL
        return False


def _host(header: str) -> str:
    """The host of a Host header without its port, in lower case; ``[::1]`` keeps its brackets."""
    host, colon, port = header.rpartition(":")
    return (host if colon and port.isdigit() and not header.endswith("]") else header).lower().rstrip(".")
