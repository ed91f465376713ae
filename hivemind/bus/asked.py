"""One request, as who asked sees it: given to somebody, asked again when that one died or never got it, answered."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ..errors import HivemindError, NoResponders, RequestLost, RequestTimeout
from ..message import Malformed, payload_of
from .requests_wire import remote_error

if TYPE_CHECKING:
    from .requests import Requests

AWAY = 1.0  #: seconds in which a responder whose connection was cut has to be back; then nobody is there
FOLLOWED = 2  #: who answered has left, and another is about to follow: Redis knows for how long
COMING = ""  #: among those that answer to a name: who may not be back yet, as Redis may just have lost its data
AGAIN, SELDOM = 0.05, 0.5  #: seconds between two tries meanwhile, at first and at the most


class Asked(ABC):
    """What was asked. ``deadline`` and ``since``, when it was asked last, are times of the loop; ``member`` is who has
    it ("" while that is not known); ``tries`` counts how often it was asked.
    """

    __slots__ = (
        *("body", "deadline", "is_over", "member", "name", "number", "since", "tries"),
        *("_away_until", "_denied", "_loop", "_requests", "_was_held"),
    )

    def __init__(self, requests: Requests, name: str, deadline: float) -> None:
        self.name, self.deadline = name, deadline
        self.number = self.tries = 0
        self.body = b""
        self.member = ""
        self.since = 0.0
        self.is_over = self._was_held = False
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._denied: frozenset[str] = frozenset()
        self._away_until = 0.0

    # -- to override

    @abstractmethod
    def heard(self, kind: Any, said: dict[str, Any]) -> None:
        """A reply has come."""

    @abstractmethod
    def fail(self, error: HivemindError) -> None:
        """There will be no reply, for this reason."""

    @property
    @abstractmethod
    def may_be_asked_again(self) -> bool:
        """Whether another responder could still do it all."""

    # -- asking

    def ask(self) -> None:
        """Give it to somebody, once more."""
        self.tries += 1
        self.member, self._denied = "", frozenset()
        self._requests.way(self.name).put(self)

    def _ask_again(self, why: str) -> None:
        if self.is_over:
            return
        if self.may_be_asked_again:
            self.ask()
        else:
            self.fail(RequestLost(self.name, f"{why}, and a part of the answer had come already"))

    def expired(self) -> None:
        """Its time is over."""
        if self._requests.is_deaf:
            self.fail(self._requests.looking.denied(self.name))
            return
        who = f"{self.member} did not answer" if self.member else "no answer came"
        self.fail(self.too_late(who))

    def too_late(self, who: str) -> RequestTimeout:
        """The error that says so."""
        return RequestTimeout(self.name, f"{who} in time")

    def cancel(self) -> None:
        """Tell who has it that nobody waits any more."""
        requests = self._requests
        if self.member:
            note = requests.forms.note("cancel", q=[[self.number, self.tries]])
            requests.calls.say(requests.channel(self.name, self.member), note)
        elif self.since:
            requests.looking.cancel(self.name, self.number, self.tries)

    # -- on its way

    def packed(self, now: float) -> bytes:
        """What the call that gives it to somebody says of it, with the time that is left."""
        self.since = now
        said = b'"budget":%d,"try":%d' % (max(0, int((self.deadline - now) * 1000)), self.tries)
        number, body = b"%d" % self.number, self.body
        rest = (len(said), said, len(number), number, len(body), body)
        return b"$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % rest

    def nobody(self, said: dict[str, Any]) -> None:
        """There is nobody, or nobody who can be reached just now."""
        if said.get("try") != self.tries:
            return
        may_wait, away = self._may_wait(), said.get("away")
        if away == FOLLOWED or (away and may_wait):
            waited = self._loop.time() - self._away_until + AWAY
            self._loop.call_later(min(SELDOM, max(AGAIN, waited / 4)), self._put_again)
        elif self._was_held:
            self.fail(RequestLost(self.name, "who had it is gone, and nobody else answers"))
        else:
            self.fail(NoResponders(self.name))

    def _put_again(self) -> None:
        if not self.is_over:
            self._requests.way(self.name).put(self)

    def _may_wait(self) -> bool:
        """Whether responders that live and cannot be reached have a moment left to come back."""
        now = self._loop.time()
        if not self._away_until:
            self._away_until = now + AWAY
        return now < self._away_until

    # -- what others know of it

    def living(self, members: set[str]) -> set[str]:
        """Those of ``members``, who are all that could have it, of whom it is not known that they do not.

        When there are none it is asked again.
        """
        if self.member or self.is_over:
            return set()
        self._was_held |= bool(members - {COMING})
        left = members - self._denied
        if not left:
            self._ask_again("nobody has it")
        return left

    def denied_by(self, member: str) -> None:
        """A responder does not have it and never had."""
        if self.member == member:
            self._ask_again(f"{member} never got it")
        else:
            self._denied |= {member}

    def ended(self, members: set[str]) -> None:
        """These are dead."""
        if self.member in members:
            self._ask_again(f"{self.member} died")
        else:
            self._denied |= members

    def held_by(self, member: str, sent: Any) -> None:  # noqa: ARG002 - streams look at what was sent
        """A responder has it."""
        self.member, self._was_held = self.member or member, True


class AskedOne(Asked):
    """A request with one reply."""

    __slots__ = ("reply",)

    def __init__(self, requests: Requests, name: str, deadline: float) -> None:
        super().__init__(requests, name, deadline)
        self.reply: asyncio.Future[Any] = self._loop.create_future()

    @property
    def may_be_asked_again(self) -> bool:
        """Always: there is no part of a reply."""
        return True

    def fail(self, error: HivemindError) -> None:
        """Raise it where somebody waits."""
        if not self.reply.done():
            self.reply.set_exception(error)

    def heard(self, kind: Any, said: dict[str, Any]) -> None:
        """The reply, or that it has to be asked again."""
        if self.reply.done():
            return
        if kind == "reply":
            try:
                self.reply.set_result(payload_of(said))
            except (Malformed, LookupError) as error:
                self.fail(RequestLost(self.name, f"the reply cannot be read: {error}"))
        elif kind == "error":
            self.fail(remote_error(self.name, said))
        elif kind == "nobody":
            self.nobody(said)
        elif kind == "again" and said.get("try") == self.tries:
            self._ask_again("it was handed back")
        elif kind == "lost":
            self.fail(RequestLost(self.name, "it was answered, but the reply was lost with a connection"))
