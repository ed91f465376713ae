"""Responders of a running node: handlers that answer, on the loop or on threads, so many at a time."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import queue
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..burst import Burst
from ..bus.call import Call
from ..cancelling import RAISED, raised_on
from ..data.records import ResponderRecord
from ..errors import DeclarationError, PayloadError, in_words
from ..log import note
from ..message import Malformed, Message, encode_payload, payload_of
from .calling import Caller
from .declarations import ResponderDeclaration
from .in_hand import InHand, Job
from .meter import Meter, delays_of, times_of
from .places import place_of
from .signature import Function, InvalidPayload, handler, result_check
from .stopping import where_task, where_thread

if TYPE_CHECKING:
    from .base import BaseNode

SLICE = 0.005  #: seconds after which a worker on the loop gives the loop back, however many requests wait
SWEEP = 0.02  #: seconds between two looks at what is past its deadline
Check = Callable[[Any], Any]
Outcome = tuple[bytes, BaseException | None]  #: an encoded payload, or why there is none


class Responder:
    """One responder of a node. ``cancelled`` counts requests that nobody waited for any more, or that were too late."""

    def __init__(self, node: BaseNode, declaration: ResponderDeclaration, function: Function) -> None:
        self.node, self.declaration = node, declaration
        self.handler = handler(function, node._hm.declared_resources, is_responder=True)
        self.caller = Caller(node, self.handler)
        self._is_async = _check_kind(declaration, function, is_async=self.handler.is_async)
        self._check = result_check(function, is_stream=declaration.stream)
        self.received = self.handled = self.failed = self.invalid = self.cancelled = 0
        self.error = ""
        self._hand = InHand()
        self._busy = 0  # workers that work
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._context = contextvars.copy_context()
        self._is_stopping = False
        self._idle = asyncio.Event()
        self._failures = Burst()
        self._meter = Meter()

    @property
    def name(self) -> str:
        """What its requests are called."""
        return self.declaration.name

    @property
    def in_hand(self) -> int:
        """How many requests it has, handling or waiting."""
        return len(self._hand)

    def record(self, member: str = "") -> ResponderRecord:
        """What the registry says of it; ``member`` is whose it is, where several nodes share a process."""
        return ResponderRecord(
            name=self.name,
            handler=self.handler.name,
            workers=self.declaration.workers,
            received=self.received,
            handled=self.handled,
            failed=self.failed,
            invalid=self.invalid,
            cancelled=self.cancelled,
            in_hand=self.in_hand,
            error=self.error,
            member=member,
            times=times_of([self._meter]),
            delays=delays_of([self._meter]),
        )

    # -- its life

    def start(self) -> None:
        """Be ready for requests. On the loop."""
        self.caller.prepare()
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # who speaks is known wherever it runs
        for number in range(0 if self._is_async else self.declaration.workers):
            name = f"responder {self.name} worker {number}"
            target = self._context.copy().run
            thread = threading.Thread(target=target, args=(self._work_on_thread,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    async def stopped(self, timeout: float) -> str:
        """Hand back what was not begun, and wait for the handlers that run; return where one hangs after ``timeout``
        seconds: then it is cancelled, if it is an ``async def``, and who asked is told.
        """
        self._is_stopping = True
        self._hand.hand_back()
        hangs = []
        try:
            async with asyncio.timeout(timeout):
                while self._hand.running:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            hangs += [where_task(call.work) for call in self._hand.running if isinstance(call.work, asyncio.Task)]
            hangs += [where_thread(thread) for thread in self._threads if thread.is_alive()]
            for call in list(self._hand.running):
                call.fail("NodeStopped", f"{self.node.name} stopped before it was done")
                self.withdraw(call)
        self.end_threads()
        return "\n".join(hangs)

    def end_threads(self) -> None:
        """Let each thread end when it has done what it does. From anywhere."""
        for _ in self._threads:
            self._jobs.put(None)

    # -- as who answers

    def take(self, call: Call) -> None:
        """Begin a request as soon as a worker is free. What does not fit is refused at once."""
        self.received += 1
        stream = self.declaration.stream
        try:
            if not call.wants(stream=stream):
                how = "many replies: use request_stream" if stream else "one reply: use request"
                raise InvalidPayload(f"{self.name!r} gives {how}")
            payload = payload_of(call.envelope)
            if self.handler.check is not None:
                payload = self.handler.check(payload)
        except (InvalidPayload, Malformed) as error:
            self.invalid += 1
            self.error = in_words(error)
            call.fail(type(error).__name__, str(error), is_invalid=True)
            return
        if self._is_stopping:
            self.received -= 1
            call.hand_back()
        else:
            self._hand.wait(call, payload)
            if self._busy < self.declaration.workers:
                self._begin()
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    def withdraw(self, call: Call) -> None:
        """Nobody waits any more."""
        if self._hand.withdraw(call):
            self.cancelled += 1
        elif isinstance(call.work, asyncio.Task):
            call.work.cancel()

    def _sweep(self) -> None:
        """End what is past its deadline. Looked for now and then: a timer for each would cost as much as the rest."""
        self._sweeping = None
        self._hand.drop_late(self._loop.time())
        if self._hand:
            self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    def _begin(self) -> None:
        """One more worker takes what waits."""
        if self._is_async:
            self._busy += 1
            self._tasks.add(self._loop.create_task(self._work(), context=self._context.copy()))
        elif (job := self._next()) is not None:
            self._busy += 1
            self._jobs.put(job)

    def _next(self) -> Job | None:
        job = self._hand.next(self._loop.time())
        if job is not None and self.declaration.stream:
            job[0].stream()
        return job

    # -- on the loop

    async def _work(self) -> None:
        """One worker: ends when nothing waits. It is cancelled to end what it does, and then goes on."""
        task = asyncio.current_task()
        assert task is not None
        limit = time.perf_counter() + SLICE
        while (job := self._next()) is not None:
            call, payload = job
            call.work = task
            await self._run(call, payload)
            while task.cancelling():
                task.uncancel()
            if time.perf_counter() > limit:
                await asyncio.sleep(0)
                limit = time.perf_counter() + SLICE
        self._busy -= 1
        self._tasks.discard(task)

    async def _run(self, call: Call, payload: Any) -> None:
        note(self.name, call.envelope)
        began = self._meter.begin(time.perf_counter())
        try:
            if call.is_stream:
                consume = partial(_send_all, call, self._checked)
                await self.caller.send(payload, consume, Message, self.name, call.envelope, payload)
                outcome: Outcome = b"", None
            else:
                result = await self.caller.call(payload, Message, self.name, call.envelope, payload)
                outcome = self._encoded(result), None
        except RAISED as error:  # a cancelled one ends here, too
            outcome = b"", raised_on(error)
        self._done(call, began, *outcome)

    # -- on threads

    def _work_on_thread(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, payload = job
            note(self.name, call.envelope)
            began = self._meter.begin(time.perf_counter())
            try:
                if call.is_stream:
                    consume = partial(_send_all_from_thread, call, self._checked, self._loop)
                    self.caller.send(payload, consume, Message, self.name, call.envelope, payload)
                    outcome: Outcome = b"", None
                else:
                    outcome = self._encoded(self.caller.call(payload, Message, self.name, call.envelope, payload)), None
            except RAISED as error:
                outcome = b"", error
            try:
                self._loop.call_soon_threadsafe(self._thread_done, call, began, *outcome)
            except RuntimeError:  # the loop is closed: we were abandoned
                return

    def _thread_done(self, call: Call, began: float, payload: bytes, error: BaseException | None) -> None:
        self._busy -= 1
        self._done(call, began, payload, error)
        self._begin()

    # -- what comes of it

    def _checked(self, result: Any) -> Any:
        return result if self._check is None else self._check(result)

    def _encoded(self, result: Any) -> bytes:
        return encode_payload(self._checked(result))

    def _done(self, call: Call, began: float, payload: bytes, error: BaseException | None) -> None:
        self._hand.running.discard(call)
        call.work = None
        if call.deadline <= self._loop.time() and not call.is_stream:
            call.drop()
        if call.is_over:
            self.cancelled += 1
        elif error is not None:
            self._failed(call, error)
        else:
            self.handled += 1
            call.end() if call.is_stream else call.reply(payload)
        self._meter.add(began, time.perf_counter(), call.envelope, self.handled)
        if not self._hand.running:
            self._idle.set()

    def _failed(self, call: Call, error: BaseException) -> None:
        self.failed += 1
        self.error = in_words(error)
        if (held := self._failures.first()) is not None:
            more, extra = self._failures.more(held), self._failures.extra
            self.node.logger.error("responder %s failed%s", self.name, more, exc_info=error, extra=extra)
        text = "".join(traceback.format_exception(error))
        call.fail(type(error).__name__, _said(error), text)


async def _send_all(call: Call, checked: Check, replies: Any) -> None:
    try:
        async for one in replies:
            await call.part(checked(one))
    finally:
        await replies.aclose()


def _send_all_from_thread(call: Call, checked: Check, loop: asyncio.AbstractEventLoop, replies: Any) -> None:
    try:
        for one in replies:
            asyncio.run_coroutine_threadsafe(call.part(checked(one)), loop).result()
            if call.is_over:
                break
    finally:
        replies.close()


def _said(error: BaseException) -> str:
    if isinstance(error, PayloadError | InvalidPayload):
        return f"the reply: {error}"
    return str(error)[:4096]


def _check_kind(declaration: ResponderDeclaration, function: Function, *, is_async: bool) -> bool:
    """Whether it runs on the loop. Raises DeclarationError where ``stream`` and the kind of function do not agree."""
    call = function if inspect.isroutine(function) else type(function).__call__
    yields = inspect.isasyncgenfunction(call) or inspect.isgeneratorfunction(call)
    if yields and not declaration.stream:
        raise DeclarationError(f"responder {declaration.name!r} yields its replies: write stream=True")
    if declaration.stream and not yields:
        raise DeclarationError(f"responder {declaration.name!r}: stream=True is for a function that yields its replies")
    return is_async or inspect.isasyncgenfunction(call)


def check_names(node: str, responders: list[Responder]) -> None:
    """Raise DeclarationError where two of a node have one name."""
    seen: set[str] = set()
    for one in responders:
        if one.name in seen:
            where = place_of(one.handler.function)
            raise DeclarationError(f"{where}{node}: two responders are called {one.name!r}: give one another name")
        seen.add(one.name)
