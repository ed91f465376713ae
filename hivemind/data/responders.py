"""Who of the responders that have requests in hand is dead, for certain: only then may another have them.

A responder whose connection was cut lives, and comes back to what it had. It is dead when its instance has a newer
life, when hived saw its process end, when that ran on this machine and has ended, or when its lease is gone for some
seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..bus.commands import Argument, Commands, checked
from ..bus.functions import Functions
from ..errors import RedisError, RedisRefused
from ..message import count_in
from ..topics import Names
from .heirs import life_of
from .records import about_from, json_object
from .registry import Registry

FRESH = 2.0  #: seconds for which the names of responders need not be read again
PATIENCE = 0.5  #: seconds that reading them may take
GONE = 3.0  #: seconds that a lease has to be gone: after Redis lost its data all who live register again in fewer


class Responders:
    """What the registry says of responders; see ``bus.requests.Lives``."""

    def __init__(self, commands: Commands, functions: Functions, names: Names) -> None:
        self._commands, self._names = commands, names
        self._registry = Registry(commands, functions, names)
        self._called: set[str] = set()
        self._called_at = -FRESH
        self._gone: dict[str, float] = {}  # since when the lease is, at every look
        self._looked = 0.0

    async def ended(self, members: Sequence[str]) -> set[str]:
        """Those of ``members`` that live no more."""
        lives = [one.rpartition(".e") for one in members]
        asked: list[tuple[Argument, ...]] = []
        for instance, _, _ in lives:
            asked.append(("HMGET", self._names.node(instance), "incarnation", "about"))
            asked.append(("HGET", self._names.readers(), instance))
        replies = await self._commands.pipeline(asked)
        before, self._looked = self._looked, asyncio.get_running_loop().time()
        is_long_ago = self._looked - before > 2 * GONE  # then it may have been back meanwhile
        self._gone = {} if is_long_ago else {one: since for one, since in self._gone.items() if one in members}
        each = zip(members, lives, replies[::2], replies[1::2], strict=True)
        return {
            one
            for one, (instance, _, life), reply, seen in each
            if life_of(seen) >= int(life) or self._has_ended(one, instance, int(life), reply)
        }

    async def called(self) -> set[str]:
        """The names that anybody answers to, as of the last FRESH seconds; those known if Redis takes too long."""
        now = asyncio.get_running_loop().time()
        if now - self._called_at >= FRESH:
            self._called_at = now
            with suppress(RedisError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    found = await self._registry.instances()
                self._called = {one.name for each in found for one in each.stats.responders if not each.is_lost}
        return self._called

    def _has_ended(self, member: str, instance: str, life: int, reply: Any) -> bool:
        if isinstance(reply, RedisRefused):  # somebody wrote something else in its place
            return False
        incarnation, about = checked(reply)
        if incarnation is None:
            now = asyncio.get_running_loop().time()
            return now - self._gone.setdefault(member, now) >= GONE
        self._gone.pop(member, None)
        if (known := count_in(incarnation)) != life:
            return known > life
        process = about_from(json_object(about), instance).process
        return process is not None and process.has_ended()
