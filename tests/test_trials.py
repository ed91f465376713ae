"""Which messages are tried again at once: no more than there are workers, and each alone that may be poison."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hivemind.bus.streams import Held
from hivemind.bus.trials import Rules, Trials


@dataclass(eq=False)
class Try:
    topic: str
    entry: bytes
    again: bool = True


class Table:
    """Trials of messages, numbered, of one topic; ``under_way`` are those that were begun and have not ended."""

    def __init__(self, rules: Rules) -> None:
        self.under_way: dict[int, Try] = {}
        self.begun: list[int] = []
        self.gone: set[int] = set()
        self.trials = Trials(lambda topic: rules, self.retake)

    async def retake(self, topic: str, entry: bytes) -> Try | None:
        if int(entry) in self.gone:
            return None
        self.begun.append(int(entry))
        self.under_way[int(entry)] = one = Try(topic, entry)
        return one

    def inherit(self, *numbers: int, tries: int = 1) -> None:
        for number in numbers:
            self.trials.inherit("n", Held(b"%d" % number, tries))

    async def end(self, number: int) -> None:
        self.trials.ended(self.under_way.pop(number))
        await self.trials.run()


async def test_what_was_only_given_out_is_tried_by_all_workers_in_order() -> None:
    table = Table(Rules(at_once=2))
    table.inherit(1, 2, 3, 4)
    await table.trials.run()
    assert list(table.under_way) == [1, 2]
    await table.end(2)
    assert list(table.under_way) == [1, 3]
    assert len(table.trials.inherited) == 3


async def test_what_was_under_way_when_a_life_ended_is_tried_first_and_alone() -> None:
    table = Table(Rules(at_once=3))
    table.inherit(1, 2)
    table.inherit(3, 4, tries=2)
    await table.trials.run()
    for expected, ended in (([3], 3), ([4], 4), ([1, 2], 1), ([2], 2)):
        assert list(table.under_way) == expected
        await table.end(ended)
    assert not table.trials.inherited


async def test_a_suspect_waits_until_nothing_else_is_tried_again() -> None:
    table = Table(Rules(at_once=3))
    table.inherit(1, 2)
    await table.trials.run()
    table.inherit(3, tries=2)
    table.inherit(4)
    await table.end(1)
    assert list(table.under_way) == [2]
    await table.end(2)
    assert list(table.under_way) == [3]


async def test_without_further_tries_each_is_tried_alone() -> None:
    table = Table(Rules(retries=0, at_once=3))
    table.inherit(1, 2)
    await table.trials.run()
    assert list(table.under_way) == [1]


async def test_what_is_due_again_is_begun_by_as_many_as_there_are_workers() -> None:
    table = Table(Rules(at_once=2))
    for number in range(5):
        table.trials.park("n", b"%d" % number, 0.0)
    await table.trials.run()
    assert table.begun == [0, 1]
    await table.end(0)
    assert table.begun == [0, 1, 2]


async def test_what_is_not_there_any_more_holds_nobody_up() -> None:
    table = Table(Rules())
    table.inherit(1, tries=2)
    table.inherit(2)
    table.gone = {1, 2}
    await table.trials.run()
    assert not table.trials.inherited
    table.trials.park("n", b"3", 0.0)
    assert await asyncio.wait_for(table.trials.run(), 1) > 1
    assert table.begun == [3]
