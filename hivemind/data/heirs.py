"""Who of the readers of a group has ended: what the dead held is taken over by the living.

A life has ended when its instance has a newer one, when it said goodbye or hived, who saw it die, did that for it, or
when its lease has not moved for as long as a lease lasts, by our own clock and while our own link was up: Redis's clock
may be set, and an outage is nobody's death.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from ..bus.commands import Argument, Commands, checked
from ..bus.jumps import Jumps
from ..bus.streams import Reader
from ..errors import RedisRefused
from ..message import count_in
from ..topics import Names, is_topic
from .records import json_object, stats_from

USUAL = 2.5  #: seconds from one look to the next, if nothing holds us up
ENDED = "ended"  #: the kind of notice that tells of a life that has ended


@dataclass(slots=True)
class Sign:
    """When a lease ends, as Redis says, and when we saw that move."""

    expires: int
    seen: float


class Heirs:
    """The readers of one group, as one of them sees them. All methods raise RedisError.

    ``silent`` are those that ended because they say nothing, at the last look, with when their leases end: whoever
    renews his before he is taken over from goes on.
    """

    def __init__(self, commands: Commands, names: Names, lease: float, jumps: Jumps | None = None) -> None:
        self._commands, self._names, self._lease = commands, names, lease
        self._jumps = jumps or Jumps()  # what we see of Redis's clock on the way
        self.silent: dict[Reader, int] = {}
        self._signs: dict[Reader, Sign] = {}
        self._asked = 0.0

    async def leave(self, me: Reader) -> None:
        """Say goodbye: the others need not wait for our lease, but where Redis has no memory for that."""
        field = f"{me.group} {me.instance}"
        with suppress(RedisRefused):
            await self._commands.execute("HSET", self._names.readers(), field, me.incarnation)
        await _tell(self._commands, self._names, me.instance, me.incarnation)

    async def renamed(self, me: Reader, life: int) -> None:
        """Say that we read by a newer incarnation than that of our ``life``: who sees that end knows only the latter.

        Where Redis has no memory for that, the others wait for our lease, should we die.
        """
        with suppress(RedisRefused):
            await self._commands.execute("HSET", self._names.readers(), _born(me), f"{me.incarnation} {life}")

    async def said_goodbye(self, me: Reader) -> int:
        """The newest life of our instance that is known to have ended; 0 if none is."""
        field = f"{me.group} {me.instance}"
        try:
            found = await self._commands.execute("HMGET", self._names.readers(), field, me.instance)
        except RedisRefused:  # somebody wrote something else in its place
            return 0
        return max(map(life_of, found))

    def start_afresh(self) -> None:
        """Our own link was away: what we saw of others says nothing."""
        self._signs.clear()

    async def ended(self, me: Reader, others: Sequence[Reader]) -> list[Reader]:
        """Those of ``others`` that have ended."""
        asked: list[tuple[Argument, ...]] = []
        for one in others:
            name = self._names.node(one.instance)
            asked += [("HGET", name, "incarnation"), ("PEXPIRETIME", name)]
            said = f"{one.group} {one.instance}", one.instance, _born(one)
            asked.append(("HMGET", self._names.readers(), *said))
        began = self._begin()
        *replies, time = await self._commands.pipeline([*asked, ("TIME",)])
        seconds, micros = checked(time)
        self._jumps.saw(int(seconds) + int(micros) / 1e6, began, asyncio.get_running_loop().time())
        self._signs = {one: sign for one, sign in self._signs.items() if one in others}
        each = list(zip(others, replies[::3], replies[1::3], replies[2::3], strict=True))
        gone_by = {
            one
            for one, life, _, gone in each
            if (one.instance == me.instance and one.incarnation < me.incarnation)
            or max([life_of(life), *_ended(gone, one)]) > one.incarnation
        }
        self.silent = {
            one: checked(expires)
            for one, _, expires, _ in each
            if one not in gone_by and self._is_silent(one, checked(expires), began)
        }
        return [one for one in others if one in gone_by or one in self.silent]

    def _begin(self) -> float:
        """When we ask. What we slept through since we asked before counts as half a lease at the most: the others may
        have stood still with us, and are heard of soon.
        """
        before, self._asked = self._asked, asyncio.get_running_loop().time()
        if (still := self._asked - before - max(USUAL, self._lease / 2)) > 0:
            for sign in self._signs.values():
                sign.seen += still
        return self._asked

    def _is_silent(self, reader: Reader, expires: int, asked: float) -> bool:
        sign = self._signs.get(reader)
        if sign is None or (sign.expires != expires and expires > 0):
            self._signs[reader] = Sign(expires, asyncio.get_running_loop().time())
            return False
        return asked - sign.seen >= self._lease  # since then we may have stood still ourselves


async def say_that_it_ended(commands: Commands, names: Names, instance: str, incarnation: int) -> bool:
    """Say goodbye for a life whose process is gone, to all groups, tell them to look, and strike it from the lists of
    those who answer requests; False if it had left, or if a newer life is there: then its groups need not be told that.

    Call it only of who surely runs no more: what it held goes to others. Raises RedisError.
    """
    life, stats = await commands.execute("HMGET", names.node(instance), "incarnation", "stats")
    known = life_of(life)
    if known == incarnation:
        await commands.execute("HSET", names.readers(), instance, incarnation)
        await _strike(commands, names, f"{instance}.e{incarnation}", stats)
    if known >= incarnation:
        await _tell(commands, names, instance, incarnation)
    return known == incarnation


async def _strike(commands: Commands, names: Names, member: str, stats: bytes | None) -> None:
    """Nobody waits for a responder to come back that never will."""
    found = {one.name for one in stats_from(json_object(stats)).responders}
    await commands.pipeline([("ZREM", names.responders(name), member) for name in sorted(found) if is_topic(name)])


async def _tell(commands: Commands, names: Names, instance: str, incarnation: int) -> None:
    said = {"instance": instance, "incarnation": incarnation}
    await commands.execute("PUBLISH", names.control(ENDED), orjson.dumps(said))


def life_of(raw: Any) -> int:
    """An incarnation as it was stored, a reply of Redis; 0 for what is none."""
    if isinstance(raw, RedisRefused):  # somebody wrote something else in its place
        return 0
    return count_in(checked(raw))


def _born(reader: Reader) -> str:
    """The field that tells of which life a reader is that has a newer incarnation than that."""
    return f"{reader.group} life {reader.instance}"


def _ended(raw: Any, reader: Reader) -> list[int]:
    """For lives that said goodbye, or were seen to die: the least incarnation that may still live."""
    left, died, born = (None, None, None) if isinstance(raw, RedisRefused) else checked(raw)
    incarnation, _, life = (born or b"").partition(b" ")
    if life_of(incarnation) == reader.incarnation and 0 < life_of(life) <= life_of(died):
        return [reader.incarnation + 1]  # the life that it is of
    return [life_of(one) + 1 for one in (left, died) if one]
