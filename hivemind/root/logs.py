"""The log of a node as server-sent events: what it has, then each entry as it comes, of the level and text wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..log_lines import LogLine
from ..picture.monitor import Monitor
from ..picture.nodes import node_line
from ..topics import is_instance, is_node
from .busy import Busy
from .feeds import Feed, Feeds, Sieve, line_fields
from .serving import Pages, Viewer

FIRST = 300  #: entries with which a stream begins
EVENT = 256 * 1024  #: characters of entries in one event, about; what is older is counted
GATHER = 0.1  #: seconds that entries are gathered: one event has what comes in that time


class Logs:
    """The streams of logs of one root."""

    def __init__(self, monitor: Monitor, pages: Pages, feeds: Feeds) -> None:
        self._monitor, self._pages, self._feeds = monitor, pages, feeds

    def routes(self) -> list[Route]:
        """One for all nodes."""
        return [Route("/events/log/{node}", self.events)]

    async def events(self, request: Request) -> Response:
        """The log of a node that somebody knows; ``?level=`` and ``match=`` say what is wanted of it."""
        node = request.path_params["node"]
        if self._pages.is_full:
            return PlainTextResponse("too many viewers", 503, headers={"Retry-After": "10"})
        try:
            sieve = Sieve.read(request.query_params)
        except ValueError as error:
            return PlainTextResponse(str(error), 400)
        if not (is_node(node) or is_instance(node)):
            return PlainTextResponse("write a node, or one copy of it such as batman.1", 404)
        if node_line(self._monitor.snapshot, node.partition(".")[0]) is None:
            return PlainTextResponse(f"there is no node called {node}", 404)
        return Viewer(self._pages, self._stream(node, sieve))

    async def _stream(self, node: str, sieve: Sieve) -> AsyncIterator[ServerSentEvent]:
        try:
            async with self._feeds.following(node) as feed:
                async for event in stream(feed, sieve):
                    yield event
        except Busy as error:
            yield _event("begin", [], [str(error)])


async def stream(feed: Feed, sieve: Sieve) -> AsyncIterator[ServerSentEvent]:
    """``begin`` with what there is, and anew where all of it was put in another order; ``more`` with what came since.
    Who is slow misses entries, and is told how many: nothing queues. Of those that were gone before anybody looked none
    knows whether a sieve would have let them pass: these are ``unseen``.
    """
    at, begun, told = 0, -1, 0
    while not feed.is_over:
        news = feed.news
        recent = feed.recent
        if feed.is_read:
            is_new = recent.begun != begun
            lines, gone = recent.after(recent.begun if is_new else at)
            wanted = [line for line in lines if sieve.passes(line)]
            shown = _newest(wanted[-FIRST:] if is_new else wanted)
            gone = 0 if is_new else gone
            missed = 0 if is_new else len(wanted) - len(shown) + (gone if sieve.is_open else 0)
            unseen = 0 if sieve.is_open else gone
            at, begun = recent.last, recent.begun
            if is_new or shown or missed or unseen or len(feed.notes) != told:
                kind, notes = ("begin", feed.notes) if is_new else ("more", feed.notes[told:])
                yield _event(kind, shown, notes, missed, unseen)
            told = len(feed.notes)
        await news.wait()
        await asyncio.sleep(GATHER)


def _newest(lines: Sequence[LogLine]) -> Sequence[LogLine]:
    """As many of the last entries as fit into an event."""
    kept, room = len(lines), EVENT
    while kept and (room := room - len(lines[kept - 1].text) - 64) >= 0:
        kept -= 1
    return lines[kept:] if kept < len(lines) else lines[-1:]


def _event(
    kind: str, lines: Sequence[LogLine], notes: Sequence[str], missed: int = 0, unseen: int = 0
) -> ServerSentEvent:
    counts = {"missed": missed, "unseen": unseen}
    data: dict[str, Any] = {"lines": [line_fields(line) for line in lines], **counts, "notes": list(notes)}
    return ServerSentEvent(orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS).decode(), event=kind, retry=2000)
