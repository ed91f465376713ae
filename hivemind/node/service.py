"""Services: functions that are called for ever and send what they observed."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..backoff import Backoff
from ..cancelling import RAISED, is_ending
from ..clock import clock_of
from ..data.records import ServiceRecord
from ..errors import DeclarationError, in_words
from ..log import note
from ..states import SERVICE, ServiceState, advance
from .declarations import ServiceDeclaration
from .signature import is_async, service_wants
from .stopping import Stop, where_task, where_thread

if TYPE_CHECKING:
    from .base import BaseNode

HEALTHY = 10.0  #: seconds without an exception after which the back-off begins anew
BUSY_CALLS, BUSY_PAUSE = 1000, 0.001  #: calls within a second without a wait; seconds of pause from then on


class Service(Protocol):
    """What a ``def`` service function gets: methods that wait where they have to."""

    @property
    def name(self) -> str:
        """The topic it sends on."""

    @property
    def node(self) -> BaseNode:
        """The node it belongs to."""

    def send(self, payload: Any, *, headers: Mapping[str, str] | None = None) -> None:
        """Hand one message over; waits only while the outbox is full. Raises PayloadError."""

    def sleep_for(self, seconds: float) -> bool:
        """Sleep for so many ``seconds``; False at once when the node stops, also if that came first."""

    def drain(self) -> None:
        """Wait until the outbox has room."""

    def flush(self, timeout: float = 10.0) -> None:
        """Return when Redis has confirmed what was sent before. Raises Refused, and Unconfirmed after ``timeout``
        seconds.
        """


class AsyncService(Protocol):
    """What an ``async def`` service function gets: the same, awaited where it waits."""

    @property
    def name(self) -> str:
        """The topic it sends on."""

    @property
    def node(self) -> BaseNode:
        """The node it belongs to."""

    def send(self, payload: Any, *, headers: Mapping[str, str] | None = None) -> None:
        """Hand one message over. Raises PayloadError, and OutboxFull when there is no room: await ``drain()``."""

    def sleep_for(self, seconds: float) -> Coroutine[Any, Any, bool]:
        """Sleep for so many ``seconds``; False at once when the node stops, also if that came first."""

    def drain(self) -> Coroutine[Any, Any, None]:
        """Give the loop a turn, and wait until the outbox has room."""

    def flush(self, timeout: float = 10.0) -> Coroutine[Any, Any, None]:
        """Return when Redis has confirmed what was sent before. Raises Refused, and Unconfirmed after ``timeout``
        seconds.
        """


class BoundService:
    """One service of a running node: both protocols above, over one function.

    A ``def`` function runs on a thread of its own, an ``async def`` one as a task. An exception is logged, and the
    function called again after a back-off of 0.5 to 60 seconds: a service never dies silently.
    """

    def __init__(self, node: BaseNode, declaration: ServiceDeclaration, function: Callable[..., Any]) -> None:
        self.node, self.declaration, self.function = node, declaration, function
        self._topic = declaration.topic
        self.is_async = is_async(function)
        self.state = ServiceState.WAITING
        self.sent = self.restarts = 0
        self.error = ""
        taking, self._resources = service_wants(function, node._hm.declared_resources)
        named = {taking: self} if taking and self._resources else {}
        self._call = partial(function, *((self,) if taking and not named else ()), **named)
        self._stop = Stop()
        self._backoff = Backoff(0.5, 60.0, floor=0.25)
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._healthy_at = 0.0
        self._waited = False
        self._calls, self._second, self._is_slowed = 0, 0.0, False

    @property
    def name(self) -> str:
        """The topic it sends on."""
        return self.declaration.topic

    @property
    def log(self) -> logging.Logger:
        """The node's logger."""
        return self.node.logger

    def record(self, member: str = "") -> ServiceRecord:
        """What the registry says of it; ``member`` is whose it is, where several nodes share a process."""
        kept = "kept" if self.declaration.is_kept else "live"
        return ServiceRecord(self.name, self.state.value, self.sent, self.restarts, self.error, member, kept)

    # -- for the function

    def send(self, payload: Any, *, headers: Mapping[str, str] | None = None) -> None:
        """Hand one message over, from any thread."""
        self.node._hm.hand_over(self._topic, payload, headers)
        self.sent += 1

    def sleep_for(self, seconds: float) -> Any:
        """Sleep, or return an awaitable that does."""
        self._waited = True
        return self._stop.sleep_async(seconds) if self.node.is_on_loop else self._stop.sleep(seconds)

    def drain(self) -> Any:
        """Wait for room in the outbox, or return an awaitable that does."""
        self._waited = True
        return self.node.drain()

    def flush(self, timeout: float = 10.0) -> Any:
        """Wait for Redis, or return an awaitable that does."""
        self._waited = True
        return self.node.flush(timeout)

    # -- its life

    def start(self) -> None:
        """Begin to call the function. On the loop."""
        self._stop.clock = clock_of(asyncio.get_running_loop())
        resources = self.node.resources
        self._call = partial(self._call, **{name: resources[one] for name, one in self._resources.items()})
        self._enter(ServiceState.RUNNING)
        if self.is_async:
            self._task = asyncio.create_task(self._run_task(), name=f"service {self.name}")
        else:
            context = contextvars.copy_context()  # who speaks is known on the thread, too
            work = (self._run_thread,)
            self._thread = threading.Thread(target=context.run, args=work, name=f"service {self.name}", daemon=True)
            self._thread.start()

    def ask_to_stop(self) -> None:
        """Wake the function if it sleeps; it is not called again."""
        self._stop.set()

    async def stopped(self, timeout: float) -> str:
        """Wait for it to end; after ``timeout`` seconds give it up, and return where it hangs ("" if it ended)."""
        self.ask_to_stop()
        hangs = ""
        if self._task is not None:
            _, pending = await asyncio.wait((self._task,), timeout=timeout)
            if pending:
                hangs = where_task(self._task)
                self._task.cancel()
        elif self._thread is not None:
            await asyncio.to_thread(self._thread.join, timeout)
            hangs = where_thread(self._thread) if self._thread.is_alive() else ""
        self._enter(ServiceState.STOPPED)
        return hangs

    def _run_thread(self) -> None:
        note(self._topic)
        while not self._stop.is_set:
            began = self._stop.clock.now()
            try:
                delay = self._judge(self._call(), began)
            except RAISED as error:  # whatever a service raises, it is called again
                delay = self._failed(error)
            if delay is None:
                return
            if delay > 0 and not self._stop.sleep(delay):
                return
            self._again()

    async def _run_task(self) -> None:
        note(self._topic)
        while not self._stop.is_set:
            began = self._stop.clock.now()
            try:
                delay = self._judge(await self._call(), began)
            except RAISED as error:
                if is_ending(error):
                    raise
                delay = self._failed(error)
            if delay is None or not await self._stop.sleep_async(delay):
                return
            self._again()

    def _judge(self, result: object, began: float) -> float | None:
        """What a call that returned means: seconds until the next one, None for never again."""
        if result is not None and (isinstance(result, bool) or not isinstance(result, int)):
            raise DeclarationError(
                f"service {self.name!r} returned {result!r:.100}: return None or 0 to go on, another int to finish; "
                "to pass something on, send it: service.send(value)"
            )
        if result:
            self._enter(ServiceState.FINISHED)
            self.log.info("service %s is finished: it returned %d", self.name, result)
            return None
        if self.declaration.every is not None:
            return max(0.0, began + self.declaration.every - self._stop.clock.now())
        return self._pause_if_busy(began)

    def _failed(self, error: BaseException) -> float:
        self._enter(ServiceState.BACKOFF)
        self.restarts += 1
        self.error = in_words(error)
        if self._stop.clock.now() > self._healthy_at:
            self._backoff.reset()
        delay = self._backoff.next()
        self._healthy_at = self._stop.clock.now() + delay + HEALTHY
        self.log.error("service %s failed; it is called again in %.1f s", self.name, delay, exc_info=error)
        return delay

    def _again(self) -> None:
        if self.state is ServiceState.BACKOFF and not self._stop.is_set:
            self._enter(ServiceState.RUNNING)

    def _pause_if_busy(self, began: float) -> float:
        """A function that returns a thousand times a second without ever waiting is a busy loop: slow it."""
        if self._waited or began - self._second >= 1.0:
            self._calls, self._second, self._waited = 0, began, False
        self._calls += 1
        if not self._is_slowed and self._calls > BUSY_CALLS:
            self._is_slowed = True
            self.log.warning(
                "service %s returned %d times in a second without waiting and is slowed now: "
                "declare it with every=, or call service.sleep_for(seconds)",
                self.name,
                BUSY_CALLS,
            )
        return BUSY_PAUSE if self._is_slowed else 0.0

    def _enter(self, state: ServiceState) -> None:
        self.state = advance(SERVICE, self.state, state)
