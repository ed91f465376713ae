"""How long handlers take, and messages on their way to them: as a node measures it, and as everybody is told."""

from __future__ import annotations

import asyncio
import time
import timeit
from typing import Any

import orjson
import pytest

from hivemind import Node, responder, subscription
from hivemind.data.histogram import BOUNDS, Packed, counts_in, quantile
from hivemind.data.records import stats_from
from hivemind.footprint import Footprint
from hivemind.node.meter import PERIOD, Meter, sent_at
from hivemind.testing import HiveTest

from .waiting import eventually

ENVELOPE = {"v": 1, "n": "a.0", "e": 1, "s": 42, "t": 1795321514.224, "d": {"t": 7.0}}


def test_every_message_is_measured_where_there_are_few() -> None:
    meter, now = Meter(), 100.0
    for number in range(1, 11):
        now += PERIOD * 2
        assert meter.begin(now) == now
        meter.add(now, now + 0.0015, None, number)
    assert sum(meter.times.counts) == 10
    assert sum(meter.delays.counts) == 0


def test_one_that_is_measured_stands_for_those_since_the_one_before() -> None:
    meter = Meter()
    for number in range(1, 10_001):  # 10 µs each
        began, _ = meter.plan(number / 100_000, 1e9)
        meter.add(began, began + 0.00001, None, number)
    assert 9_000 < sum(meter.times.counts) <= 10_000


def test_whether_one_is_measured_is_known_before_it_ends() -> None:
    meter = Meter()
    slow = meter.begin(1.0)
    for number in range(1, 100):
        now = 1.0 + number * PERIOD * 1.5
        meter.add(meter.begin(now), now + 0.0001, None, number)
    meter.add(slow, 3.0, None, 100)
    assert meter.times.counts[BOUNDS.index(2.0)] == 1


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        (orjson.dumps(ENVELOPE), 1795321514.224),
        (ENVELOPE, 1795321514.224),
        (b'{"n":"a.0","v":1,"d":{"t":5},"s":1,"e":1,"t":9}', 9.0),
        (b'{"v":1,"n":"\\"t\\":5","e":1,"s":1,"t":9,"d":1}', 9.0),
        (orjson.dumps({**ENVELOPE, "d": "x" * 5000}), 1795321514.224),
        (orjson.dumps({"d": "x" * 5000, "v": 1, "n": "a.0", "e": 1, "s": 1, "t": 9}), None),
        ({"n": "", "e": 0, "s": 0, "t": 5.0, "d": 1}, None),
        (orjson.dumps({"v": 1, "n": "a.0", "e": 1, "s": 1, "d": 1}), None),
        (b"not JSON", None),
    ],
)
def test_when_a_message_was_sent_is_read_from_its_envelope(source: Any, sent: float | None) -> None:
    assert sent_at(source) == sent


def test_a_time_stamp_of_an_attacker_breaks_nothing() -> None:
    meter = Meter()
    for said in (-1e308, 1e308, 2**63, 0, True):
        meter.add(1.0, 1.5, ENVELOPE | {"t": said}, 1)
    assert sum(meter.delays.counts) == 5


@pytest.mark.alone
def test_measuring_takes_less_than_a_hundredth_of_the_time() -> None:
    meter, body = Meter(), orjson.dumps(ENVELOPE)

    def measure() -> None:
        meter.plan(1.0, 1.00005)
        meter.add(1.0, 1.00005, body, 1)
        meter.plan(1.0, 1.00005)

    assert min(timeit.repeat(measure, number=1000, repeat=50)) / 1000 < PERIOD / 100


def test_a_process_says_what_it_takes_of_its_machine() -> None:
    print_ = Footprint()
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        pass
    memory, cpu = print_.look()
    assert 5e6 < memory < 5e9
    assert 0.01 < cpu < 1.5
    assert print_.look()[1] == cpu  # not told anew so soon


# -- in a hive


class Patient(Node):
    """Takes its time, in every way there is."""

    @subscription("a.*")
    async def on_loop(self, payload: int) -> None:
        await asyncio.sleep(0.03)

    @subscription("b.*")
    def on_thread(self, payload: int) -> None:
        time.sleep(0.03)

    @subscription("c.*", durable=True)
    async def durably(self, payload: int) -> None:
        await asyncio.sleep(0.03)

    @subscription("d.*", durable=True)
    def durably_on_thread(self, payload: int) -> None:
        time.sleep(0.03)

    @responder("e")
    async def answer(self, payload: int) -> int:
        await asyncio.sleep(0.03)
        return payload

    @responder("f")
    def answer_on_thread(self, payload: int) -> int:
        time.sleep(0.03)
        return payload

    @subscription("idle")
    async def idle(self, payload: int) -> None:
        """Gets nothing."""


WAYS = ["a.1", "b.1", "c.1", "d.1", "e", "f"]


@pytest.mark.parametrize("way", WAYS)
def test_a_node_tells_how_long_each_handler_took_and_messages_to_it(hive: HiveTest, way: str) -> None:
    node = hive.start(Patient)

    def told() -> tuple[Packed, Packed]:
        stats = stats_from(orjson.loads(orjson.dumps(node._hm.stats())))
        known = {one.pattern.replace("*", "1"): one for one in stats.subscriptions}
        one = known[way] if way in known else next(each for each in stats.responders if each.name == way)
        assert known["idle"].times == ()
        assert sum(counts_in(one.times)) == sum(counts_in(one.delays)) == 5
        return one.times, one.delays

    for number in range(5):
        if way in "ef":
            hive.request(way, number)
        else:
            hive.send(way, number, durable=way[0] in "cd")
    times, delays = eventually(told, within=15)
    assert 0.02 <= (quantile(counts_in(times), 0.5) or 0) <= 0.2
    assert 0.15 <= times[0] / 1e6 < 3  # five times 30 ms, summed
    assert (quantile(counts_in(delays), 0.01) or 0) < 0.1
    if way not in "ef":  # the last of them waited for the four before
        assert delays[0] / 1e6 > 0.03 * (1 + 2 + 3 + 4) * 0.5


class Bad(Node):
    @subscription("bad.*")
    async def on_loop(self, payload: int) -> None:
        raise OSError

    @subscription("bad.*")
    def on_thread(self, payload: int) -> None:
        raise OSError


def test_what_fails_is_measured_and_what_does_not_fit_is_not(hive: HiveTest) -> None:
    node = hive.start(Bad)
    for payload in (1, "no number", "neither"):
        hive.send("bad.1", payload)

    def told() -> list[tuple[int, int, int]]:
        found = [(one.failed, one.invalid, sum(counts_in(one.times))) for one in node._hm.stats().subscriptions]
        assert all(each[:2] == (1, 2) for each in found), found
        return found

    assert eventually(told) == [(1, 2, 1)] * 2
