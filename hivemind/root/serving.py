"""Serves the pages, and to each that is open every later snapshot as a server-sent event."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from functools import partial
from typing import Any

import jinja2
import orjson
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..picture.monitor import Monitor
from ..picture.snapshot import Snapshot
from .pages import PAGES, Hive, NotFound, Page, Visit, WithMore
from .pages.page import frame
from .visitor import visitor_of

log = logging.getLogger(__name__)

_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # a browser shows nothing of it, a terminal obeys it

MAX_VIEWERS = 250
"""Event streams at once; whoever comes then is told to try again."""
SHARE = 30.0
"""How many times the CPU that an address took is rested before its next event: a page of a large hive is made more
seldom."""
CHEAP, LONGEST_REST = 0.02, 5.0
"""What takes less than that many seconds is made at once; the longest rest in seconds."""
SIGN = 5
"""Seconds between two signs of life in a stream, with which a page knows that it is still connected."""
STREAM_TIMEOUT = 10
"""Seconds that a viewer's connection may take no byte before it is cut."""


class Pages:
    """The pages of one root. ``hive`` is None where there is no Redis."""

    def __init__(
        self,
        monitor: Monitor,
        templates: jinja2.Environment,
        context: Callable[[], Mapping[str, Any]],
        hive: Hive | None = None,
    ) -> None:
        self._monitor, self._templates, self._context, self._hive = monitor, templates, context, hive
        self._made: tuple[Snapshot | None, dict[str, asyncio.Task[str]]] = None, {}
        self._rests: dict[str, float] = {}
        self.viewers = 0

    @property
    def is_full(self) -> bool:
        """Whether there are as many viewers as may be."""
        return self.viewers >= MAX_VIEWERS

    def routes(self) -> list[Route]:
        """Two for each page: itself, and its events under ``/events``."""
        return [route for page in PAGES for route in self._routes(page)]

    def _routes(self, page: Page) -> tuple[Route, Route]:
        async def show(request: Request) -> Response:
            return await self._show(page, request)

        async def events(request: Request) -> Response:
            return await self._events(page, request)

        return Route(page.path, show), Route(f"/events{page.path}", events)

    async def _show(self, page: Page, request: Request) -> Response:
        """The page with its data: complete without a script."""
        try:
            visit = self._visit(request)
            tree = await page.tree(visit)
            more = await page.more(visit) if isinstance(page, WithMore) else {}
        except ValueError as error:
            return PlainTextResponse(str(error), 400)
        except NotFound as error:
            lost = frame(self._visit(request), {"said": str(error)})
            html = self._rendered("missing.html", page, request, {"page": lost})
            return Response(html, 404, media_type="text/html", headers={"Cache-Control": "no-store"})
        html = self._rendered(page.template, page, request, {"page": tree, **more})
        return Response(html, media_type="text/html", headers={"Cache-Control": "no-store"})

    def _rendered(self, template: str, page: Page, request: Request, names: Mapping[str, Any]) -> str:
        own = {"request": request, "pages": PAGES, "here": page.path, **names}
        context = {**own, **self._context(), **visitor_of(request.scope).context()}
        return _UNSEEN.sub("\ufffd", self._templates.get_template(template).render(context))

    async def _events(self, page: Page, request: Request) -> Response:
        """Every snapshot as a server-sent event, in the words of the page."""
        if self.is_full:
            return PlainTextResponse("too many viewers", 503, headers={"Retry-After": "10"})
        try:
            await self._encoded(page, request, self._monitor.snapshot)
        except ValueError as error:
            return PlainTextResponse(str(error), 400)
        except NotFound as error:
            return PlainTextResponse(str(error), 404)
        return Viewer(self, self._stream(page, request))

    async def _stream(self, page: Page, request: Request) -> AsyncIterator[ServerSentEvent]:
        """The events of one viewer; ends when the monitor closes, or when what is shown is there no more."""
        sent = ""
        async for _ in self._monitor.updates():
            await asyncio.sleep(self._rests.get(_address(request), 0.0) - time.monotonic())
            try:
                text = await self._encoded(page, request, self._monitor.snapshot)
            except NotFound:
                return
            if text is not sent:  # while it rested others came, of which this is the last
                yield ServerSentEvent(text, event="snapshot", retry=2000)
            sent = text

    async def _encoded(self, page: Page, request: Request, snapshot: Snapshot) -> str:
        """The page's tree as JSON, made once for all who look at the same address."""
        if self._made[0] is not snapshot:
            self._made = snapshot, {}
        known, address = self._made[1], _address(request)
        if address not in known and len(known) >= MAX_VIEWERS:  # somebody makes them up
            return await self._say(page, self._visit(request, snapshot), address)
        if address not in known:
            making = self._say(page, self._visit(request, snapshot), address)
            known[address] = asyncio.create_task(making, name="a page is made")
        return await asyncio.shield(known[address])

    async def _say(self, page: Page, visit: Visit, address: str) -> str:
        text, took = await timed(_text(page, visit))
        now = time.monotonic()
        self._rests = {known: until for known, until in self._rests.items() if until > now}
        if took > CHEAP:
            self._rests[address] = now + min(LONGEST_REST, SHARE * took)
        return text

    def _visit(self, request: Request, snapshot: Snapshot | None = None) -> Visit:
        known, is_again = snapshot or self._monitor.snapshot, snapshot is not None
        return Visit(known, time.time(), request.path_params, request.query_params, self._hive, is_again)


def _address(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}"


def _sign() -> ServerSentEvent:
    return ServerSentEvent("1", event="sign")  # one without data no page hears of


async def _text(page: Page, visit: Visit) -> str:
    return orjson.dumps(await page.tree(visit)).decode()


@types.coroutine
def timed(work: Coroutine[Any, Any, str]) -> Generator[Any, Any, tuple[str, float]]:
    """What ``work`` returns, and how many seconds of CPU it took: not what others did while it waited."""
    took, step = 0.0, partial(work.send, None)
    while True:
        began = time.thread_time()
        try:
            awaited = step()
        except StopIteration as over:
            return over.value, took + time.thread_time() - began
        took += time.thread_time() - began
        try:
            yield awaited
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is meant for the work
            step = partial(work.throw, error)
        else:
            step = partial(work.send, None)


class Viewer(EventSourceResponse):
    """One viewer's stream: counts as a viewer while it is served, and is cut when it takes nothing."""

    def __init__(self, pages: Pages, events: AsyncIterator[ServerSentEvent]) -> None:
        super().__init__(events, ping=SIGN, ping_message_factory=_sign, send_timeout=STREAM_TIMEOUT)
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it, and count it while it lasts."""
        self._pages.viewers += 1
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.debug("a viewer took nothing for %d s and was cut", STREAM_TIMEOUT)
        finally:
            self._pages.viewers -= 1
