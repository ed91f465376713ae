"""Who else reads in a group, and who of them has ended: what the dead held is taken over by the living.

A life has ended when its successor is there, when it said goodbye, or when its lease has not moved for as long as a
lease lasts, by our own clock and while our own link was up: Redis's clock may be set, and an outage is nobody's death.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..bus.commands import Commands, checked
from ..bus.streams import Reader
from ..errors import RedisRefused
from ..topics import Names, is_instance

GOODBYE = b"-"  #: what stands before the incarnation of a life that ended by itself


@dataclass(slots=True)
class Sign:
    """When a lease ends, as Redis says, and when we saw that move."""

    expires: int
    seen: float


class Heirs:
    """The readers of one group, as one of them sees them. All methods raise RedisError."""

    def __init__(
        self, commands: Commands, names: Names, me: Reader, lease: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._commands, self._names, self._me = commands, names, me
        self._lease, self._clock = lease, clock
        self._signs: dict[Reader, Sign] = {}

    async def enter(self) -> Reader | None:
        """Say that we read; return the life of ours before this one, if it left anything to take over."""
        key, field = self._names.readers(), self._field(self._me)
        replies = await self._commands.pipeline([("HGET", key, field), ("HSET", key, field, self._me.incarnation)])
        before = _life(checked(replies[0]) or b"")
        checked(replies[1])
        return Reader(self._me.group, self._me.instance, before) if 0 < before < self._me.incarnation else None

    async def leave(self) -> None:
        """Say goodbye: the others need not wait for our lease."""
        await self._commands.execute("HSET", self._names.readers(), self._field(self._me), f"-{self._me.incarnation}")

    async def forget(self, ended: Reader) -> None:
        """Nothing is left of a life that has ended."""
        self._signs.pop(ended, None)
        found = await self._commands.execute("HGET", self._names.readers(), self._field(ended))
        if _life(found or b"") == ended.incarnation:
            await self._commands.execute("HDEL", self._names.readers(), self._field(ended))

    def start_afresh(self) -> None:
        """Our own link was away: what we saw of others says nothing."""
        self._signs.clear()

    async def ended(self) -> list[Reader]:
        """The lives that have ended and left what they held."""
        others = await self._others()
        names = [self._names.node(reader.instance) for reader, _ in others]
        asked = [command for name in names for command in (("HGET", name, "incarnation"), ("PEXPIRETIME", name))]
        replies = await self._commands.pipeline(asked)
        found = zip(others, replies[::2], replies[1::2], strict=True)
        return [one for (one, left), life, expires in found if left or self._has_ended(one, life, checked(expires))]

    async def _others(self) -> list[tuple[Reader, bool]]:
        """The other readers of our group, and whether they said goodbye."""
        flat = await self._commands.execute("HGETALL", self._names.readers())
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        found = []
        for field, said in pairs:
            group, _, instance = field.decode(errors="replace").partition(" ")
            if group == self._me.group and instance != self._me.instance and is_instance(instance) and _life(said):
                found.append((Reader(group, instance, _life(said)), said.startswith(GOODBYE)))
        return found

    def _has_ended(self, reader: Reader, life: Any, expires: int) -> bool:
        if not isinstance(life, RedisRefused) and _life(checked(life) or b"") > reader.incarnation:
            return True
        now, sign = self._clock(), self._signs.get(reader)
        if sign is None or (sign.expires != expires and expires > 0):
            self._signs[reader] = Sign(expires, now)
            return False
        return now - sign.seen >= self._lease

    def _field(self, reader: Reader) -> str:
        return f"{reader.group} {reader.instance}"


def _life(raw: bytes) -> int:
    digits = raw.removeprefix(GOODBYE)
    return int(digits) if digits.isdigit() and len(digits) < 17 else 0
