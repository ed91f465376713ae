"""The bell: who waits is woken, who waits later is, too, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from hivemind.bell import Bell

pytestmark = pytest.mark.timeout(30)


async def test_who_waits_is_woken_once_for_each_ring() -> None:
    bell = Bell()
    waiting = asyncio.create_task(bell.wait(10))
    await asyncio.sleep(0)
    bell.ring()
    assert await waiting
    assert not await bell.wait(0.01)


async def test_a_ring_that_nobody_waited_for_is_heard_by_the_next() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert await bell.wait(0)
    assert not await bell.wait(0)
