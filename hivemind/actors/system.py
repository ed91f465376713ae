"""What actors of one address send each other, ask, do later, and are told."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Collection
from threading import get_ident
from typing import Any

from ..errors import NoActor, RequestLost
from .answer import Answer
from .body import checked
from .cell import Cell
from .engine import Engine
from .far import Far
from .mailbox import DeadLetter, Room, Turn
from .pid import PID
from .population import Population, method_of
from .process import Process
from .timers import Timer
from .watches import Notice, Watch


class System(Population):
    """The actors of one address. Everything public can be called from any thread, and returns at once."""

    def __init__(self, engine: Engine, ip: str, port: int) -> None:
        super().__init__(engine, ip, port)
        self.far: Far | None = None
        self._asked = set[Answer]()

    def send(self, from_pid: PID, to_pid: PID, method: str, body: bytes | None = None) -> None:
        """Send a message from an actor here. Raises InvalidProcess where that is not here, TypeError for no bytes."""
        self.cell(from_pid)
        self.post(from_pid, to_pid, method, checked(body))

    def post(self, sender: PID, to: PID, mailbox: str, body: bytes) -> None:
        """Send what was checked. Those of one thread arrive in their order."""
        if get_ident() == self.engine.ident:
            self.deliver(sender, to, mailbox, body)
        else:
            self.engine.call(self.deliver, sender, to, mailbox, body)

    def deliver(self, sender: PID, to: PID, mailbox: str, body: bytes, answer: Answer | None = None) -> None:
        """Bring it to whom it is for, here or elsewhere. On the loop."""
        if to.port != self.port or to.ip != self.ip:
            self._deliver_far(sender, to, mailbox, body, answer)
            return
        cell = self._cells.get(to.id)
        if cell is None:
            self._dead(DeadLetter(sender, to, mailbox, body, "there is no such actor"), answer)
            return
        handler = cell.mailboxes.get(mailbox)
        if handler is not None:
            cell.put(Turn(handler.function, (cell.process, sender, body), handler.is_async, mailbox, answer))
        elif (delegate := cell.process.delegates.get(mailbox)) is not None:
            self.deliver(sender, delegate, mailbox, body, answer)
        else:
            self._dead(DeadLetter(sender, to, mailbox, body, "it has no such mailbox"), answer)

    def ask(self, sender: PID, to: PID, mailbox: str, body: bytes, timeout: float) -> Answer:
        """Send a message whose handler's result is wanted back, within so many seconds."""
        made: asyncio.Future[Any] | concurrent.futures.Future[Any]
        made = self.loop.create_future() if self.engine.is_here else concurrent.futures.Future()
        answer = Answer(made, f"{to}/{mailbox}", self._asked.discard)
        self.do(self._ask, sender, to, mailbox, body, answer, timeout)
        return answer

    def dispatch(self, pid: PID, method: str, *arguments: Any) -> None:
        """Call any method of an actor here on its own turn. Raises InvalidProcess, InvalidMethod."""
        cell = self.cell(pid)
        function = method_of(cell, method)
        self.do(cell.put, Turn(function, arguments, asyncio.iscoroutinefunction(function)))

    def delay(self, seconds: float, pid: PID, method: str, *arguments: Any) -> Timer:
        """The same in so many seconds. Ends with ``cancel()`` of what it returns, and with the actor."""
        return self._begun(Timer(self.cell(pid), seconds, None, method_of(self.cell(pid), method), arguments))

    def every(self, seconds: float, pid: PID, method: str, *arguments: Any) -> Timer:
        """The same again and again, for the first time in so many seconds."""
        return self._begun(Timer(self.cell(pid), seconds, seconds, method_of(self.cell(pid), method), arguments))

    def link(self, pid: PID, to: PID) -> None:
        """Have ``exited`` of the actor here called once when the other has ended or cannot be reached."""
        cell = self.cell(pid)
        self.do(self._begin, Watch(cell, to, cell.process.exited, is_link=True))

    def monitor(self, pid: PID, to: PID, notice: Notice) -> Watch:
        """Have ``notice(to, reason)`` called then, on the turn of the actor here."""
        watch = Watch(self.cell(pid), to, notice, is_link=False)
        self.do(self._begin, watch)
        return watch

    def unlink(self, pid: PID, to: PID) -> None:
        """Tell it of that end no more."""
        self.do(self._unlink, self.cell(pid), to)

    def watch(self, watch: Watch) -> None:
        """Tell it of that end. On the loop."""
        if self.is_own(watch.to):
            self.watch_own(watch)
        elif self.far is not None:
            self.far.watch(watch)
        else:
            watch.tell("that address cannot be reached from here")

    def unwatch(self, watch: Watch) -> None:
        """Not any more. On the loop."""
        if self.is_own(watch.to):
            self.unwatch_own(watch)
        elif self.far is not None:
            self.far.unwatch(watch)

    async def end_all(self, within: float) -> None:
        """End all, the newest first, in so many seconds at most; whoever still waits for an answer gets none."""
        await super().end_all(within)
        for answer in tuple(self._asked):
            answer.fail(RequestLost(answer.what, "the context was stopped"))

    def _made(self, process: Process, pid: PID, room: Room) -> Cell:
        return Cell(self, process, pid, type(process).declared.mailboxes, room)

    def _deliver_far(self, sender: PID, to: PID, mailbox: str, body: bytes, answer: Answer | None) -> None:
        if self.far is None:
            self._dead(DeadLetter(sender, to, mailbox, body, "that address cannot be reached from here"), answer)
        elif answer is None:
            self.far.send(sender, to, mailbox, body)
        else:
            self.far.ask(sender, to, mailbox, body, answer)

    def _dead(self, letter: DeadLetter, answer: Answer | None) -> None:
        if answer is not None:
            answer.fail(NoActor(answer.what, letter.reason))
        self.bury(letter)

    def _ask(self, sender: PID, to: PID, mailbox: str, body: bytes, answer: Answer, timeout: float) -> None:
        self._asked.add(answer)
        answer.expire(self.loop, timeout)
        self.deliver(sender, to, mailbox, body, answer)

    def _begun(self, timer: Timer) -> Timer:
        self.do(timer.begin, self.loop.time() + timer.seconds)
        return timer

    def _begin(self, watch: Watch) -> None:
        known: Collection[Watch] = watch.owner.watches or ()
        if not (watch.is_link and any(each.is_link and each.to == watch.to for each in known)):
            watch.begin()

    def _unlink(self, cell: Cell, to: PID) -> None:
        for watch in tuple(cell.watches or ()):
            if watch.is_link and watch.to == to:
                watch.cancel()
