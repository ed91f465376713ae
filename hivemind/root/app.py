"""The web: the pages, their events and a JSON API. Only this room imports the web framework.

It is served only under names that are ours: a foreign page that lets its own name resolve to this address is refused
(DNS rebinding), and so is a request that changes something and comes from another site: see ``guard`` and ``gate``.
Everything the registry says is hostile text.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ..picture.asyncapi import document
from ..picture.metrics import exposition
from ..picture.monitor import Monitor
from ..picture.nodes import node_line
from .bodies import MAX_BODY, Bodies, RequestRefused
from .burying import Burying
from .changes import Changes
from .gate import Gate, refused
from .guard import Guard
from .login import Login
from .logs import Logs
from .pages import Hive, announced
from .paging import ANSWER, Window, line_to_json, to_json
from .serving import Pages
from .talking import Talking
from .tokens import Tokens
from .visitor import visitor_of

__all__ = ["BaseRoute", "Route", "Site", "make_app"]

HERE = Path(__file__).parent
FIRST = 2.0
"""Seconds for which a question about the root's health waits for its first look at the hive."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a hive adds to the built-in page: searched, listed and merged before what is built in.

    Where there are ``tokens`` there is a login. A request's body has at most ``max_body`` bytes.
    """

    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "[::1]"})
    static: Sequence[Path] = ()
    templates: Sequence[Path] = ()
    routes: Sequence[BaseRoute] = ()
    context: Callable[[], Mapping[str, Any]] = field(default=dict)
    max_body: int = MAX_BODY
    tokens: Tokens | None = None


def make_app(monitor: Monitor, site: Site, hive: Hive | None = None) -> ASGIApp:
    """The web application. Routes of the site come first, so that a hive may replace the page itself."""
    machines, templates = Machines(monitor, hive), _templates(site.templates)
    assets = frozenset(path.name for path in (HERE / "static").iterdir())
    login = Login(site.tokens, monitor.snapshot.hive, templates, assets) if site.tokens else None
    pages = Pages(monitor, templates, site.context, hive)
    routes = [
        *(login.routes() if login else ()),
        *site.routes,
        *(_of_hive(monitor, pages, hive) if hive is not None else ()),
        *pages.routes(),
        *Talking(monitor, pages, hive).routes(),
        *Burying(hive).routes(),
        Route("/api/nodes", machines.nodes),
        Route("/api/nodes/{node}", machines.node),
        Route("/api/durable", machines.durable),
        Route("/api/past", machines.past),
        Route("/healthz", machines.healthz),
        Route("/metrics", machines.metrics),
        Route("/docs.json", machines.docs),
        Mount("/static", app=_Static(site.static, site.templates), name="static"),
    ]
    inner = Starlette(routes=routes, exception_handlers={RequestRefused: refused})
    gate = Gate(inner, Bodies(site.max_body), login)
    return Guard(gate, site.hosts, addresses=login is not None)  # around it all, so that failures are guarded, too


def _of_hive(monitor: Monitor, pages: Pages, hive: Hive) -> list[Route]:
    """What needs more of the hive than its picture."""
    changes = Changes(monitor, hive.errands).routes() if hive.errands is not None else []
    return [*changes, *(Logs(monitor, pages, hive.feeds).routes() if hive.feeds is not None else ())]


class Machines:
    """What other programs read: the same snapshot as JSON and for Prometheus."""

    def __init__(self, monitor: Monitor, hive: Hive | None = None) -> None:
        self._monitor, self._hive = monitor, hive
        self._telling = asyncio.Lock()

    async def nodes(self, request: Request) -> Response:
        """A part of the snapshot as JSON."""
        try:
            return _json(to_json(self._monitor.snapshot, Window.read(request.query_params, ANSWER)))
        except ValueError as error:
            return PlainTextResponse(str(error), 400)

    async def node(self, request: Request) -> Response:
        """One node with its instances, and what hived says of them, as JSON."""
        name = request.path_params["node"]
        line = node_line(self._monitor.snapshot, name)
        if line is None:
            return PlainTextResponse(f"there is no node called {name}", 404)
        try:
            return _json(line_to_json(self._monitor.snapshot, line, Window.read(request.query_params, ANSWER)))
        except ValueError as error:
            return PlainTextResponse(str(error), 400)

    async def durable(self, _: Request) -> Response:
        """Kept topics with their groups, and what there is to say of them, as JSON."""
        return _json(self._monitor.snapshot.durable.to_json())

    async def past(self, _: Request) -> Response:
        """The last hour of rates and events as JSON."""
        return _json(self._monitor.snapshot.past.to_json())

    async def healthz(self, request: Request) -> Response:
        """200 while the root sees the hive, 503 while Redis does not answer it; how the hive is, to who may know. Who
        asks as soon as it serves waits until it has looked, for FIRST at the most.
        """
        snapshot = await self._monitor.first(FIRST)
        sees = snapshot.read_at is not None and snapshot.silent_since is None
        told = {"health": f"{snapshot.health.sentence}."} if visitor_of(request.scope).may_look else {}
        return _json({"ok": sees, **told}, 200 if sees else 503)

    async def docs(self, _: Request) -> Response:
        """The hive that runs as an AsyncAPI document, as ``hm docs`` prints it."""
        snapshot = self._monitor.snapshot
        known = [one.kept.topic for one in snapshot.durable.state.topics]
        known += await announced(snapshot, self._hive)
        return _json(document(snapshot.hive, snapshot.redis, [view.record for view in snapshot.instances], known))

    async def metrics(self, request: Request) -> Response:
        """The snapshot for Prometheus, in the format that it asks for. Of a large hive that is much text: it is made in
        a thread, one at a time, and the pages go on.
        """
        async with self._telling:
            accept = request.headers.get("accept", "")
            body, kind = await asyncio.to_thread(exposition, self._monitor.snapshot, accept)
        return Response(body, headers={"Cache-Control": "no-store", "Content-Type": kind})


class _Static(StaticFiles):
    """The files of ``folders``, then the built-in ones; links and ``..`` out of a folder find nothing, nor do names of
    files in ``hidden`` folders.
    """

    def __init__(self, folders: Sequence[Path], hidden: Sequence[Path]) -> None:
        super().__init__(directory=HERE / "static")
        self.all_directories = [*folders, HERE / "static"]
        served = [folder.resolve() for folder in folders]
        self._hidden = [folder for each in hidden if (folder := each.resolve()) not in served]

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        found, stat = super().lookup_path(path)
        if stat is not None and any(Path(found).resolve().is_relative_to(folder) for folder in self._hidden):
            return "", None
        return found, stat


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
