"""Requests that others ask of this process: each reaches its responder once, in time or not at all.

Every responder has a channel of its own; whoever gives out requests sees by it that somebody listens. The deadline came
along by Redis's clock, whose distance to the loop's clock is measured now and then. Outcomes are remembered for a
while: a request that comes again, because its reply was lost, is answered with what came of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from ..bell import Bell
from ..burst import Burst
from ..cancelling import end
from ..errors import ConfigurationError, RedisError
from ..message import Malformed
from .call import Call
from .requests_link import Calls
from .requests_wire import Forms, Key, pairs, read, read_request

if TYPE_CHECKING:
    from .bus import Bus

log = logging.getLogger("hivemind.requests")

TEND = 2.0  #: seconds, about, between two looks at the list of responders
TRY_AGAIN = 0.25  #: seconds between two tries to be on it
FOLLOWS = 30.0  #: seconds in which who follows a responder that left has to be there; until then requests wait for it
LAST = 2**53  #: its place in the list of those who may take a request
SILENT = 10.0  #: seconds after which who takes the replies of a stream, and says nothing, is gone
REMEMBERED = 10_000  #: outcomes that are remembered at the most
REMEMBERED_BYTES = 8 * 1024 * 1024  #: bytes of replies among them
RELEASE = 0.002  #: seconds in which requests that are over are counted together
MANY = 16  #: of them that do not wait for that


class Answerer(Protocol):
    """Who handles the requests of one name. All calls come on the event loop."""

    def take(self, call: Call) -> None:
        """A request has come."""

    def withdraw(self, call: Call) -> None:
        """Nobody waits for its reply any more: it is not to be begun, or to be ended."""

    @property
    def in_hand(self) -> int:
        """How many requests it has, handling or waiting."""


class Responding:
    """The answering half of ``Requests``."""

    def __init__(self, bus: Bus, calls: Calls) -> None:
        self.forms = Forms("", 0, "")
        self.calls = calls
        self.is_followed = False  # whether another process takes over from this one
        self._bus = bus
        self._posts: dict[str, Post] = {}
        self._distance = 0.0  # Redis's clock less the loop's, in seconds
        self._late: list[Call] = []
        self._judging: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._news = Bell()

    async def serve(self, name: str, answerer: Answerer) -> None:
        """Let ``answerer`` have requests from now on. Raises RedisError, and ConfigurationError where another of this
        process has the name.
        """
        if name in self._posts:
            raise ConfigurationError(f"responder {name!r}: another node of this process answers to it")
        post = self._posts[name] = Post(self, name, answerer, self._bus)
        self.calls.on_ready = self._news.ring
        try:
            self._bus.live.listen(post.channel, post.heard)
            await self._bus.live.answered_for([post.channel.encode()])
            await self._measure()
            await self._enlist(post)
        except BaseException:
            self.end(name)
            raise
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="tend responders")

    async def leave(self, name: str) -> None:
        """Get no new requests: returns when the last that was given to us has come. Raises RedisError.

        Where ``is_followed``, requests that find nobody wait for who follows.
        """
        post = self._posts[name]
        post.is_leaving = True
        if self.is_followed:
            mark = f"coming.{await self._bus.now() + FOLLOWS * 1000:.0f}"
            await self._bus.commands.execute("ZADD", post.responders, LAST, mark)
        await self._bus.commands.execute("ZREM", post.responders, post.member)
        await post.echo(self._bus)

    def end(self, name: str) -> None:
        """Listen no more. May be called twice."""
        post = self._posts.pop(name, None)
        if post is not None:
            self._bus.live.unlisten(post.channel, post.heard)

    async def aclose(self) -> None:
        """Answer nothing any more. May be called twice."""
        await end(self._tending)
        await end(self._judging)
        for name in list(self._posts):
            self.end(name)

    def again(self) -> None:
        """Redis has lost its data: enter all anew, at once."""
        self._news.ring()

    # -- the list of responders, and the clock

    async def _tend(self) -> None:
        while True:
            await self._news.wait(TEND * random.uniform(0.8, 1.2))
            try:
                await self._measure()
                for post in list(self._posts.values()):
                    if not post.is_leaving:
                        await self._enlist(post)
                    post.end_silent(SILENT)
            except RedisError as error:
                log.debug("responders: %s", error)
                await asyncio.sleep(TRY_AGAIN)
                self._news.ring()
            except Exception:
                log.exception("responders: a fault of ours")

    async def _enlist(self, post: Post) -> None:
        names = self._bus.names
        keys = (post.responders, names.node(self._bus.instance), names.responders_since(post.name))
        arguments = (post.member, self._bus.incarnation, post.answerer.in_hand)
        await self._bus.functions.call("enlist", keys, arguments)

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        now = await self._bus.now()
        self._distance = now / 1000 - (before + loop.time()) / 2

    def deadline(self, at: float, budget: float, now: float) -> float:
        """When a request of so many seconds is over, by the loop's clock, at which it is ``now``."""
        return min(at - self._distance, now) + budget

    def judge_late(self, call: Call) -> None:
        """A request came when its time seems over: measure the clocks before it is thrown away."""
        self._late.append(call)
        if self._judging is None:
            self._judging = asyncio.create_task(self._judge_late(), name="late requests")

    async def _judge_late(self) -> None:
        try:
            while self._late:
                await self._measure()  # what was measured a moment ago was before somebody set a clock
                late, self._late = self._late, []
                for call in late:
                    call.post.begin_or_drop(call)
        except RedisError as error:
            log.debug("late requests: %s", error)
            for call in self._late:
                call.drop()
            self._late = []
        finally:
            self._judging = None


class Post:
    """One responder of this process, as others see it: its name in the list and its channel."""

    def __init__(self, responding: Responding, name: str, answerer: Answerer, bus: Bus) -> None:
        self.name, self.answerer, self.is_leaving = name, answerer, False
        self.member = f"{bus.instance}.e{bus.incarnation}"
        self.responders, self.channel = bus.names.responders(name), bus.names.request(name, self.member)
        self.forms, self.calls = responding.forms, responding.calls
        self._responding = responding
        self._loop = asyncio.get_running_loop()
        self._replies = bus.names.replies("")
        self._in_hand: dict[Key, Call] = {}
        self._outcomes: OrderedDict[Key, bytes] = OrderedDict()
        self._remembered = 0
        self._releases = _Releases(self)
        self._echoed: asyncio.Event | None = None
        self._complaints = Burst(10.0)

    def heard(self, body: bytes) -> None:
        """A request, or something about requests."""
        try:
            said = read(body)
            kind = said.get("k")
            if kind is None:
                self._asked(said)
            elif kind == "echo" and self._echoed is not None:
                self._echoed.set()
            else:
                self._told(kind, said)
        except (Malformed, AttributeError) as error:
            if self._complaints.first() is not None:
                log.warning("what somebody asks of %s cannot be read: %s", self.name, error)

    def _asked(self, said: dict[str, Any]) -> None:
        reply, number, at, budget, tried = read_request(said, self._replies)
        key = (reply, number)
        if (known := self._in_hand.get(key)) is not None:
            known.tried = tried
            self.released()
        elif key in self._outcomes:
            self._tell_outcome(key)
            self.released()
        else:
            call = self._in_hand[key] = Call(self, key, said, tried)
            call.at, call.budget = at, budget
            self.begin_or_drop(call, is_sure=False)

    def begin_or_drop(self, call: Call, *, is_sure: bool = True) -> None:
        """Hand a request to its handler, unless its time is over."""
        if call.is_over:
            return
        now = self._loop.time()
        call.deadline = self._responding.deadline(call.at, call.budget, now)
        if now < call.deadline:
            self.answerer.take(call)
        elif is_sure:
            call.drop()
        else:
            self._responding.judge_late(call)

    def _told(self, kind: Any, said: dict[str, Any]) -> None:
        """What callers say of requests that we have, or should have."""
        reply = said.get("reply")
        if not isinstance(reply, str) or not reply.startswith(self._replies):
            return
        asked = pairs(said.get("q"))
        if kind == "whose":
            self._say_whose(reply, asked)
        for number, _ in asked:
            call = self._in_hand.get((reply, number))
            if call is None:
                continue
            if kind == "cancel":
                call.drop()
            else:
                call.still_wanted(said.get("w"))

    def _say_whose(self, reply: str, asked: list[tuple[int, int]]) -> None:
        have, unknown = [], []
        for number, tried in asked:
            key = (reply, number)
            if key in self._in_hand:
                have.append((number, tried))
            elif key in self._outcomes:
                self._tell_outcome(key)
            else:
                unknown.append((number, tried))
        for kind, numbers in (("have", have), ("unknown", unknown)):
            if numbers:
                sent = {str(number): self._in_hand[reply, number].sent for number, _ in have} if kind == "have" else {}
                self.calls.say(reply, self.forms.note(kind, q=numbers, member=self.member, sent=sent))

    # -- outcomes

    def finished(self, call: Call, outcome: bytes) -> None:
        """A request is over. ``outcome`` is its reply, the last one; b"" if nobody wants to know."""
        if self._in_hand.pop(call.key, None) is None:
            return
        if outcome:
            self.calls.say(call.key[0], outcome)
        self.released()
        outcomes = self._outcomes
        outcomes[call.key] = outcome
        self._remembered += len(outcome)
        while len(outcomes) > REMEMBERED:
            self._remembered -= len(outcomes.popitem(last=False)[1])
        if self._remembered > REMEMBERED_BYTES:
            self._forget_bodies()

    def _forget_bodies(self) -> None:
        """That they are answered has to be known, so that nothing is done twice; with what, not for ever."""
        for key, body in self._outcomes.items():
            if self._remembered <= REMEMBERED_BYTES // 2:
                break
            self._remembered -= len(body)
            self._outcomes[key] = b""

    def _tell_outcome(self, key: Key) -> None:
        self.calls.say(key[0], self._outcomes[key] or self.forms.reply(key[1], b"lost"))

    def released(self) -> None:
        """Say, when it is written next, that one less is in hand."""
        self._releases.count()

    def hand_back(self, call: Call) -> None:
        """Let somebody else have a request that was not begun."""
        if self._in_hand.pop(call.key, None) is not None:
            call.is_over = True
            self.calls.say(call.key[0], self.forms.reply(call.key[1], b"again")[:-1] + b',"try":%d}' % call.tried)

    def end_silent(self, seconds: float) -> None:
        """End streams whose takers have said nothing for so many ``seconds``: they are gone."""
        before = asyncio.get_running_loop().time() - seconds
        for call in [call for call in self._in_hand.values() if call.is_stream and call.heard < before]:
            call.drop()

    async def echo(self, bus: Bus) -> None:
        """Return when what was published to us until now has come; after a second in any case."""
        self._echoed = asyncio.Event()
        try:
            async with asyncio.timeout(1.0):
                await bus.commands.execute("PUBLISH", self.channel, b'{"k":"echo"}')
                await self._echoed.wait()
        except TimeoutError:
            log.warning("responder %s: what was given to it last may have passed by", self.name)


class _Releases:
    """How many requests a responder has no more, since that was written last. Others may see it a moment later."""

    __slots__ = ("_count", "_is_put", "_is_timed", "_loop", "_post")

    def __init__(self, post: Post) -> None:
        self._post, self._count = post, 0
        self._is_put = self._is_timed = False
        self._loop = asyncio.get_running_loop()

    def count(self) -> None:
        self._count += 1
        if self._count >= MANY:
            self._put()
        elif not self._is_timed:
            self._is_timed = True
            self._loop.call_later(RELEASE, self._ring)

    def _ring(self) -> None:
        self._is_timed = False
        if self._count:
            self._put()

    def _put(self) -> None:
        if not self._is_put:
            self._is_put = True
            self._post.calls.add(self)

    def packed(self) -> bytes:
        count, self._count, self._is_put = self._count, 0, False
        return self._post.calls.call("release", self._post.responders, self._post.member, count)

    def lost(self) -> None:
        """Counts are put right now and then."""
