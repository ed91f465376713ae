"""What a client has from its opening to its end: a place on the bus, and what it does there beside sending."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..bus.receiving import LiveSubscription
from ..data.kept_watch import KeptWatch
from ..data.layout import check_layout
from ..data.onlooker import Onlooker
from ..data.responders import Responders
from ..errors import RedisDenied, RedisUnavailable
from ..retention import Tier
from ..states import LinkState
from .posting import Posting


@dataclass(frozen=True, slots=True)
class Where:
    """Where a client goes: the Redis, the hive on it, and when a message counts as safe there."""

    endpoint: Endpoint
    hive: str
    tier: Tier = Tier.SECOND


class Session:
    """Built, opened and closed on one loop; opened once."""

    def __init__(self, where: Where) -> None:
        self.bus = bus = Bus(where.endpoint, where.hive, f"client-{secrets.token_hex(4)}.0")
        bus.requests.looking.lives = Responders(bus.commands, bus.functions, bus.names)
        self.posting = Posting(bus, where.tier)
        self._onlooker, self._kept_watch = Onlooker(bus), KeptWatch(bus)
        self._has_listened = False

    async def open(self, timeout: float) -> None:
        """Connect. Raises RedisDenied, LayoutMismatch, and after ``timeout`` seconds RedisUnavailable: it is closed."""
        bus, link = self.bus, self.bus.outbox.link
        bus.start()
        try:
            async with asyncio.timeout(timeout):
                if await link.wait(LinkState.UP, LinkState.DENIED) is LinkState.DENIED:
                    raise RedisDenied(f"{bus.endpoint.redacted}: {link.last_error}")
                bus.identify(bus.instance, int(await bus.now()))  # by Redis's clock, as a node's incarnation
                await check_layout(bus.commands, bus.names)
                await self._onlooker.start()
                await self.posting.start()
        except TimeoutError:
            await self.aclose()
            why = f" ({link.last_error})" if link.last_error else ""
            raise RedisUnavailable(f"{bus.endpoint.redacted}: no answer within {timeout:g} s{why}") from None
        except BaseException:
            await self.aclose()
            raise

    async def listen(self, live: LiveSubscription) -> None:
        """Subscribe; what passes by on topics that are kept is filled in. Raises RedisDenied, RedisUnavailable."""
        if not self._has_listened:
            self._has_listened = True
            self._kept_watch.start()
        await self.bus.subscribe(live)

    async def aclose(self) -> None:
        """Disconnect."""
        await self.posting.stop()
        await self._onlooker.stop()
        await self._kept_watch.stop()
        await self.bus.aclose()
