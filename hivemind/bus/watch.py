"""Who watches where a Redis is that may move, in a task of its own: behind Sentinels, or on a Cluster."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from ..cancelling import end
from .commands import Commands
from .endpoint import Endpoint


class Watch(ABC):
    """Watches where that which ``endpoint`` names is; ``commands`` are sent there."""

    def __init__(self, endpoint: Endpoint, commands: Commands) -> None:
        self._endpoint, self._commands = endpoint, commands
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the loop that runs. May be called twice."""
        self._task = self._task or asyncio.create_task(self._run(), name=type(self).__name__)

    async def aclose(self) -> None:
        """Watch no more. May be called twice."""
        await end(self._task)

    @abstractmethod
    async def _run(self) -> None:
        """Watch for ever."""
