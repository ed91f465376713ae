"""A running actor: it does one thing at a time, in the order in which they came, on the loop or on a thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING

from ..cancelling import raised_on
from ..errors import NoActor, RemoteError
from .declared import Handler
from .mailbox import ANY, DeadLetter, Mailbox, Room, Turn
from .pid import PID

if TYPE_CHECKING:
    from .process import Process
    from .system import System
    from .timers import Timer
    from .watches import Watch

log = logging.getLogger(__name__)

AT_ONCE = 256
"""Messages after which an actor lets others have the loop, however many more wait for it."""


class Life(Enum):
    """Where an actor is in its life."""

    STARTING = auto()  # `initialize` runs: what is sent to it waits
    RUNNING = auto()
    STOPPING = auto()  # `finalize` is next: what is sent to it is dead
    STOPPED = auto()


_NEXT = {
    Life.STARTING: {Life.RUNNING, Life.STOPPED},
    Life.RUNNING: {Life.STOPPING},
    Life.STOPPING: {Life.STOPPED},
    Life.STOPPED: set[Life](),
}


class Cell:
    """All that a system knows of one actor. Everything here is called on the loop, unless it says otherwise."""

    __slots__ = (
        "_is_open",
        "_task",
        "life",
        "mailbox",
        "mailboxes",
        "pid",
        "process",
        "system",
        "timers",
        "watchers",
        "watches",
    )

    def __init__(
        self, system: System, process: Process, pid: PID, mailboxes: Mapping[str, Handler], room: Room = ANY
    ) -> None:
        self.system, self.process, self.pid = system, process, pid
        self.mailboxes, self.mailbox = mailboxes, Mailbox(room)
        self.life = Life.STARTING
        self._is_open = True  # whether messages may come: looked at with each of them
        self.watchers: set[Watch] | None = None  # who is told when it ends
        self.watches: set[Watch] | None = None  # of whose end it is told
        self.timers: set[Timer] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its life is over."""
        return self.life is Life.STOPPED

    def advance(self, life: Life) -> None:
        """The only place where its state changes."""
        assert life in _NEXT[self.life], f"{self.pid}: {self.life} to {life}"
        self.life = life
        self._is_open = life is Life.RUNNING
        if life is Life.RUNNING:
            self._wake()

    def begin(self) -> None:
        """It is initialized: messages may come."""
        if self.life is Life.STARTING:
            self.advance(Life.RUNNING)

    def put(self, turn: Turn) -> None:
        """Let it do that when its turn comes."""
        if self._is_open:
            dropped = self.mailbox.put(turn)
            if dropped is not None:
                self.bury(dropped, f"its mailbox is full: {self.mailbox.room.limit} wait")
            if self._task is None:
                self._wake()
        else:
            self.bury(turn, "it has ended")

    def put_first(self, turn: Turn) -> None:
        """Let it do that before anything that waits."""
        if self.life is not Life.STOPPED:
            self.mailbox.put_first(turn)
            self._wake()

    def bury(self, turn: Turn, reason: str) -> None:
        """Tell who asked, and whoever looks at dead letters, that nobody will do it."""
        if turn.answer is not None:
            turn.answer.fail(NoActor(turn.answer.what, reason))
        if turn.mailbox:
            _, sender, body = turn.arguments
            self.system.bury(DeadLetter(sender, self.pid, turn.mailbox, body, reason))

    def _wake(self) -> None:
        if self._task is None and self.life is not Life.STARTING:
            self._task = self.system.loop.create_task(self._turns())

    async def _turns(self) -> None:
        """Do what waits until nothing does."""
        done = 0
        take = self.mailbox.take
        while (turn := take()) is not None:
            if turn.is_async:
                try:
                    result = await turn.function(*turn.arguments)
                except BaseException as error:  # noqa: BLE001 - whatever it is, the next message is handled
                    self._failed(turn, raised_on(error))
                else:
                    if turn.answer is not None:
                        turn.answer.give(result)
            else:
                await self.system.on_a_thread(self._turns_on_a_thread, turn)
            done += 1
            if done % AT_ONCE == 0:
                await asyncio.sleep(0)
        self._task = None
        if self.mailbox:  # pragma: no cover - it came between the last look and now, from a thread that emptied it
            self._wake()

    def _turns_on_a_thread(self, turn: Turn | None) -> None:
        """Do that and what follows, until one has to be done on the loop. On a thread."""
        later = self.system.call
        for _ in range(AT_ONCE):
            if turn is None:
                return
            if turn.is_async:
                self.mailbox.put_back(turn)
                return
            try:
                result = turn.function(*turn.arguments)
            except BaseException as error:  # noqa: BLE001 - as above
                later(self._failed, turn, error)
            else:
                if turn.answer is not None:
                    later(turn.answer.give, result)
            turn = self.mailbox.take()
        if turn is not None:
            self.mailbox.put_back(turn)

    def _failed(self, turn: Turn, error: BaseException) -> None:
        """It goes on with the next message, as an actor of libprocess does; who asked is told."""
        name = turn.mailbox or getattr(turn.function, "__name__", "a call")
        log.error("%s: %s failed", self.pid, name, exc_info=error)
        if turn.answer is not None:
            turn.answer.fail(RemoteError(turn.answer.what, type(error).__name__, str(error), str(self.pid)))

    def end(self, reason: str) -> None:
        """End it after what it is doing now: it finalizes, what waits is dead, who watches it is told."""
        if self.life is Life.STARTING:
            self.mailbox.put_first(Turn(self._end, (reason,), True))
        elif self.life is Life.RUNNING:
            self.advance(Life.STOPPING)
            self._cancel()
            finalize = self.process.finalize
            self.put_first(Turn(finalize, (), asyncio.iscoroutinefunction(finalize)))
            self.put_first(Turn(self._ended, (reason,), True))

    async def _end(self, reason: str) -> None:
        self.end(reason)

    async def _ended(self, reason: str) -> None:
        self.advance(Life.STOPPED)
        for turn in self.mailbox.clear():
            self.bury(turn, "it has ended")
        self.system.ended(self, reason)

    def _cancel(self) -> None:
        """Its timers die with it, and nobody tells it of others any more."""
        for timer in tuple(self.timers or ()):
            timer.cancel()
        for watch in tuple(self.watches or ()):
            watch.cancel()
