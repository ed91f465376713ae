"""What a topic's page does beside showing: streams the messages that pass by, and sends one by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ..client.client import Client
from ..client.session import Where
from ..errors import InvalidName, OutboxFull, PayloadError, RedisError, SendError
from ..picture.monitor import Monitor
from ..picture.topics import hearing, topics_of
from ..retention import check_tier
from ..topics import check_pattern, check_topic
from .bodies import RequestRefused, fields_of, is_form, is_ticked, wants_page
from .busy import Busy
from .pages import Hive, announced
from .pages.topic import last_messages, not_read
from .pages.topics import address
from .serving import Pages, Viewer
from .tails import Tails

PATIENCE = 5.0  #: seconds that a message by hand may take
AT_ONCE = 4  #: messages that are sent by hand at the same time; the others wait for their turn


class Talking:
    """The routes of topics: their tails, as events, and ``/api/topics``."""

    def __init__(self, monitor: Monitor, pages: Pages, hive: Hive | None) -> None:
        self._monitor, self._pages, self._hive = monitor, pages, hive
        self._tails = Tails(hive.bus, monitor) if hive is not None else None
        self._turns = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        """To be added to those of the pages."""
        return [
            Route("/events/tail/{pattern:path}", self.tail),
            Route("/api/topics", self.topics),
            Route("/api/topics/{topic:path}", self.publish, methods=["POST"]),
        ]

    async def topics(self, _: Request) -> Response:
        """Who sends and who hears, as ``hm topics --json`` says it, with the rate of each topic."""
        snapshot = self._monitor.snapshot
        found = topics_of(snapshot, await announced(snapshot, self._hive))
        said = found.traffic.to_json()
        rates = {one.topic.topic: one.rate for one in found.views}
        return JSONResponse({**said, "topics": [{**one, "rate": rates[one["topic"]]} for one in said["topics"]]})

    # -- the tail

    async def tail(self, request: Request) -> Response:
        """The messages that pass by, as events, beginning with the last ones of a topic that is kept."""
        try:
            pattern = check_pattern(request.path_params["pattern"])
        except InvalidName as error:
            return PlainTextResponse(str(error), 404)
        if self._pages.is_full or self._tails is None:
            return PlainTextResponse("too many viewers", 503, headers={"Retry-After": "10"})
        return Viewer(self._pages, self._follow(self._tails, pattern, request.query_params.get("match", "")))

    async def _follow(self, tails: Tails, pattern: str, words: str) -> AsyncIterator[ServerSentEvent]:
        try:
            async with tails.following(pattern, words) as follower:
                past, said = ([], "") if words else await self._past(pattern)
                if past or said:
                    yield _event({"messages": past, "more": 0, "partial": False, "said": said})
                async for news in follower.events():
                    yield _event(news)
        except Busy as error:
            yield _event({"messages": [], "more": 0, "partial": False, "said": str(error)})

    async def _past(self, pattern: str) -> tuple[list[Any], str]:
        """The last messages of a topic that is kept, and why there are none if they could not be read."""
        assert self._hive is not None
        if topics_of(self._monitor.snapshot).of(pattern).kept is None:
            return [], ""
        try:
            return (await last_messages(self._hive.bus, pattern))[::-1], ""
        except RedisError as error:
            return [], not_read(error)

    # -- a message by hand

    async def publish(self, request: Request) -> Response:
        """Send one message, as ``hm pub`` does, and answer when Redis has confirmed it.

        A form has ``payload``, and ``kind`` "json" or "text"; a JSON object has ``payload``. Both may have ``durable``.
        """
        try:
            topic = check_topic(request.path_params["topic"])
        except InvalidName as error:
            raise RequestRefused(400, str(error)) from None
        said = await fields_of(request)
        payload = _payload(said, is_text=is_form(request))
        is_durable = is_ticked(said, "durable")
        try:
            is_kept = await self._send(topic, payload, is_durable)
        except (PayloadError, OutboxFull) as error:
            raise RequestRefused(400, str(error)) from None
        except (RedisError, SendError) as error:
            raise RequestRefused(503, str(error)) from None
        if wants_page(request):
            return RedirectResponse(f"{address(topic)}?sent=1", 303)
        return JSONResponse({"topic": topic, "kept": is_kept, "said": self._said(topic, is_kept)})

    async def _send(self, topic: str, payload: Any, is_durable: bool) -> bool:
        """Whether it was kept."""
        if self._hive is None:
            raise RequestRefused(503, "there is no Redis")
        bus, settings = self._hive.bus, self._hive.settings
        where = Where(bus.endpoint, settings.name, check_tier(settings.constants.CONFIRM))
        async with self._turns:
            client = Client(lambda: where, PATIENCE)
            try:
                await client.open()
                client.awaited.send(topic, payload, durable=is_durable)
                await client.awaited.flush(PATIENCE)
                return client.bus.keeps(topic)
            finally:
                await client.aclose()

    def _said(self, topic: str, is_kept: bool) -> str:
        """What became of it, in a sentence."""
        ears = len(hearing(self._monitor.snapshot, topic))
        note = topics_of(self._monitor.snapshot).of(topic).topic.note
        heard = f"{ears:,} {'subscription hears' if ears == 1 else 'subscriptions hear'} it" if ears else ""
        how = "Kept, and confirmed by Redis" if is_kept else "Confirmed by Redis"
        return f"{how}; {heard or note or 'nobody listens'}."


def _payload(said: Mapping[str, Any], *, is_text: bool) -> Any:
    """What is to be sent. Raises RequestRefused."""
    if "payload" not in said:
        raise RequestRefused(400, 'say what to send: {"payload": ...}')
    payload = said["payload"]
    if not is_text or said.get("kind") == "text":
        return payload
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(400, f"this is no JSON: {error}; to send it as it stands, choose text") from None


def _event(said: Mapping[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(orjson.dumps(said).decode(), event="messages", retry=2000)
