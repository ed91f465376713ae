"""A node that handles the numbers of an errand durably."""

from __future__ import annotations

import asyncio

from benchmarks.errand import BEGAN, DONE, Errand
from hivemind import subscription

errand = Errand.here("worker")


@subscription("errand", durable=True)
async def handle(number: int) -> None:
    errand.note(BEGAN, number)
    while errand.is_held:  # noqa: ASYNC110 - another process says so
        await asyncio.sleep(0.01)
    errand.note(DONE, number)
