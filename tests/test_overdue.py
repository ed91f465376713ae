"""What has waited long in an outbox is told apart from what is only on its way."""

from __future__ import annotations

import time

from hivemind import Node, service
from hivemind.node.overdue import Overdue
from hivemind.testing import HiveTest


class Till(Node):
    @service("order", every=3600.0, durable=True)
    def sell(self) -> None: ...

    async def look(self, seconds: int) -> list[int]:
        """How many are late, asked once a second while one that was just sent is under way."""
        begin, late = time.monotonic(), []
        for second in range(seconds):
            self.send("order", second)
            late.append(self._hm.late(self.bus, begin + second))
            await self.flush(5.0)
        return late


def test_what_is_there_longer_than_two_seconds_is_overdue() -> None:
    outbox = Overdue()
    assert [outbox.of(waiting, waiting, at) for at, waiting in ((0.0, 3), (1.0, 4), (2.0, 5), (3.0, 6))] == [0, 0, 3, 4]


def test_a_busy_outbox_that_is_never_empty_is_not_overdue() -> None:
    outbox = Overdue()
    assert {outbox.of(500, 1000 * at, float(at)) for at in range(10)} == {0}


def test_looks_in_quick_succession_do_not_make_it_overdue() -> None:
    outbox = Overdue()
    assert {outbox.of(9, 9, at / 100) for at in range(100)} == {0}


def test_who_sends_only_what_is_kept_is_not_late_with_it_while_it_is_confirmed(hive: HiveTest) -> None:
    till = hive.start(Till)
    assert till._hm.call(till.look(6)) == [0] * 6


def test_what_is_kept_and_not_confirmed_for_long_is_late(hive: HiveTest) -> None:
    till = hive.start(Till)
    hive.drop_redis()
    till.send("order", 1)
    assert [till._hm.late(till.bus, time.monotonic() + later) for later in (0, 3)] == [0, 1]
