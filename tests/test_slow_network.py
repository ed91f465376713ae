"""A network on which much takes long: what comes slowly still comes, and nobody asks for more than gets through."""

from __future__ import annotations

import pytest

from hivemind import Node, subscription
from hivemind.bus.conversation import Conversation
from hivemind.bus.endpoint import Endpoint
from hivemind.errors import RedisUnavailable
from hivemind.testing import HiveTest

from .proxy import Mode, Proxy
from .servers import RedisServer


async def test_an_answer_may_take_as_long_as_it_needs_while_more_of_it_comes(server: RedisServer) -> None:
    server.command("SET", "much", "x" * 1_500_000)
    async with Proxy(server.socket, rate=1_000_000) as proxy:
        conversation = await Conversation.open(Endpoint.parse(f"redis://127.0.0.1:{proxy.port}"), "slow")
        assert len(await conversation.ask("GET", "much", timeout=0.7)) == 1_500_000
        proxy.set(Mode.BLACKHOLE)
        with pytest.raises(RedisUnavailable):
            await conversation.ask("GET", "much", timeout=0.3)
        await conversation.aclose()


class Shop(Node):
    """Counts what comes."""

    @subscription("order", durable=True, since="all")
    async def pack(self, payload: str) -> None:
        self.send("packed", len(payload))


def test_large_messages_come_a_few_at_a_time(own_server: RedisServer) -> None:
    with HiveTest(own_server.url, "slow") as hive:
        for _ in range(60):
            hive.send("order", "x" * 200_000, durable=True)
        hive.start(Shop)
        assert [hive.expect("packed", timeout=10).payload for _ in range(60)] == [200_000] * 60
    stats = own_server.command("INFO", "commandstats").partition("cmdstat_xreadgroup:calls=")[2]
    assert int(stats.partition(",")[0]) >= 40 / 5  # of a megabyte each, but for the first
