"""Lives of real nodes, each on an event loop that is turned by hand, one callback at a time.

So a life can be killed between any two steps of its tasks, frozen and thawed, and beside it others go on; all on one
thread, on a real Redis. Time is ``time.monotonic`` with an offset that the test turns.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from hivemind import AsyncService, Node, Reject, Retry, service, subscription
from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import body
from hivemind.cancelling import end
from hivemind.constants import Constants
from hivemind.errors import HivemindError, Refused, Unconfirmed
from hivemind.node.base import BaseNode
from hivemind.node.life import Life, Place
from hivemind.settings import Settings
from hivemind.states import NodeState
from hivemind.topics import Names

from .hand_loop import Clock, HandLoop
from .servers import Connection, RedisServer

T = TypeVar("T")
TOPIC = "order"
GROUP = "shop"
RETRIES = 2
LEASE = 6.0
AT_ONCE = 0.4  # seconds that the clock is turned at once: less than any time-out
LITTLE = 0.05  # seconds that pass between two steps when nobody has anything to do
CALM = 0.003  # seconds without a sound from Redis after which nothing more comes


@dataclass(slots=True)
class One:
    """One message of the test: how often its handler is to fail before it returns, and what is known of it."""

    number: int
    sender: Being
    fails: int = 0
    rejects: bool = False
    holds: bool = False  # its handler waits until it is let go
    confirmed: bool = False
    begun: int = 0
    ended: int = 0
    failed: int = 0
    died: int = 0  # how often it was in a handler when its life ended
    tries: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        told = f"begun {self.begun}, tries {self.tries}, ended {self.ended}, failed {self.failed}, died {self.died}"
        plan = f"fails {self.fails}" + ", rejects" * self.rejects + ", holds" * self.holds
        return f"message {self.number} ({plan}): {'confirmed' if self.confirmed else 'not confirmed'}, {told}"


@dataclass(slots=True, eq=False)
class Being:
    """One life: its loop, its node, and what is in its handler."""

    loop: HandLoop
    node: BaseNode
    life: Life
    inside: dict[int, asyncio.Event] = field(default_factory=dict)
    is_dead: bool = False
    is_frozen: bool = False
    was_frozen: bool = False
    begun: list[int] = field(default_factory=list)  # the numbers with which its handlers were called
    starting: asyncio.Task[None] | None = None
    tasks: list[asyncio.Future[Any]] = field(default_factory=list)  # what the test has going on it


class Faults(logging.Handler):
    """Collects what is logged with an exception that nobody planned."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, Planned | HivemindError):
            self.found.append(logging.Formatter().format(record))


class Planned(Exception):
    """What a handler raises because the test wants it to."""


class World:
    """A hive on one server: lives that come and go, the messages sent, and what became of them."""

    def __init__(self, server: RedisServer, hive: str, clock: Clock) -> None:
        self.server, self.hive, self.clock = server, hive, clock
        self.names = Names(hive)
        self.beings: list[Being] = []
        self.buried: list[Being] = []
        self.messages: dict[int, One] = {}
        self.wrong: list[str] = []
        self.first: list[int] = []  # numbers in the order in which they were first begun
        self.ended = self.freezes = 0
        self.is_trimmed = self.is_forgotten = self.is_away = False
        self.faults = Faults()
        self._look: Connection | None = None
        constants = Constants(HIVE_NAME=hive, REDIS_URL=server.url, LEASE=LEASE)
        self.settings = Settings(constants, {}, None)
        log = logging.getLogger("hivemind")
        log.addHandler(self.faults)

    def __str__(self) -> str:
        return "\n".join([f"left: {self.left()}", *self.wrong, *map(str, self.messages.values())])

    def close(self) -> None:
        """End everything."""
        logging.getLogger("hivemind").removeHandler(self.faults)
        for being in [*self.beings, *self.buried]:
            being.loop.cut()
            being.loop.bury(being.life.bus.aclose())
        if self._look is not None:
            self._look.close()

    # -- lives

    def begin(self, kind: Callable[[World], BaseNode], number: int = 0) -> Being:
        """Begin a life of the ``number``-th copy of a node; as when the process before it is gone."""
        loop = HandLoop()
        with loop.current():
            node = kind(self)
            node._hm.bind()
            bus = Bus(Endpoint.parse(self.server.url), self.hive, node.name)
            life = Life(node, self.settings, bus, Place(number, is_fixed=True), "test")
        being = Being(loop, node, life)
        node.being = being  # type: ignore[attr-defined]
        self.ask("DEL", self.names.node(f"{node.name}.{number}"))
        self.beings.append(being)
        being.starting = self.spawn(being, life.start())
        return being

    def up(self, being: Being) -> Being:
        """Wait until it is registered and does what it is for."""
        assert self.until(lambda: being.node._hm.state is NodeState.RUNNING), f"it stays {being.node._hm.state}"
        return being

    def spawn(self, being: Being, what: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let a life do something beside what it does."""
        with being.loop.current():
            task = being.loop.create_task(what)
        being.tasks.append(task)
        return task

    def kill(self, being: Being) -> None:
        """As kill -9: it does nothing any more, and its connections are closed."""
        being.is_dead = True
        self.lose(being)
        self._gone(being)

    def _gone(self, being: Being) -> None:
        self.beings.remove(being)
        self.buried.append(being)
        self.ended += 1
        for number in being.inside:
            self.messages[number].died += 1

    def stop(self, being: Being) -> None:
        """As SIGTERM; returns when it has ended."""
        stopping = self.spawn(being, self._stop(being))
        assert self.until(stopping.done), "it does not stop"
        stopping.result()
        being.is_dead = True
        self._gone(being)

    def freeze(self, being: Being) -> None:
        """As SIGSTOP."""
        being.is_frozen = being.was_frozen = True
        self.freezes += 1

    def thaw(self, being: Being) -> None:
        """As SIGCONT."""
        being.is_frozen = False

    async def _stop(self, being: Being) -> None:
        await end(being.starting)
        await being.life.stop(10.0)

    # -- time

    def step(self) -> bool:
        """One step of each life; False if none had anything to do."""
        stepped = [being.loop.step() for being in self.beings if not being.is_frozen]
        return any(stepped)

    def steps(self, count: int) -> None:
        """So many steps; where nobody has anything to do time passes."""
        for _ in range(count):
            if not self.step() and not self._wait():
                self.clock.ahead += LITTLE

    def _wait(self) -> bool:
        """Wait for Redis to say something; False if it does not, though it has done what it was asked."""
        living = [being.loop for being in self.beings if not being.is_frozen]
        if not living:
            return False
        if select.select(living, [], [], CALM)[0] or min(loop.due() for loop in living) <= 0:
            return True
        if self.is_away:
            return False
        self.ask("PING")
        return bool(select.select(living, [], [], 0)[0])

    def settle(self, most: int = 100_000) -> None:
        """Let everybody go on until nothing happens any more, but that time passes."""
        for _ in range(most):
            if not self.step() and not self._wait():
                return
        self.wrong.append("it never comes to rest")

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        while seconds > 0:
            self.clock.ahead += min(AT_ONCE, seconds)
            seconds -= AT_ONCE
            self.settle()

    def until(self, check: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Let time pass until something is so; False if it is not in so many seconds."""
        self.settle()
        while seconds > 0 and not check():
            self.turn(AT_ONCE)
            seconds -= AT_ONCE
        return check()

    # -- Redis

    def ask(self, *words: str | bytes | float) -> Any:
        """One command, as somebody who looks on."""
        if self._look is None:
            self._look = Connection(self.server.socket)
        return self._look.ask(*words)

    def stall(self) -> None:
        """Freeze Redis."""
        self.is_away = True
        self.server.freeze()

    def resume(self) -> None:
        """Thaw it."""
        self.server.thaw()
        self.is_away = False

    def restart(self) -> None:
        """Kill Redis with -9 and start it again; it has its data."""
        if self._look is not None:
            self._look.close()
            self._look = None
        self.server.restart(keep_data=True, kill=True)

    def lose(self, being: Being) -> None:
        """Cut a life off when Redis has done what it was asked, but before the answers are read."""
        self.ask("PING")
        being.loop.cut()

    def cut(self) -> None:
        """Let Redis close all connections but our own."""
        self.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.ask("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")

    def trim(self) -> None:
        """Let somebody remove all that every group has acknowledged."""
        self.is_trimmed = True
        keys = (self.stream,)
        self.ask("EVAL", "local keys, args = KEYS, ARGV\n" + body("trim"), len(keys), *keys, 0, 0, "durable")

    @property
    def stream(self) -> str:
        return self.names.stream(TOPIC)

    def left(self) -> tuple[int, int]:
        """How many entries the group has pending, and how many it has not read."""
        groups = self.ask("XINFO", "GROUPS", self.stream) if self.ask("EXISTS", self.stream) else []
        fields = dict(zip(groups[0][::2], groups[0][1::2], strict=True)) if groups else {}
        if not fields:
            return 0, self.ask("XLEN", self.stream)
        after = self.ask("XRANGE", self.stream, "(" + fields["last-delivered-id"], "+")
        return fields["pending"], len(after)

    def holders(self) -> dict[int, int]:
        """How many entries each life has in hand that Redis has given something, by its incarnation."""
        rows = (
            dict(zip(row[::2], row[1::2], strict=True)) for row in self.ask("XINFO", "CONSUMERS", self.stream, GROUP)
        )
        return {int(str(row["name"]).rpartition(".e")[2]): row["pending"] for row in rows if row["pending"]}

    # -- messages

    def send(self, being: Being, **plan: Any) -> One:
        """Let a life send a message, and tell when Redis has confirmed it."""
        one = One(len(self.messages) + 1, being, **plan)
        self.messages[one.number] = one
        with being.loop.current():
            being.node.send(TOPIC, one.number)
        self.spawn(being, self._confirm(being, one))
        return one

    async def _confirm(self, being: Being, one: One) -> None:
        while True:
            try:
                await being.life.bus.flush(10.0)
            except Refused:
                return
            except Unconfirmed:
                continue
            one.confirmed = True
            return

    async def handle(self, being: Being, number: int, tries: int, entry: Any = None) -> None:
        """What the handlers of all lives do with a message: look whether it is right that they are called, and do as
        planned.
        """
        one = self.messages[number]
        self._check(being, one, tries)
        one.begun += 1
        being.begun.append(number)
        one.tries.append(tries)
        if one.begun == 1:
            self.first.append(number)
        being.inside[number] = event = asyncio.Event()
        try:
            if one.holds:
                await event.wait()
            else:
                await asyncio.sleep(0)
        finally:
            if not being.is_dead:
                del being.inside[number]
        if one.rejects:
            one.failed += 1
            raise Reject("nobody wants it")
        if one.failed < one.fails:
            one.failed += 1
            raise Retry(0.3) if one.failed % 2 else Planned
        one.ended += 1

    def let_go(self) -> None:
        """Let every handler that waits return, and none wait any more."""
        for one in self.messages.values():
            one.holds = False
        for being in self.beings:
            with being.loop.current():
                for event in being.inside.values():
                    event.set()

    def _check(self, being: Being, one: One, tries: int) -> None:
        if being.was_frozen or self.is_forgotten:
            return
        others = [other for other in self.beings if one.number in other.inside and not other.was_frozen]
        if others:
            self.wrong.append(f"{one} is in two handlers at once")
        if not self._is_pending(one.number):
            self.wrong.append(f"{one} is handled though it was acknowledged, or buried")
        if tries > RETRIES + 1:
            self.wrong.append(f"{one} is tried for the {tries}th time")
        if not self.freezes and tries + min(1, self.ended) <= one.failed:  # heirs do not count that it was given out
            self.wrong.append(f"{one} is tried for the {tries}th time, and has failed {one.failed} times")

    def _is_pending(self, number: int) -> bool:
        """Whether Redis knows that somebody holds this message."""
        held = {entry[0] for entry in self.ask("XPENDING", self.stream, GROUP, "-", "+", 10_000)}
        return any(f'"d":{number}}}' in fields[1] for entry, fields in self.entries() if entry in held)

    def entries(self) -> list[Any]:
        """What is in the stream."""
        return list(self.ask("XRANGE", self.stream, "-", "+"))

    def letters(self) -> Counter[int]:
        """The numbers of the dead letters, and how many each has."""
        found = self.ask("XRANGE", self.names.letters(TOPIC), "-", "+")
        return Counter(orjson.loads(orjson.loads(fields[1])["message"])["d"] for _, fields in found)

    def appended(self) -> Counter[int]:
        """The numbers of the messages in the stream, and how often each is there."""
        return Counter(orjson.loads(fields[1])["d"] for _, fields in self.entries())

    # -- the end

    def is_done(self) -> bool:
        """Whether nothing is left to be handled."""
        return self.left() == (0, 0) and all(one.confirmed or one.sender.is_dead for one in self.messages.values())

    def verdict(self, *, in_order: bool = True) -> None:
        """Raise AssertionError where what became of the messages is not what is promised."""
        letters, appended = self.letters(), self.appended()
        wrong = [*self.wrong, *self.faults.found]
        if self.left() != (0, 0):
            wrong.append(f"left, pending and not read: {self.left()}")
        for one in self.messages.values():
            wrong += [f"{what}: {one}" for what in self._faults_of(one, letters[one.number], appended[one.number])]
        for sender in {one.sender for one in self.messages.values()} if in_order else ():
            mine = [self.messages[number] for number in self.first]
            smooth = [one.number for one in mine if one.sender is sender and not one.failed]
            if smooth != sorted(smooth):
                wrong.append(f"out of order: {self.first}")
        assert not wrong, "\n".join(wrong)

    def _faults_of(self, one: One, letters: int, appended: int) -> Iterator[str]:
        if one.confirmed and not one.ended and not letters:
            yield "lost"
        if appended > 1 or (one.confirmed and not appended and not self.is_trimmed):
            yield f"{appended} times in the stream"
        if appended and not one.ended and not letters:
            yield "not handled"
        if letters > 1 or (letters and one.ended and not self.freezes):  # what a zombie handles counts for nothing
            yield f"{letters} dead letters"
        if letters and not one.rejects and one.failed + one.died <= RETRIES:
            yield "buried too early"
        if one.failed + one.died > RETRIES + 2:
            yield "tried too often"


def shop(world: World) -> Node:
    """A node that reads in the group ``shop``."""

    class Shop(Node):
        being: Being

        @subscription("order", durable=True, since="all", retries=RETRIES, backoff=(0.2, 0.4))
        async def pack(self, payload: int, message: Any) -> None:
            await world.handle(self.being, payload, message.deliveries)

    return Shop()


def till(world: World) -> Node:
    """A node that sends durably."""

    class Till(Node):
        being: Being

        @service("order", durable=True)
        async def sell(self, service: AsyncService) -> int:
            return 1

    return Till()
