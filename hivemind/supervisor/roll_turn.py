"""hived's part of `hm roll` on the bus: one hived of a hive rolls at a time, and tells who asked how far it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..bus.bus import Bus
from ..cancelling import end
from ..errors import RedisError
from .actions import Result
from .control import Hived, encode_answer
from .swap import OVER, Outcome

log = logging.getLogger("hived")

TERM = 15.0  # seconds for which the turn is held without being renewed
LOOK = 0.5  # seconds between two tries to get it
REPEAT = 5.0  # seconds after which it is said again how far it is, and the turn is renewed
WAITS = "another roll goes on: waiting for it"


class Telling:
    """Says to ``notify`` how far the roll of the programs ``names`` is."""

    def __init__(self, notify: Callable[[Mapping[str, Any]], None], me: Hived, names: Sequence[str]) -> None:
        self._notify, self._me, self._names = notify, me, names
        self._known: dict[str, Outcome] = {}
        self._task: asyncio.Task[None] | None = None

    def hear(self, outcome: Outcome) -> None:
        """One instance is at another stage. On the loop."""
        self._known[outcome.program] = outcome
        self.say()

    def say(self) -> None:
        """Say it now."""
        known = self._known.values()
        over = [Result(one.program, one.is_well, one.text) for one in known if one.stage in OVER]
        doing = [f"{one.program}: {one.text}" for one in known if one.stage not in OVER]
        text = "; ".join(doing) or ("the next one is looked at" if known else WAITS)
        self._notify(encode_answer(self._me, self._names, over, doing=text))

    async def __aenter__(self) -> Telling:
        self._task = asyncio.create_task(self._run(), name="telling")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(REPEAT)
            self.say()


@asynccontextmanager
async def turn(bus: Bus, who: str) -> AsyncIterator[None]:
    """Wait until no other hived of the hive rolls, and keep the others waiting. While Redis is away nobody is asked."""
    while not await _is_ours(bus, who):  # noqa: ASYNC110 - it is another process that ends it
        await asyncio.sleep(LOOK)
    renewing = asyncio.create_task(_renew(bus, who), name="turn")
    try:
        yield
    finally:
        await end(renewing)
        with suppress(RedisError):
            await bus.commands.execute("DEL", bus.names.roll())


async def _renew(bus: Bus, who: str) -> None:
    while True:
        await asyncio.sleep(REPEAT)
        await _is_ours(bus, who)


async def _is_ours(bus: Bus, who: str) -> bool:
    try:
        said = await bus.functions.call("hold", (bus.names.roll(),), (who, int(TERM * 1000), "", 0))
    except RedisError as error:
        log.debug("whose turn it is to roll is not known: %s", error)
        return True
    return bool(said[0])
