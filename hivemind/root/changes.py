"""What can be done to a node from the page: start, stop, restart, roll and scale, by the hiveds of all hosts.

Who may do that, the gate has asked before: see ``gate``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request as Asked
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..constants import did_you_mean
from ..picture.monitor import Monitor
from ..picture.nodes import node_lines
from ..supervisor.actions import MOST_COPIES, Request, Verb
from ..supervisor.journal import BY
from ..supervisor.rollout import AT_ONCE, MOST_AT_ONCE
from ..topics import is_instance, is_node
from .bodies import RequestRefused, fields_of, wants_page
from .busy import Busy
from .errands import Errands
from .problems import problem
from .visitor import visitor_of

VERBS = frozenset({Verb.START, Verb.STOP, Verb.RESTART, Verb.ROLL, Verb.SCALE})
LOADING = 8.0  #: seconds for which a form without a script waits until all is done; the page shows how it goes on


class Changes:
    """The routes that change what runs."""

    def __init__(self, monitor: Monitor, errands: Errands) -> None:
        self._monitor, self._errands = monitor, errands

    def routes(self) -> list[Route]:
        """One for all verbs."""
        return [Route("/api/nodes/{node}/{verb}", self.act, methods=["POST"])]

    async def act(self, asked: Asked) -> Response:
        """Ask every hived, and answer what became of it: as JSON, or for a form on the page with that page."""
        target, verb = asked.path_params["node"], asked.path_params["verb"]
        if verb not in VERBS or not (is_node(target) or is_instance(target)):
            raise RequestRefused(404, "what can be done: start, stop, restart, roll or scale, to a node or one copy")
        by = f"{visitor_of(asked.scope).name}, on the page"
        request = request_of(Verb(verb), target, await fields_of(asked), by)
        try:
            errand = self._errands.begin(target, request, self._unknown)
        except Busy as error:
            raise RequestRefused(503, str(error)) from None
        if not wants_page(asked):
            await errand.over.wait()
            wrong = problem(errand.status, errand.error) if errand.error else {}
            return Response(orjson.dumps(errand.to_json() | wrong), errand.status, media_type="application/json")
        with suppress(TimeoutError):
            async with asyncio.timeout(LOADING):
                await errand.over.wait()
        return RedirectResponse(f"/nodes/{quote(errand.node, safe='')}#done", 303)

    def _unknown(self, target: str) -> str:
        """What to say of a target that no hived has."""
        node, snapshot = target.partition(".")[0], self._monitor.snapshot
        known = {line.name: line for line in node_lines(snapshot)}
        if node in known and known[node].quarantine:
            return f"{node} does not run: {known[node].quarantine}; it is tried again as soon as its file changes"
        if node in known and known[node].views and not known[node].is_supervised:
            return f"no hived runs {target}: who started it by hand ends it there"
        return f"no hived of this hive runs {target}{did_you_mean(node, list(known))}"


def request_of(verb: Verb, target: str, fields: Mapping[str, Any], by: str) -> Request:
    """What is asked of the hiveds. Raises RequestRefused for a number that is none, or missing."""
    options = {BY: by}
    if verb is Verb.ROLL and fields.get("max_unavailable", "") != "":
        options[AT_ONCE] = str(_number(fields, "max_unavailable", 1, MOST_AT_ONCE))
    if verb is not Verb.SCALE:
        return Request(verb, (target,), options=options)
    if not is_node(target):
        raise RequestRefused(400, f"{target} is one copy, and a node is scaled: {target.partition('.')[0]}")
    return Request(verb, (target,), _number(fields, "replicas", 0, MOST_COPIES), options)


def _number(fields: Mapping[str, Any], name: str, least: int, most: int) -> int:
    text = str(fields.get(name, ""))
    if text.isascii() and text.isdigit() and len(text) < 6 and least <= int(text) <= most:
        return int(text)
    raise RequestRefused(400, f"{name}: write a number from {least} to {most:,}")
