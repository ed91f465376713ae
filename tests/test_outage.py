"""What a process says of Redis being away: by a clock that the test turns, and on a server that comes and goes."""

from __future__ import annotations

import asyncio

import pytest

from hivemind.bus.outage import FULL, Outage
from hivemind.errors import RedisDenied, RedisRefused, RedisUnavailable
from hivemind.states import OutageState

from .bus_kit import are_up, on_bus
from .servers import RedisServer
from .waiting import eventually_async


class Told:
    """An outage of Redis as three links see it, second by second."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "hivemind.redis")
        self.now = 1000.0
        self.outage = Outage(lambda: self.now, lambda: self.now)
        self._caplog = caplog

    def away(self, seconds: int, error: RedisUnavailable | RedisDenied | RedisRefused | str = "refused") -> None:
        for _ in range(seconds):
            for who in ("out", "live", "keep"):
                self.outage.failed(who, error)
            self.now += 1.0

    def back(self) -> None:
        for who in ("out", "live", "keep"):
            self.outage.back(who)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records if record.name == "hivemind.redis"]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    return Told(caplog)


def test_it_is_said_once_then_once_a_minute_and_its_end_once(told: Told) -> None:
    waiting, dropped = 0, 2
    told.outage.waiting, told.outage.dropped = lambda: waiting, lambda: dropped
    told.away(60)
    assert told.lines == ["waiting for Redis: refused; it is tried again until it works"]
    waiting = 1204
    told.away(125)
    told.outage.back("out")
    assert told.lines[1:] == [
        "waiting for Redis: refused; for 1 min 0 s now (181 failures); 1,204 messages wait here",
        "waiting for Redis: refused; for 2 min 0 s now (361 failures); 1,204 messages wait here",
        "waiting for Redis: refused; for 3 min 0 s now (541 failures); 1,204 messages wait here",
    ]
    waiting, dropped = 1, 5
    told.back()
    became = "1 message waits here; 3 messages dropped meanwhile, for lack of room"
    assert told.lines[4:] == [f"Redis is back after 3 min 5 s (555 failures); {became}"]
    told.back()
    assert len(told.lines) == 5


def test_reasons_that_alternate_are_one_outage_and_each_kind_of_trouble_is_said_at_once(told: Told) -> None:
    for _ in range(10):
        for error in ("refused", "closed", RedisUnavailable(FULL), RedisDenied("no"), RedisRefused("OOM")):
            told.away(1, error)
    assert [line.partition(":")[0] for line in told.lines] == [
        "waiting for Redis",
        "Redis takes no more connections",
        "Redis denies us",
        "Redis refuses what it is asked for",
    ]


def test_a_redis_that_comes_and_goes_fills_no_log(told: Told) -> None:
    for _ in range(30):
        told.away(1)
        told.back()
        told.now += 1.0
    assert [line.split(" (")[0] for line in told.lines] == [
        "waiting for Redis: refused; it is tried again until it works",
        "Redis is back after 1 s",
    ]
    told.now += 60.0
    told.away(1)
    assert told.lines[2].endswith(" (since the last word it was away for a moment 29 more times)")
    told.back()
    told.away(5)
    assert len(told.lines) == 4
    told.away(1)
    assert len(told.lines) == 5, "an outage that lasts is said, whatever was said a moment ago"


def test_who_needs_redis_no_more_does_not_say_that_it_is_back(told: Told) -> None:
    told.away(1)
    for who in ("out", "live", "keep"):
        told.outage.forget(who)
    assert (told.outage.state, len(told.lines)) == (OutageState.WELL, 1)


def test_it_and_the_last_one_are_told_in_words(told: Told) -> None:
    assert told.outage.text == ""
    told.away(3)
    assert told.outage.text == "waiting for Redis: refused, since 1970-01-01T00:16:40Z"
    told.back()
    assert told.outage.text == "waiting for Redis: refused, for 3 s until 1970-01-01T00:16:43Z"


async def test_who_rests_before_the_next_try_is_woken_when_another_has_reached_redis(told: Told) -> None:
    told.away(1)
    resting = asyncio.create_task(told.outage.rest(60.0))
    await asyncio.sleep(0)
    told.outage.back("nobody")
    await asyncio.sleep(0)
    assert not resting.done()
    told.outage.back("out")
    await asyncio.wait_for(resting, 5.0)


async def test_a_process_with_many_connections_says_it_once(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with on_bus(own_server.url) as bus:
        bus.keep("orders")
        assert bus.keeping is not None
        await eventually_async(lambda: bus.keeping is not None and bus.keeping.link.is_up)
        await asyncio.to_thread(own_server.stop)
        await eventually_async(lambda: bus.outage.tries > 6)
        assert len(caplog.records) == 1
        await asyncio.to_thread(own_server.start)
        await are_up(bus)
        await eventually_async(lambda: bus.outage.since is None)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
