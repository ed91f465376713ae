"""`hm request`: asks a responder by hand, and prints what it replies."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import Any

from ..node.requesting import RequestStream
from ..node.runner import new_loop
from ..settings import Settings
from . import output
from .opening import opened
from .reading import read_instances
from .sending import parsed
from .streams import Writer


def ask(settings: Settings, name: str, payload: str, timeout: float, *, is_text: bool) -> None:
    """Print each reply on a line. Nothing is started for it. Raises what ``Client.request`` raises, and RedisError."""
    read_instances(settings)  # at once, and in words, if Redis is away
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_ask(settings, (name, parsed(payload, is_text=is_text), timeout, None)))


async def _ask(settings: Settings, asked: tuple[str, Any, float, None]) -> None:
    async with opened(settings) as (client, stop):
        await _until(stop, _print(RequestStream(client, asked, strict=False)))


async def _until(stop: asyncio.Event, work: Any) -> None:
    """Do it, or as much of it as there is until ``stop``: then who answers is told."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when="FIRST_COMPLETED")
    stopping.cancel()
    if not working.done():
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _print(replies: RequestStream) -> None:
    writer = Writer()
    async with replies:
        async for reply in replies:
            await writer.write(_text(reply) + b"\n")


def _text(reply: Any) -> bytes:
    return base64.b64encode(reply) if isinstance(reply, bytes) else output.json_text(reply).encode()
