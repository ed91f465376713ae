"""Requests: what one process asks of others, and its one inbox for all replies.

A function in Redis gives a request to one responder. Whoever waits for longer asks who has it: what was lost with a
connection, or with the responder's life, is asked again under the same number.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import HivemindError, NoResponders, RequestTimeout
from ..message import Malformed, encode_payload
from ..topics import check_topic
from .asked import Asked, AskedOne
from .asking import Way
from .deadlines import Deadlines
from .looking import Looking
from .replies import Replies
from .requests_link import Calls
from .requests_wire import ANY, MANY, ONE, Forms, read
from .responding import Responding
from .streams import Home

if TYPE_CHECKING:
    from .bus import Bus

log = logging.getLogger("hivemind.requests")

LONGEST = 86_400.0  #: seconds that a caller may be willing to wait
MOST_NAMES = 1000  #: names of requests for which commands are kept ready
TIMEOUT = 10.0  #: seconds that it does if it says nothing


class Requests:
    """All that a process asks, and answers (``answering``). Begins to connect when it is first used.

    ``looking`` looks after what has no reply.
    """

    def __init__(self, bus: Bus) -> None:
        self.calls = Calls(Home(bus.endpoint, f"hm:{bus.instance}:req", bus.names, bus.functions))
        self.forms = Forms("", 0, "")
        self.answering = Responding(bus, self.calls)
        self._bus = bus
        self._asked: dict[int, Asked] = {}
        self._number = 0
        self._names: set[str] = set()  # that were found right
        self._is_started = self._is_closed = False
        self._opening: asyncio.Future[None] | None = None
        self._hears = False
        self._ways: dict[str, Way] = {}
        self.looking = Looking(self, bus, self._asked)
        self._deadlines = Deadlines(self._asked)

    def start(self) -> None:
        """Connect, in the background. May be called twice."""
        if not self._is_started:
            self._is_started = True
            instance, incarnation = self._bus.instance, self._bus.incarnation
            inbox = self._bus.names.replies(f"{instance}.{secrets.token_hex(16)}")
            self.forms = self.answering.forms = Forms(instance, incarnation, inbox)
            self.calls.start()

    async def aclose(self) -> None:
        """Answer and ask nothing any more: what has no reply yet fails. May be called twice."""
        self._is_closed = True
        for asked in list(self._asked.values()):
            asked.fail(HivemindError(f"request {asked.name!r}: the connection was closed"))
        self._deadlines.close()
        await self.looking.aclose()
        await self.answering.aclose()
        if self._is_started:
            await self.calls.aclose()

    # -- asking

    async def request(self, name: str, payload: Any, timeout: float, headers: Mapping[str, str] | None = None) -> Any:
        """What the responder returns.

        Raises PayloadError; NoResponders; RequestTimeout after ``timeout`` seconds; RemoteError when the responder
        raised, InvalidRequest when the payload does not fit it; RequestLost when it died and nobody else is there; and
        RedisError when Redis refuses us. Cancelled, it cancels the responder.
        """
        body = self.checked(name, payload, timeout)
        one = AskedOne(self, name, asyncio.get_running_loop().time() + timeout)
        if not self._hears or self._bus.live.denied:
            await self._open(one)
        self._ask(one, body, ONE, headers)
        try:
            return await one.reply
        except NoResponders as error:
            raise await self.looking.hinted(error) from None
        except (asyncio.CancelledError, RequestTimeout):
            one.cancel()
            raise
        finally:
            self._over(one)

    async def begin(self, replies: Replies, asked: tuple[bytes, str, Mapping[str, str] | None]) -> None:
        """Ask for the first of ``replies``."""
        if not self._hears or self._bus.live.denied:
            await self._open(replies)
        self._ask(replies, *asked)

    def mode(self, *, strict: bool) -> str:
        """That many replies are wanted, or, unless ``strict``, as many as there are."""
        return MANY if strict else ANY

    def checked(self, name: str, payload: Any, timeout: float) -> bytes:
        """An encoded payload. Raises PayloadError, InvalidName and ValueError. From any thread."""
        if name.__class__ is not str or name not in self._names:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            self._names.add(check_topic(name))
        if timeout.__class__ is float and 0 < timeout <= LONGEST:
            return encode_payload(payload)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST:
            raise ValueError(f"request {name!r}: timeout={timeout!r}: use seconds, above 0 and at most {LONGEST:,.0f}")
        return encode_payload(payload)

    async def _open(self, asked: Asked) -> None:
        """Connect and listen to the inbox, once. Raises RequestTimeout when that takes too long, and RedisDenied where
        we may not listen.
        """
        if self._is_closed:
            raise HivemindError(f"request {asked.name!r}: the connection was closed")
        self.start()
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            inbox = self.forms.inbox
            self._bus.live.listen(inbox, self._heard)
            self._opening = asyncio.ensure_future(self._bus.live.answered_for([inbox.encode()]))
        try:
            async with asyncio.timeout_at(asked.deadline):
                await asyncio.shield(self._opening)
        except TimeoutError:
            raise asked.too_late("Redis does not answer") from None
        if self.is_deaf:  # it is asked for again now and then
            raise self.looking.denied(asked.name)
        self._hears = True

    def _ask(self, asked: Asked, payload: bytes, mode: str, headers: Mapping[str, str] | None) -> None:
        self._number = number = self._number + 1
        asked.number = number
        asked.body = self.forms.request(number, payload, mode, dict(headers) if headers else None)
        self._asked[number] = asked
        asked.ask()
        self._deadlines.watch(asked.deadline)
        self.looking.begin()

    def _over(self, asked: Asked) -> None:
        """Whoever waited does no more."""
        self._asked.pop(asked.number, None)
        asked.is_over = True

    def over(self, asked: Asked) -> None:
        """The same, said by itself."""
        self._over(asked)

    # -- hearing

    def _heard(self, body: bytes) -> None:
        """A reply, or what a responder knows of requests."""
        try:
            said = read(body)
            kind, number = said["k"], said["q"]
            asked = self._asked.get(number) if number.__class__ is int else None
        except (Malformed, LookupError, TypeError, AttributeError):
            return  # anybody may publish there
        if asked is not None:
            asked.heard(kind, said)
        elif number.__class__ is list:
            self.looking.told(kind, said)

    # -- for what is asked

    @property
    def is_deaf(self) -> bool:
        """Whether Redis forbids us to hear replies, be it only since the hive was secured."""
        return self.forms.inbox in self._bus.live.denied

    def way(self, name: str) -> Way:
        """How requests of that name are given to somebody."""
        found = self._ways.get(name)
        if found is None or found.is_full:
            if len(self._ways) >= MOST_NAMES:
                self._ways.clear()
            found = self._ways[name] = Way(self, name)
        return found

    def begun(self, name: str) -> tuple[int, bytes]:
        """The same, as the beginning of a call: how many words it has, and all but their number."""
        found = self.calls.ways.get(name)
        if found is None:
            found = self.calls.begun("ask", self.responders(name), self.registry, self.channel(name), self.forms.inbox)
            if len(self.calls.ways) >= MOST_NAMES:
                self.calls.ways.clear()
            self.calls.ways[name] = found
        return found

    @property
    def registry(self) -> str:
        """What stands before the registry key of an instance."""
        return self._bus.names.node("")

    def channel(self, name: str, member: str = "") -> str:
        """On which a responder listens; without one, what stands before."""
        return self._bus.names.request(name, member)

    def responders(self, name: str) -> str:
        """The key of those who answer to a name."""
        return self._bus.names.responders(name)
