"""The web: the page, its events and a JSON API. Nobody else imports the web framework.

The page is public to whoever reaches the port, so it can only be read, and only under names that are ours: a
foreign page that lets its own name resolve to this address is refused (DNS rebinding), and so is a request that
changes something and comes from another site. Everything the registry says is hostile text.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import orjson
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..picture.metrics import exposition
from ..picture.monitor import Monitor
from ..picture.snapshot import Snapshot
from .paging import ANSWER, PAGE, Window, to_json
from .wording import page_of

__all__ = ["BaseRoute", "Route", "Site", "make_app"]

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
MAX_VIEWERS = 100
"""Event streams at once; whoever comes then is told to try again."""
FIRST = 2.0
"""Seconds for which a question about the root's health waits for its first look at the hive."""
STREAM_TIMEOUT = 10
"""Seconds that a viewer's connection may take no byte before it is cut."""

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


@dataclass(frozen=True, slots=True)
class Site:
    """What a hive adds to the built-in page: searched, listed and merged before what is built in."""

    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "[::1]"})
    static: Sequence[Path] = ()
    templates: Sequence[Path] = ()
    routes: Sequence[BaseRoute] = ()
    context: Callable[[], Mapping[str, Any]] = field(default=dict)


def make_app(monitor: Monitor, site: Site) -> Starlette:
    """The web application. Routes of the site come first, so that a hive may replace the page itself."""
    pages = Pages(monitor, site)
    routes = [
        *site.routes,
        Route("/", pages.index),
        Route("/events", pages.events),
        Route("/api/nodes", pages.nodes),
        Route("/api/durable", pages.durable),
        Route("/healthz", pages.healthz),
        Route("/metrics", pages.metrics),
        Mount("/static", app=_static(site.static), name="static"),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=site.hosts)])


class Pages:
    """The endpoints."""

    def __init__(self, monitor: Monitor, site: Site) -> None:
        self._monitor, self._site = monitor, site
        self._templates = _templates(site.templates)
        self._encoded: tuple[Snapshot | None, dict[Window, str]] = None, {}
        self.viewers = 0

    async def index(self, request: Request) -> Response:
        """The page with its data: complete without a script."""
        try:
            window = Window.read(request.query_params, PAGE)
        except ValueError as error:
            return PlainTextResponse(str(error), 400)
        page = page_of(self._monitor.snapshot, time.time(), window)
        context = {"request": request, "page": page, **self._site.context()}
        html = self._templates.get_template("index.html").render(context)
        return Response(html, media_type="text/html", headers={"Cache-Control": "no-store"})

    async def nodes(self, request: Request) -> Response:
        """A part of the snapshot as JSON."""
        try:
            return _json(to_json(self._monitor.snapshot, Window.read(request.query_params, ANSWER)))
        except ValueError as error:
            return PlainTextResponse(str(error), 400)

    async def durable(self, _: Request) -> Response:
        """Kept topics with their groups, and what there is to say of them, as JSON."""
        return _json(self._monitor.snapshot.durable.to_json())

    async def healthz(self, _: Request) -> Response:
        """200 while the root sees the hive, 503 while Redis does not answer it. Says nothing about the nodes. Who asks
        as soon as it serves waits until it has looked, for FIRST at the most.
        """
        snapshot = await self._monitor.first(FIRST)
        sees = snapshot.read_at is not None and snapshot.silent_since is None
        return _json({"ok": sees, "health": f"{snapshot.health.sentence}."}, 200 if sees else 503)

    async def metrics(self, request: Request) -> Response:
        """The snapshot for Prometheus, in the format that it asks for."""
        body, kind = exposition(self._monitor.snapshot, request.headers.get("accept", ""))
        return Response(body, headers={"Cache-Control": "no-store", "Content-Type": kind})

    async def events(self, request: Request) -> Response:
        """Every snapshot as a server-sent event, in the words of the page."""
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return PlainTextResponse("events are for this site's own page", 403)
        if self.viewers >= MAX_VIEWERS:
            return PlainTextResponse("too many viewers", 503, headers={"Retry-After": "10"})
        try:
            return _Events(self, Window.read(request.query_params, PAGE))
        except ValueError as error:
            return PlainTextResponse(str(error), 400)

    async def stream(self, window: Window) -> AsyncIterator[ServerSentEvent]:
        """The events of one viewer; ends when the monitor closes."""
        async for snapshot in self._monitor.updates():
            yield ServerSentEvent(self._encode(snapshot, window), event="snapshot", retry=2000)

    def _encode(self, snapshot: Snapshot, window: Window) -> str:
        if self._encoded[0] is not snapshot:
            self._encoded = snapshot, {}
        known = self._encoded[1]
        if window not in known:
            known[window] = orjson.dumps(page_of(snapshot, time.time(), window)).decode()
        return known[window]


class _Events(EventSourceResponse):
    """One viewer's stream: counts as a viewer while it is served, and is cut when it takes nothing."""

    def __init__(self, pages: Pages, window: Window) -> None:
        super().__init__(pages.stream(window), send_timeout=STREAM_TIMEOUT)
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._pages.viewers += 1
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.debug("a viewer took nothing for %d s and was cut", STREAM_TIMEOUT)
        finally:
            self._pages.viewers -= 1


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


def _static(folders: Sequence[Path]) -> StaticFiles:
    """The files of ``folders``, then the built-in ones; links and ``..`` out of a folder find nothing."""
    files = StaticFiles(directory=HERE / "static")
    files.all_directories = [*folders, HERE / "static"]
    return files


def _templates(folders: Sequence[Path]) -> jinja2.Environment:
    """Templates of ``folders`` before the built-in ones, which ``hivemind/index.html`` names even when overridden."""
    built_in = jinja2.FileSystemLoader(HERE / "templates")
    loaders = [jinja2.FileSystemLoader(list(folders)), built_in, jinja2.PrefixLoader({"hivemind": built_in})]
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def _json(value: object, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(value), status, headers=headers, media_type="application/json")
