"""The many replies to one request, as who asked takes them: a bounded window of them is under way at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import HivemindError, NoResponders, RequestLost
from ..message import Malformed, payload_of
from ..states import REPLIES, RepliesState, advance
from .asked import Asked
from .requests_wire import WINDOW, remote_error

if TYPE_CHECKING:
    from .requests import Requests


class Replies(Asked):
    """Taken one by one with ``next``. The responder waits when ``WINDOW`` of them are not taken yet."""

    def __init__(
        self, requests: Requests, name: str, timeout: float, asked: tuple[bytes, str, Mapping[str, str] | None]
    ) -> None:
        super().__init__(requests, name, asyncio.get_running_loop().time() + timeout)
        self._timeout, self._first = timeout, asked
        self._parts: deque[Any] = deque()
        self._received = self._taken = 0
        self._granted = WINDOW
        self._large = 0  # up to which reply the responder wants to hear of each that is taken
        self._state = RepliesState.NEW
        self._error: HivemindError | None = None  # once it has failed
        self._news = asyncio.Event()

    async def next(self) -> Any:
        """The next reply. Raises StopAsyncIteration behind the last, and what ``Requests.request`` raises."""
        self.deadline = self._loop.time() + self._timeout
        try:
            if self._state is RepliesState.NEW:
                self._become(RepliesState.OPEN)
                await self._requests.begin(self, self._first)
            await self._something()
        except BaseException:
            self.stop()
            raise
        if self._parts:
            self._grant()
            return self._parts.popleft()
        if isinstance(self._error, NoResponders):
            raise await self._requests.looking.hinted(self._error) from None
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def _something(self) -> None:
        """Wait for a reply, the end, or an error. Raises RequestTimeout."""
        try:
            async with asyncio.timeout_at(self.deadline):
                while not self._parts and self._state is RepliesState.OPEN:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            what = "no further reply came" if self._received else "no reply came"
            raise self.too_late(f"{what} from {self.member}" if self.member else "no reply came") from None

    def _grant(self) -> None:
        """Let the responder send more when half of what it may send is taken, or what it waits for."""
        self._taken += 1
        is_due = self._granted - self._taken <= WINDOW // 2 or self._taken <= self._large
        if is_due and self.member and self._state is RepliesState.OPEN:
            self._granted = self._taken + WINDOW
            note = self._requests.forms.note("more", q=[[self.number, self.tries]], w=self._granted)
            self._requests.calls.say(self._requests.channel(self.name, self.member), note)

    def stop(self) -> None:
        """Take no more: the responder is told. May be called twice."""
        if self._state is RepliesState.OPEN:
            self.cancel()
        self.fail(RequestLost(self.name, "its replies were closed"))

    def _become(self, state: RepliesState) -> None:
        """Go to another state; where that is the last, nobody has to look after it any more."""
        self._state = advance(REPLIES, self._state, state)
        if not REPLIES[state]:
            self._requests.over(self)
        self._news.set()

    # -- as what is asked

    def expired(self) -> None:
        """Whoever takes the replies looks at the clock: each has a time of its own."""

    @property
    def may_be_asked_again(self) -> bool:
        """Whether no reply has come: the next responder would begin anew."""
        return not self._received

    def fail(self, error: HivemindError) -> None:
        """Raise it behind the replies that have come."""
        if REPLIES[self._state]:
            self._error = error
            self._become(RepliesState.FAILED)

    def heard(self, kind: Any, said: dict[str, Any]) -> None:
        """A reply, or the end of all."""
        if self._state is not RepliesState.OPEN:
            return
        if kind == "part":
            self._enter(said)
        elif kind == "reply":
            self._enter(said | {"i": 0})
            self._finish()
        elif kind == "end" and self._has_all(said.get("i")):
            self._finish()
        elif kind == "error" and self._has_all(said.get("i", self._received)):
            self.fail(remote_error(self.name, said))
        elif kind == "nobody":
            self.nobody(said)
        elif kind == "again" and said.get("try") == self.tries:
            self._ask_again("it was handed back")
        elif kind == "lost":
            self._has_all(-1)
        self._news.set()

    def _finish(self) -> None:
        """There are no more, unless the last could not be read."""
        if self._state is RepliesState.OPEN:
            self._become(RepliesState.WHOLE)

    def _enter(self, said: dict[str, Any]) -> None:
        number = said.get("i")
        if number.__class__ is not int or number < self._received or not self._has_all(number):
            return
        self.member = self.member or f"{said.get('n')}.e{said.get('e')}"
        try:
            self._parts.append(payload_of(said))
            self._received += 1
            if said.get("w"):
                self._large = self._received
        except (Malformed, LookupError) as error:
            self.fail(RequestLost(self.name, f"a reply cannot be read: {error}"))

    def _has_all(self, sent: Any) -> bool:
        """Whether all of so many replies have come; fails if not."""
        if sent == self._received:
            return True
        self.fail(RequestLost(self.name, "replies were lost with a connection"))
        return False

    def held_by(self, member: str, sent: Any) -> None:
        """The responder has it, and has sent so many."""
        super().held_by(member, sent)
        if sent.__class__ is int and sent > self._received:
            self._has_all(sent)
