"""What a test hears of its hive: every message, and which of them it has expected."""

from __future__ import annotations

import asyncio
import time

from ..client.client import Client
from ..client.messages import Messages
from ..message import Message
from ..topics import matches


class Ears:
    """Hears every message from ``listen`` to ``close``; all methods are for the client's loop."""

    def __init__(self, client: Client) -> None:
        self.seen: list[Message] = []
        self._client = client
        self._messages: Messages | None = None
        self._arrived = asyncio.Condition()
        self._taken: set[int] = set()
        self._listening: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Begin."""
        self._messages = self._client.subscribe("*")
        await self._messages.open()
        self._listening = asyncio.create_task(self._hear(self._messages))

    async def _hear(self, messages: Messages) -> None:
        inbox = messages.live.inbox
        while await inbox.wait():
            async with self._arrived:
                while (entry := inbox.take()) is not None:
                    self.seen.append(Message(entry[0], entry[2], entry[1]))
                self._arrived.notify_all()

    async def expect(self, pattern: str, timeout: float) -> Message | None:
        """The first message matching ``pattern`` that was not returned before; None after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        async with self._arrived:
            while True:
                for number, message in enumerate(self.seen):
                    if number not in self._taken and matches(pattern, message.topic):
                        self._taken.add(number)
                        return message
                try:
                    await asyncio.wait_for(self._arrived.wait(), deadline - time.monotonic())
                except TimeoutError:
                    return None

    async def close(self) -> None:
        """End. May be called when it has not begun."""
        if self._messages is not None:
            await self._messages.aclose()
        if self._listening is not None:
            await self._listening
