"""Work that is handed over on one loop."""

from __future__ import annotations

import asyncio

from hivemind.node.handover import Handover

from .waiting import eventually_async


async def test_what_is_handed_over_comes_in_order_whoever_waits() -> None:
    work: Handover[int] = Handover()
    work.put(1)
    assert await work.next() == 1
    takers = [asyncio.create_task(work.next()) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(2, 5):
        work.put(number)
    assert await asyncio.gather(*takers) == [2, 3, 4]


async def test_what_was_meant_for_a_taker_that_ends_goes_to_the_next() -> None:
    work: Handover[int] = Handover()
    first, second = asyncio.create_task(work.next()), asyncio.create_task(work.next())
    await asyncio.sleep(0)
    work.put(1)
    first.cancel()
    await eventually_async(second.done)
    assert (first.cancelled(), await second) == (True, 1)


async def test_a_taker_that_ended_keeps_nothing() -> None:
    work: Handover[int] = Handover()
    gone = asyncio.create_task(work.next())
    await asyncio.sleep(0)
    gone.cancel()
    await eventually_async(gone.done)
    work.put(1)
    assert await work.next() == 1
