"""Looking after requests that have no reply: who has them, who has died, who is told that nobody waits any more."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ..cancelling import end
from ..constants import did_you_mean
from ..errors import HivemindError, NoResponders, RedisDenied, RedisError, RedisRefused
from .asked import COMING, Asked
from .requests_wire import pairs

if TYPE_CHECKING:
    from .bus import Bus
    from .requests import Requests

log = logging.getLogger("hivemind.requests")

LOOK = 0.5  #: seconds between two looks at what has no reply yet
PORTION = 1000  #: requests that one question is about


class Lives(Protocol):
    """Who knows which processes have ended."""

    async def ended(self, members: Sequence[str]) -> set[str]:
        """Those of ``members`` (``<instance>.e<incarnation>``) that live no more, for certain. Raises RedisError."""

    async def called(self) -> set[str]:
        """The names that anybody answers to, as far as is known."""


class Looking:
    """Looks at ``asked`` as long as there is something in it. ``lives`` says who has died; without it what a dead
    responder had is not asked again before its time is over.
    """

    def __init__(self, requests: Requests, bus: Bus, asked: Mapping[int, Asked]) -> None:
        self.lives: Lives | None = None
        self._requests, self._bus, self._asked = requests, bus, asked
        self._timer: asyncio.TimerHandle | None = None
        self._looked: asyncio.Task[None] | None = None
        self._unwanted: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)  # by name
        self._telling: set[asyncio.Task[None]] = set()

    async def hinted(self, error: NoResponders) -> HivemindError:
        """The same with the name that was probably meant; RedisDenied where we may not see who answers."""
        try:
            await self._bus.commands.execute("ZSCORE", self._requests.responders(error.request), "")
        except RedisDenied:
            return self.denied(error.request)
        except RedisError as trouble:
            log.debug("it is not known whether %s may be asked: %s", error.request, trouble)
        known = await self.lives.called() if self.lives is not None else set()
        return NoResponders(error.request, did_you_mean(error.request, known - {error.request}).removesuffix("?"))

    def denied(self, name: str) -> RedisDenied:
        """That Redis refuses us this request, and what to write so that it does not."""
        node = self._bus.instance.rpartition(".")[0]
        todo = f'write "{node}": {{"asks": ["{name}"]}} into NODES in config/hive.py, then `hived reload`'
        return RedisDenied(
            f"request {name!r}: Redis refuses it: {node} may ask for what it declares and no more: {todo}"
        )

    def begin(self) -> None:
        """There is something to look after. May be called any time."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    async def aclose(self) -> None:
        """Look no more. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        await end(self._looked)
        for task in list(self._telling):
            await end(task)

    def _look(self) -> None:
        self._timer = None
        if not self._asked:
            return
        self.begin()
        loop = asyncio.get_running_loop()
        before = loop.time() - LOOK
        if self._looked is None or self._looked.done():
            late = [asked for asked in self._asked.values() if 0 < asked.since <= before]
            self._looked = loop.create_task(self._look_after(late), name="look after requests")

    async def _look_after(self, late: list[Asked]) -> None:
        """Find out who has these; let others have what nobody has, or the dead."""
        try:
            suspects = self._ask_holders(late)
            for name in {asked.name for asked in late if not asked.member}:
                suspects |= await self._ask_all(name, [asked for asked in late if asked.name == name])
            if suspects and self.lives is not None:
                ended = await self.lives.ended(sorted(suspects))
                for asked in late:
                    asked.ended(ended)
        except (RedisDenied, RedisRefused) as error:
            for asked in late:
                if not asked.member:
                    asked.fail(self.denied(asked.name) if "NOPERM" in str(error) else error)
        except RedisError as error:
            log.debug("requests are looked after when Redis is back: %s", error)

    def _ask_holders(self, late: list[Asked]) -> set[str]:
        """Ask each who has some whether it still does; return who they are."""
        held: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for asked in late:
            if asked.member:
                held[asked.name, asked.member].append((asked.number, asked.tries))
        requests = self._requests
        for (name, member), numbers in held.items():
            for start in range(0, len(numbers), PORTION):
                note = requests.forms.note("whose", q=numbers[start : start + PORTION])
                requests.calls.say(requests.channel(name, member), note)
        return {member for _, member in held}

    async def _ask_all(self, name: str, late: list[Asked]) -> set[str]:
        """Ask all who answer to a name which of these they have; return those who could have some."""
        suspects: set[str] = set()
        unheld = [asked for asked in late if not asked.member]
        for start in range(0, len(unheld), PORTION):
            some = unheld[start : start + PORTION]
            note = self._requests.forms.note("whose", q=[(asked.number, asked.tries) for asked in some])
            living = await self._inquire(name, note)
            for asked in some:
                suspects |= asked.living(living)
        return suspects - {COMING}  # nobody knows their names

    def told(self, kind: object, said: dict[str, object]) -> None:
        """A responder says what it has, or has not."""
        member, sent = str(said.get("member", "")), said.get("sent")
        for number, tried in pairs(said.get("q")):
            asked = self._asked.get(number)
            if asked is None or asked.tries != tried:
                continue
            if kind == "unknown":
                asked.denied_by(member)
            elif kind == "have":
                asked.held_by(member, sent.get(str(number), 0) if isinstance(sent, dict) else 0)

    # -- what nobody waits for any more

    def cancel(self, name: str, number: int, tried: int) -> None:
        """Tell all who could have a request that it is over; those of one turn of the loop together."""
        if not self._unwanted:
            asyncio.get_running_loop().call_soon(self._cancel_all)
        self._unwanted[name].append((number, tried))

    def _cancel_all(self) -> None:
        loop = asyncio.get_running_loop()
        for name, numbers in self._unwanted.items():
            note = self._requests.forms.note("cancel", q=numbers)
            task = loop.create_task(self._tell_all(name, note), name="cancel requests")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        self._unwanted.clear()

    async def _tell_all(self, name: str, note: bytes) -> None:
        try:
            await self._inquire(name, note)
        except RedisError as error:
            log.debug("responders of %s were not told: %s", name, error)

    async def _inquire(self, name: str, note: bytes) -> set[str]:
        requests = self._requests
        arguments = (requests.registry, requests.channel(name), note)
        keys = (requests.responders(name), self._bus.names.responders_since(name))
        found = await self._bus.functions.call("inquire", keys, arguments)
        return {member.decode(errors="replace") for member in found}
