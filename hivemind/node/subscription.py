"""Subscriptions of a running node: workers that take from an inbox and call the handler."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any

from ..burst import Burst
from ..bus.inbox import BATCH, Entry, Inbox
from ..bus.receiving import LiveSubscription
from ..cancelling import RAISED, is_ending
from ..data.records import SubscriptionRecord
from ..english import amount
from ..errors import in_words
from ..log import note_for
from ..message import Message, envelope_of
from .calling import Caller
from .declarations import SubscriptionDeclaration
from .meter import NEVER, Meter, delays_of, times_of
from .signature import Function, InvalidPayload, handler
from .stopping import where_task, where_thread

if TYPE_CHECKING:
    from .base import BaseNode

SLICE = 0.005  #: seconds after which a worker on the loop gives the loop back, however many messages wait


class Subscription:
    """One live subscription of a node, and its handler.

    ``handled`` counts messages whose handler returned, ``failed`` those whose handler raised, ``invalid`` those that
    did not fit its annotation. An ``async def`` handler runs on the loop, a ``def`` one on ``workers`` threads.
    """

    def __init__(self, node: BaseNode, declaration: SubscriptionDeclaration, function: Function) -> None:
        self.node, self.declaration = node, declaration
        self.handler = handler(function, node._hm.declared_resources)
        self.caller = Caller(node, self.handler)
        self.live = LiveSubscription(
            declaration.pattern, limits=node._hm.limits, raw=declaration.raw, since=declaration.since
        )
        self.failed = self.invalid = self.abandoned = 0
        self._handled = [0] * declaration.workers  # one counter for each worker, so that none needs a lock
        self._meters = [Meter() for _ in range(declaration.workers)]
        self.error = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._threads: list[threading.Thread] = []
        self._counting = threading.Lock()
        self._failures, self._misfits, self._losses = Burst(), Burst(), Burst()
        self._is_given_up = False
        self.live.ledger.on_gap = self._on_gap

    @property
    def name(self) -> str:
        """The pattern."""
        return self.declaration.pattern

    @property
    def handled(self) -> int:
        """How many messages were handled without an exception."""
        return sum(self._handled)

    def record(self, member: str = "") -> SubscriptionRecord:
        """What the registry says of it; ``member`` is whose it is, where several nodes share a process."""
        ledger = self.live.ledger
        return SubscriptionRecord(
            pattern=self.name,
            handler=self.handler.name,
            workers=self.declaration.workers,
            received=ledger.received,
            handled=self.handled,
            failed=self.failed,
            invalid=self.invalid,
            dropped=self.live.inbox.dropped,
            missed=ledger.missed,
            filled=ledger.filled,
            duplicate=ledger.duplicate,
            stale=ledger.stale,
            malformed=self.live.malformed,
            inbox=len(self.live.inbox) + len(self.live.passage),
            error=self.error,
            member=member,
            times=times_of(self._meters),
            delays=delays_of(self._meters),
        )

    # -- its life

    def start(self) -> None:
        """Begin to handle what comes. On the loop."""
        self.caller.prepare()
        for number in range(self.declaration.workers):
            name = f"subscription {self.name} worker {number}"
            if self.handler.is_async:
                self._tasks.append(asyncio.create_task(self._work(self.live.inbox, number), name=name))
            else:
                work = (self._work_on_thread, self.live.inbox, number)
                context = contextvars.copy_context()  # who speaks is known on the thread, too
                thread = threading.Thread(target=context.run, args=work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    async def stopped(self, timeout: float) -> str:
        """Handle what is in the closed inbox; after ``timeout`` seconds give up, and return where it hangs."""
        hangs = ""
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=timeout)
            hangs = "\n".join(where_task(task) for task in pending)
        elif self._threads:
            deadline = time.monotonic() + timeout
            for thread in self._threads:
                await asyncio.to_thread(thread.join, max(0.0, deadline - time.monotonic()))
            hangs = "\n".join(where_thread(thread) for thread in self._threads if thread.is_alive())
        if hangs:
            self._is_given_up = True
            self.abandoned = self.live.inbox.abandon()
        for task in self._tasks:
            task.cancel()
        return hangs

    # -- workers

    async def _work(self, inbox: Inbox, number: int) -> None:
        clock, handled = time.perf_counter, self._handled
        check, function = self.handler.check, self.handler.function if self.caller.is_plain else None
        note, meter, began = note_for(), self._meters[number], NEVER
        while await inbox.wait():
            limit = (now := clock()) + SLICE
            began, due = meter.plan(now, limit) if began is NEVER else (now, 0.0)
            for entry in inbox.entries():
                if note is not None:
                    note(entry)
                try:
                    payload = entry[1] if check is None else check(entry[1])
                except InvalidPayload as error:
                    self._misfit(entry, error)
                    began = NEVER
                else:
                    try:
                        await (
                            function(payload)
                            if function and entry[2].__class__ is bytes
                            else self._call(payload, entry)
                        )
                        handled[number] += 1
                    except RAISED as error:  # whatever a handler raises, the next message comes
                        if is_ending(error):
                            raise
                        self._failed(entry, error)
                if (now := clock()) > due:
                    meter.add(began, now, entry[2], handled[number])
                    if now > limit:
                        await asyncio.sleep(0)
                        limit = (now := clock()) + SLICE
                    began, due = meter.plan(now, limit)

    def _work_on_thread(self, inbox: Inbox, number: int) -> None:
        # Several workers take one message at a time, so that none keeps messages from the others.
        most = 1 if self.declaration.workers > 1 else BATCH
        note, meter, clock = note_for(), self._meters[number], time.perf_counter
        while batch := inbox.take_many(most):
            is_measured = (now := clock()) >= meter.next  # of quick ones the first stands for all
            for done, entry in enumerate(batch):
                if self._is_given_up:
                    self.abandoned += len(batch) - done
                    return
                if note is not None:
                    note(entry)
                is_handled = self._handle_on_thread(entry)
                self._handled[number] += is_handled or 0
                if is_measured:
                    began, now = meter.begin(now), clock()
                    if is_handled is not None:
                        meter.add(began, now, entry[2], self._handled[number])
                    is_measured = now >= meter.next

    def _handle_on_thread(self, entry: Entry) -> bool | None:
        """Whether its handler returned; None if it never came to that."""
        try:
            payload = self._payload(entry)
        except InvalidPayload as error:
            with self._counting:
                self._misfit(entry, error)
            return None
        try:
            if self.caller.is_plain and entry[2].__class__ is bytes:
                self.handler.function(payload)
            else:
                self._call(payload, entry)
        except RAISED as error:  # whatever a handler raises, the next message comes
            with self._counting:
                self._failed(entry, error)
            return False
        return True

    def _payload(self, entry: Entry) -> Any:
        return self.handler.check(entry[1]) if self.handler.check is not None else entry[1]

    def _call(self, payload: Any, entry: Entry) -> Any:
        return self.caller.call(payload, Message, entry[0], entry[2], payload)

    # -- what went wrong

    def _failed(self, entry: Entry, error: BaseException) -> None:
        self.failed += 1
        self.error = in_words(error)
        if (held := self._failures.first()) is not None:
            self._say(f"{self.handler.name} failed on a message of {entry[0]}", self._failures, held, error)

    def _misfit(self, entry: Entry, error: Exception) -> None:
        self.invalid += 1
        self.error = in_words(error)
        if (held := self._misfits.first()) is not None:
            sender = envelope_of(entry[2])["n"] or "somebody outside the hive"
            self._say(f"{entry[0]} from {sender} does not fit {self.handler.name}: {error}", self._misfits, held)

    def _on_gap(self, topic: str, sender: str, first: int, last: int) -> None:
        if (held := self._losses.first()) is not None:
            count = last - first + 1
            text = f"missed {amount(count, 'message')} of {sender} on {topic}, numbers {first} to {last}"
            self._say(text, self._losses, held)
        self.node._hm.gaps.tell(topic, sender, first, last)

    def _say(self, text: str, burst: Burst, held: int, error: BaseException | None = None) -> None:
        log = self.node.logger.error if error else self.node.logger.warning
        log("%s%s", text, burst.more(held), exc_info=error, extra=burst.extra)
