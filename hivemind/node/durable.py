"""Durable subscriptions of a running node: workers that handle what a group of readers was given, at least once."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orjson import JSONDecodeError, loads

from ..bus.delivery import Delivery
from ..bus.tally import Counted
from ..bus.trials import Rules
from ..cancelling import RAISED, is_ending
from ..data.records import SubscriptionRecord
from ..errors import DeclarationError
from ..log import note
from ..message import FLAT, Malformed, decode, foreign, is_envelope, payload_of
from ..states import DeliveryState
from .calling import Caller
from .declarations import SubscriptionDeclaration
from .handover import Handover
from .meter import NEVER, Meter, delays_of, times_of
from .patience import Patience
from .places import place_of
from .results import Results
from .settling import DurableMessage, Settling
from .signature import Function, InvalidPayload, handler
from .stopping import where_task, where_thread

if TYPE_CHECKING:
    from .base import BaseNode

SLICE = 0.005  #: seconds after which a worker on the loop gives the loop back, however many messages wait
HANDLING = DeliveryState.HANDLING
LOOK: Any = object()  #: in place of a message: look at what goes first


class DurableSubscription:
    """One durable subscription of a node, and its handler.

    A message is acknowledged when the handler returns. One whose handler raised is tried again; after the last try it
    is a dead letter, and so is at once what does not fit the handler's annotation. Its handler may also say itself what
    is to become of it: see ``DurableMessage``.
    """

    def __init__(self, node: BaseNode, declaration: SubscriptionDeclaration, function: Function) -> None:
        self.node, self.declaration = node, declaration
        self.handler = handler(function, node._hm.declared_resources)
        if declaration.timeout is not None and not self.handler.is_async:
            raise DeclarationError(
                f"{self.handler.name}: timeout= needs an async def: a thread cannot be ended; give what it calls a "
                "time-out"
            )
        self.caller = Caller(node, self.handler)
        self.received = 0
        self.results = Results(self.handler.name, node.logger)
        self.counted: Callable[[], Counted] = Counted
        self._here: Handover[Delivery | None] = Handover()
        self._there: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._first: deque[Delivery] = deque()  # what goes before all that waits
        self._tasks: list[asyncio.Task[None]] = []
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settling: Settling | None = None
        self._plain: Function | None = None  # the handler, if it wants the payload and nothing is around it
        self._is_stopping = False
        self._patience = Patience(self._runs_long)
        self._meter = Meter()

    @property
    def name(self) -> str:
        """The pattern."""
        return self.declaration.pattern

    @property
    def handled(self) -> int:
        """Of how many messages it said, or its return did, that they are handled."""
        return self.results.handled

    @property
    def failed(self) -> int:
        """How many tries have raised."""
        return self.results.failed

    @property
    def group(self) -> str:
        """The group in which it reads: its copies share the work."""
        return self.declaration.group or self.node.name

    @cached_property
    def rules(self) -> Rules:
        """How its messages are tried again."""
        said = self.declaration
        order_by = said.order_by or ""
        return Rules(said.retries, *said.backoff, at_once=said.workers, window=said.window, order_by=order_by)

    def record(self, member: str = "") -> SubscriptionRecord:
        """What the registry says of it."""
        counted = self.counted()
        return SubscriptionRecord(
            pattern=self.name,
            handler=self.handler.name,
            workers=self.declaration.workers,
            received=self.received,
            handled=self.results.handled,
            failed=self.results.failed,
            invalid=self.results.invalid,
            inbox=len(self._here.waiting) + self._there.qsize(),
            error=self.results.error,
            member=member,
            group=self.group,
            **asdict(counted.tally),
            pending=counted.pending,
            parked=counted.parked,
            longest=int(self._patience.longest(counted.handling, self._loop.time() if self._loop else 0.0)),
            times=times_of([self._meter]),
            delays=delays_of([self._meter]),
        )

    # -- its life

    def start(self) -> None:
        """Begin to handle what is handed over. On the loop."""
        self.caller.prepare()
        self._loop = asyncio.get_running_loop()
        self._settling = Settling(self._loop, self.results.decided)
        self._plain = self.handler.function if self.caller.is_plain else None
        for number in range(self.declaration.workers):
            name = f"subscription {self.name} worker {number}"
            if self.handler.is_async:
                self._tasks.append(asyncio.create_task(self._work(), name=name))
            else:
                context = contextvars.copy_context()  # who speaks is known on the thread, too
                thread = threading.Thread(target=context.run, args=(self._work_on_thread,), name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def hand(self, delivery: Delivery) -> None:
        """Handle this one as soon as a worker is free. On the loop."""
        put = self._here.put if self.handler.is_async else self._there.put
        if delivery.again:
            self._first.append(delivery)
            put(LOOK)
        else:
            self.received += 1
            put(delivery)

    def begin_to_stop(self) -> None:
        """Begin no other message. On the loop, or when that is gone."""
        self._is_stopping = True
        for _ in range(self.declaration.workers):
            self._here.put(None)
            self._there.put(None)

    async def stopped(self, timeout: float) -> str:
        """Begin no other message, and wait for the handlers that run; after ``timeout`` seconds return where one hangs.

        What was not begun stays with Redis, for other readers.
        """
        self.begin_to_stop()
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=timeout)
            for task in pending:
                task.cancel()
            return "\n".join(where_task(task) for task in pending)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            await asyncio.to_thread(thread.join, max(0.0, deadline - time.monotonic()))
        return "\n".join(where_thread(thread) for thread in self._threads if thread.is_alive())

    # -- workers

    async def _work(self) -> None:
        first, waiting, timeout, clock = self._first, self._here.waiting, self.declaration.timeout, time.perf_counter
        limit, meter = clock() + SLICE, self._meter
        while True:
            delivery = first.popleft() if first else waiting.popleft() if waiting else await self._here.next()
            if delivery is LOOK:
                continue
            if delivery is None or self._is_stopping:
                return
            if (now := clock()) > limit:
                await asyncio.sleep(0)
                await delivery.owner.make_sure(delivery.topic, lambda: self._is_stopping)
                limit = (now := clock()) + SLICE
                if self._is_stopping:
                    return
            if delivery.owner.is_taken:
                continue
            delivery.enter(HANDLING)
            began = meter.begin(now) if now >= meter.next else NEVER
            try:
                if timeout is None:
                    await self._call(delivery)
                else:
                    async with asyncio.timeout(timeout):
                        await self._call(delivery)
            except RAISED as error:
                if is_ending(error):
                    raise
                self._end(delivery)
                self.results.raised(delivery, error)
                self._measure(delivery, began, clock(), error)
            else:
                self._end(delivery)
                self.results.returned(delivery)
                if began is not NEVER:
                    self._measure(delivery, began, clock())

    def _work_on_thread(self) -> None:
        assert self._loop is not None
        tell, clock = self._loop.call_soon_threadsafe, time.perf_counter
        while (delivery := self._next_first() or self._there.get()) is not None and not self._is_stopping:
            if delivery is LOOK or delivery.owner.is_taken:
                continue
            owner, topic = delivery.owner, delivery.topic
            if not owner.standing.is_sure(topic):
                asyncio.run_coroutine_threadsafe(owner.make_sure(topic, lambda: self._is_stopping), self._loop).result()
            if owner.is_taken or self._is_stopping:
                continue
            tell(self._begin, delivery)
            began = self._meter.begin(clock())
            try:
                self._call(delivery)
            except RAISED as error:
                self._end(delivery)
                tell(self.results.raised, delivery, error)
                tell(self._measure, delivery, began, clock(), error)
            else:
                self._end(delivery)
                tell(self.results.returned, delivery)
                if began is not NEVER:
                    tell(self._measure, delivery, began, clock())

    def _next_first(self) -> Delivery | None:
        return self._first.popleft() if self._first else None

    def _call(self, delivery: Delivery) -> Any:
        note(delivery.topic, delivery.body)
        source, payload = _read(delivery)
        if self.handler.check is not None:
            payload = self.handler.check(payload)
        if self._plain is not None and source.__class__ is bytes:
            return self._plain(payload)
        assert self._settling is not None
        return self.caller.call(payload, DurableMessage, delivery.topic, source, payload, delivery, self._settling)

    def _runs_long(self, delivery: Delivery, seconds: float) -> None:
        text = "%s has been handling a message of %s, entry %s, for %.0f s; it runs on, and only a restart ends it%s"
        where = where_thread(self._threads[0]) if len(self._threads) == 1 else ""
        where = where_task(self._tasks[0]) if len(self._tasks) == 1 else where
        more = ". It is in\n" + where if where else ""
        what = (self.handler.name, delivery.topic, delivery.entry.decode(), seconds)
        self.node.logger.warning(text, *what, more)

    def _begin(self, delivery: Delivery) -> None:
        if not delivery.owner.is_taken:
            delivery.enter(HANDLING)

    def _measure(self, delivery: Delivery, began: float, ended: float, error: BaseException | None = None) -> None:
        if not isinstance(error, InvalidPayload | Malformed):  # those came to no handler
            source = delivery.body if delivery.number == 1 else None  # a further try is late on purpose
            self._meter.add(began, ended, source, self.results.handled)

    def _end(self, delivery: Delivery) -> None:
        if self._settling is not None and self._plain is None:
            self._settling.end(delivery)


def check_groups(node: str, subscriptions: list[DurableSubscription]) -> None:
    """Raise DeclarationError where two read the same in one group: each message would reach only one of them."""
    seen: set[tuple[str, str]] = set()
    for one in subscriptions:
        if (one.group, one.name) in seen:
            raise DeclarationError(
                f"{place_of(one.handler.function)}{node}: two durable subscriptions to {one.name!r} in group "
                f"{one.group!r}: each message would reach only one of them; give one of them another group="
            )
        seen.add((one.group, one.name))


def _read(delivery: Delivery) -> tuple[bytes | dict[str, Any], Any]:
    """A message as it came, or as it was read if it has headers or is foreign, and its payload. Raises Malformed."""
    body = delivery.body
    try:
        value = loads(body) if len(body) <= FLAT else decode(body)
    except JSONDecodeError as error:
        raise Malformed(str(error)) from error
    if value.__class__ is not dict or "v" not in value:
        return foreign(value), value
    if not is_envelope(value):
        raise Malformed("it is no envelope")
    return value if "h" in value else body, value["d"] if "d" in value else payload_of(value)
