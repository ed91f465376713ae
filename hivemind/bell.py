"""Waiting for something to happen, but not for longer than so many seconds."""

from __future__ import annotations

import asyncio


class Bell:
    """One task waits; whoever is on its loop rings. A bell that rang while nobody waited is heard by the next wait."""

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake who waits, or who waits next."""
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Return True as soon as it rings, and let it be still again; False when it did not within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True
