"""Redis's clock jumps by an hour, forward and back, under a whole hive that hived runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .clock_kit import HOUR, TurnedClock
from .hive_kit import SENDER, hive_in, well
from .node_kit import registered
from .servers import RedisServer
from .waiting import eventually

KEEPER = """
from hivemind import Node, service

class {name}(Node):
    @service("kept", every=0.2, durable=True)
    def keep(self, service):
        service.send("tick")
"""
READER = """
from hivemind import Node, subscription

class {name}(Node):
    @subscription("kept", durable=True, since="all")
    def take(self, payload):
        pass

    @subscription("batman")
    def hear(self, payload):
        pass
"""


@pytest.mark.drill
@pytest.mark.timeout(180)
def test_a_hive_does_not_notice_that_redis_clock_jumps(
    tmp_path: Path, turned_server: RedisServer, turned: TurnedClock
) -> None:
    def subscriptions() -> dict[str, dict[str, Any]]:
        found = registered(turned_server, "gotham", "alfred.0")
        assert found is not None
        return {one["pattern"]: one for one in found["subscriptions"]}

    def goes_on() -> None:
        before = {pattern: one["handled"] for pattern, one in eventually(subscriptions, within=30).items()}
        eventually(lambda: all(subscriptions()[each]["handled"] > before[each] + 20 for each in before), within=40)
        assert hive.pids() == pids
        assert "hangs" not in hive.log("hived")

    with hive_in(tmp_path, more=f"REDIS_URL = {turned_server.url!r}") as hive:
        for name, code in (("batman", SENDER), ("robin", KEEPER), ("alfred", READER)):
            hive.node(name, code)
        hive.start()
        eventually(lambda: well(hive), within=40)
        eventually(lambda: all(one["handled"] for one in subscriptions().values()), within=60)
        pids = hive.pids()
        for jump in (HOUR, 0, -HOUR, 0):
            turned.turn_to(jump)
            goes_on()
        said = eventually(subscriptions, within=30)
        assert [said["batman"][each] for each in ("missed", "dropped", "failed")] == [0, 0, 0]
        assert [said["kept"][each] for each in ("retried", "dead", "lost")] == [0, 0, 0]
        hive.run("hived", "stop")
