"""Who is at an address: actors come, are found by name, and go."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import InvalidMethod, InvalidProcess
from .cell import Cell, Life
from .engine import Engine
from .mailbox import ANY, DeadLetter, Room, Turn
from .pid import PID, checked_name
from .process import Process
from .threads import Threads
from .watches import Watch

log = logging.getLogger(__name__)

KEPT = 1000
"""Dead letters that can be looked at: the newest."""


class Population:
    """The actors of one address, on one loop. What is sent among them: system.py."""

    def __init__(self, engine: Engine, ip: str, port: int) -> None:
        self.engine, self.ip, self.port = engine, ip, port
        self.dead_letters: deque[DeadLetter] = deque(maxlen=KEPT)
        self.dead_count = 0
        self._cells: dict[str, Cell] = {}
        self._threads = Threads(f"{engine.name} thread")
        self._emptied: asyncio.Event | None = None  # while all are ended

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that all are on."""
        return self.engine.loop

    def do(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call it on the loop: now, if this is it."""
        self.engine.do(function, *arguments)

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call it on the loop, soon."""
        self.engine.call(function, *arguments)

    async def on_a_thread(self, function: Callable[[Turn], None], turn: Turn) -> None:
        """Call it on a thread that it may block, and wait until it returns."""
        over = self.loop.create_future()

        def work() -> None:
            try:
                function(turn)
            finally:
                self.engine.call(over.set_result, None)

        self._threads.do(work)
        await over

    @property
    def is_on_its_thread(self) -> bool:
        """Whether this is the thread of a handler here, for which nobody may wait on it."""
        return self._threads.is_one

    def bury(self, letter: DeadLetter) -> None:
        """Keep a message that nobody got. On the loop."""
        self.dead_count += 1
        self.dead_letters.append(letter)
        log.debug("a dead letter of %s to %s/%s: %s", letter.sender, letter.to, letter.mailbox, letter.reason)

    def cell(self, pid: PID) -> Cell:
        """The actor of that address. Raises InvalidProcess if it does not live here."""
        found = self._cells.get(pid.id) if self.is_own(pid) else None
        if found is None:
            raise InvalidProcess(f"{pid} does not live here, at {self.ip}:{self.port}: spawn it first")
        return found

    def find(self, name: str) -> Cell | None:
        """The actor of that name here, if there is one."""
        return self._cells.get(name)

    @property
    def pids(self) -> list[PID]:
        """Everybody here."""
        return [cell.pid for cell in tuple(self._cells.values())]

    def is_own(self, pid: PID) -> bool:
        """Whether that is an address here."""
        return pid.port == self.port and pid.ip == self.ip

    def spawn(self, process: Process, *, replace: bool = False, room: Room = ANY) -> PID:
        """Let it live here, with ``room`` for messages that wait. Its ``initialize`` runs before any of them.

        Raises InvalidProcess where the name is taken, unless it is to ``replace`` who has it; and what ``initialize``
        raises: then it was never there. From any thread; within a handler, too.
        """
        name = checked_name(process.name)
        cell = self._made(process, PID(self.ip, self.port, name), room)
        process.bind(cell)
        there = self._cells.setdefault(name, cell)
        if there is not cell:
            if not replace:
                cell.advance(Life.STOPPED)
                raise InvalidProcess(
                    f"{there.pid} is there already: choose another name, or spawn it with replace=True"
                )
            self._cells[name] = cell
            self.do(there.end, "replaced")
        try:
            begun = process.initialize()
            if asyncio.iscoroutine(begun):
                self._initialize(cell, begun)
        except BaseException:
            if self._cells.get(name) is cell:
                del self._cells[name]  # now, so that it can be tried again
            self.do(self._never_was, cell)
            raise
        self.do(cell.begin)
        return cell.pid

    def terminate(self, pid: PID, reason: str = "terminated") -> None:
        """End it after what it does now; ``reason`` is what who is linked to it is told. One that is not there has
        ended.
        """
        cell = self._cells.get(pid.id) if self.is_own(pid) else None
        if cell is not None:
            self.do(cell.end, reason)

    def ended(self, cell: Cell, reason: str) -> None:
        """An actor has ended: its name is free, and who watches it is told. On the loop."""
        log.debug("%s has ended: %s", cell.pid, reason)
        if self._cells.get(cell.pid.id) is cell:
            del self._cells[cell.pid.id]
        if self._emptied is not None and not self._cells:
            self._emptied.set()
        for watch in tuple(cell.watchers or ()):
            watch.tell(reason)

    async def end_all(self, within: float) -> None:
        """End all, the newest first, in so many seconds at most. On the loop."""
        for cell in reversed(tuple(self._cells.values())):
            cell.end("stopped")
        if self._cells:
            self._emptied = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), within)
        for cell in tuple(self._cells.values()):
            log.warning("%s did not end within %g s: it is left behind", cell.pid, within)
            self.ended(cell, "stopped")
        self._threads.close()

    def watch_own(self, watch: Watch) -> None:
        """Tell it when one who lives here has ended. On the loop."""
        cell = self._cells.get(watch.to.id)
        if cell is None or cell.has_ended:
            watch.tell("there is no such actor")
            return
        if cell.watchers is None:
            cell.watchers = set()
        cell.watchers.add(watch)

    def unwatch_own(self, watch: Watch) -> None:
        """Not any more. On the loop."""
        cell = self._cells.get(watch.to.id)
        if cell is not None and cell.watchers is not None:
            cell.watchers.discard(watch)

    def _made(self, process: Process, pid: PID, room: Room) -> Cell:
        raise NotImplementedError

    def _initialize(self, cell: Cell, begun: Any) -> None:
        """Wait for an ``async def initialize``; on the loop, where nobody may wait, it is what it does first."""
        if self.engine.is_here:
            cell.mailbox.put_first(Turn(_awaited, (begun,), True))
        else:
            self.engine.wait(begun)

    def _never_was(self, cell: Cell) -> None:
        cell.advance(Life.STOPPED)
        for turn in cell.mailbox.clear():
            cell.bury(turn, "it could not be initialized")
        self.ended(cell, "it could not be initialized")


def method_of(cell: Cell, method: str) -> Callable[..., Any]:
    """A method of an actor's class: an attribute of the same name does not hide it. Raises InvalidMethod."""
    function = getattr(type(cell.process), method, None)
    if not callable(function):
        raise InvalidMethod(f"{cell.pid} has no method {method!r}")
    bound: Callable[..., Any] = function.__get__(cell.process)
    return bound


async def _awaited(begun: Any) -> None:
    await begun
