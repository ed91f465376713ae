"""`hm pub`: sends messages by hand, at a pace, and stays until Redis has confirmed them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ..client.awaited import AsyncClient
from ..constants import did_you_mean
from ..data.records import Instance
from ..data.registry import Registry
from ..english import amount
from ..errors import HivemindError, PayloadError, RedisError
from ..node.runner import new_loop
from ..settings import Settings
from ..topics import matches
from . import output
from .opening import opened
from .reading import read_instances
from .streams import lines_of

CONFIRM = 10.0  #: seconds in which Redis has to confirm
FOREVER = 2**63


@dataclass(frozen=True, slots=True)
class Sending:
    """What to send: ``payload``, or each line of the file descriptor ``lines``, ``count`` times.

    ``count=None`` means once, or of a ``payload`` with ``rate`` for ever.
    ``rate`` is in messages a second; 0: as fast as it goes.
    """

    topic: str
    payload: str
    lines: int | None = None
    rate: float = 0.0
    count: int | None = None
    is_text: bool = False
    is_durable: bool = False

    @property
    def times(self) -> int:
        """How often each payload is sent."""
        return self.count or (FOREVER if self.rate and self.lines is None else 1)


def send(settings: Settings, what: Sending) -> str:
    """Send, and return a summary. Nothing is started for it. Raises PayloadError, RedisError, Refused, Unconfirmed."""
    read_instances(settings)  # at once, and in words, if Redis is away
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_send(settings, what))


async def _send(settings: Settings, what: Sending) -> str:
    async with opened(settings) as (client, stop):
        began = time.monotonic()
        sent = await _send_until(client.awaited, what, stop)
        seconds = max(time.monotonic() - began, 1e-6)
        await _tell_if_nobody_subscribes(client.awaited, what.topic)
        is_kept = client.bus.keeps(what.topic)
    pace = f" in {seconds:.1f} s ({sent / seconds:,.0f}/s)" if sent > 1 else ""
    return f"sent {amount(sent, 'message')} on {what.topic}{pace}, {'kept and ' if is_kept else ''}confirmed by Redis"


async def _send_until(client: AsyncClient, what: Sending, stop: asyncio.Event) -> int:
    """Send all, or what there is until ``stop``; what was sent is confirmed, also before an error is raised."""
    work = asyncio.create_task(_send_all(client, what))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((work, stopping), return_when="FIRST_COMPLETED")
    work.cancel()
    stopping.cancel()
    (error,) = await asyncio.gather(work, return_exceptions=True)
    await client.flush(CONFIRM)
    if isinstance(error, Exception):
        raise error
    return client.bus.outbox.sent + (client.bus.keeping.sent if client.bus.keeping is not None else 0)


async def _send_all(client: AsyncClient, what: Sending) -> None:
    sent, began = 0, time.monotonic()
    async for payload in _payloads(what):
        for _ in range(what.times):
            if what.rate:
                await asyncio.sleep(max(0.0, began + sent / what.rate - time.monotonic()))
            if sent % 100 == 0:
                await client.drain()
            client.send(what.topic, payload, durable=what.is_durable)
            sent += 1
            if sent == 1:
                await client.flush(CONFIRM)  # from then on it is known whether the topic is kept


async def _payloads(what: Sending) -> AsyncIterator[Any]:
    if what.lines is None:
        yield parsed(what.payload, is_text=what.is_text)
        return
    number = 0
    async for line in lines_of(what.lines):
        number += 1
        try:
            yield parsed(line.decode(), is_text=what.is_text)
        except UnicodeDecodeError as error:
            raise HivemindError(f"line {number} of standard input is no UTF-8: {error.reason}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are no JSON: then it is text


_decode = json.JSONDecoder(parse_constant=_refuse).decode


def parsed(text: str, *, is_text: bool) -> Any:
    """What somebody wrote as a payload: JSON if it is JSON, else text. Raises PayloadError."""
    if is_text:
        return text
    try:
        return _decode(text)
    except ValueError:
        return text
    except RecursionError:
        raise PayloadError("$", "nested too deep") from None


async def _tell_if_nobody_subscribes(client: AsyncClient, topic: str) -> None:
    """Say so when no node is subscribed: a topic may be mistyped."""
    bus = client.bus
    try:
        instances = await Registry(bus.commands, bus.functions, bus.names).instances()
    except RedisError:
        return
    if not _subscribers(instances, topic):
        known = [one.name for each in instances for one in each.stats.services]
        known += [one.name for each in instances for one in each.stats.sends]
        known += [one.pattern for each in instances for one in each.stats.subscriptions]
        output.note(f"note: no node is subscribed to {topic}{did_you_mean(topic, set(known) - {topic})}")


def _subscribers(instances: Sequence[Instance], topic: str) -> list[str]:
    return [
        each.instance
        for each in instances
        if not each.is_lost and any(matches(one.pattern, topic) for one in each.stats.subscriptions)
    ]
