"""Lanes: what waits for one shard, in the order in which it was sent, whatever comes back or comes over."""

from __future__ import annotations

import pytest

from hivemind.bus.endpoint import Endpoint
from hivemind.bus.lanes import Lane
from hivemind.bus.outbox import Outbox
from hivemind.bus.outgoing import Entry
from hivemind.bus.spool import Spool
from hivemind.errors import Refused, Undelivered
from hivemind.topics import Names

NOBODY = "unix:///nowhere/redis.sock"


def entry(index: int) -> Entry:
    return b"command %d" % index, "t", index, index


def test_what_comes_back_stands_behind_what_is_older() -> None:
    lane = Lane()
    lane.feed([entry(index) for index in (3, 4, 5)])
    taken = lane.take(1 << 20)
    lane.put_back([entry(1), entry(2)])
    lane.feed([entry(6)])
    lane.put_back(taken)
    assert [index for *_, index in lane.queued()] == [1, 2, 3, 4, 5, 6]
    assert lane.oldest == 1
    assert [index for *_, index in lane.take(1 << 20)] == [1, 2, 3, 4, 5, 6]


async def test_a_flush_finds_what_was_refused_in_whatever_order_shards_say_so() -> None:
    outbox = Outbox(Endpoint.parse(NOBODY), "a", Spool(Names("t")))
    outbox._failures.extend((index, Undelivered("t", index, "no")) for index in (2, 0, 1))
    with pytest.raises(Refused) as caught:
        await outbox.flush(0.1)
    assert [one.sequence for one in caught.value.messages] == [0]
    assert [index for index, _ in outbox._failures] == [2, 1]
