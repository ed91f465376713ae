"""Who fails again and again is not well in between, and what went wrong is a remark for an hour. See `node.lately`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hivemind import Message, Node, service, subscription
from hivemind.cli.top_rows import nodes_sheet
from hivemind.data.records import ResponderRecord as Asked
from hivemind.data.records import ServiceRecord as Service
from hivemind.data.records import Stats, SubscriptionRecord, stats_from
from hivemind.node.lately import STEPS, Lately, Window
from hivemind.picture.health import Health, Level
from hivemind.picture.nodes import node_lines
from hivemind.root.pages.nodes import figures, level
from hivemind.testing import HiveTest

from .root_kit import instance
from .test_monitor import snapshot_of
from .waiting import eventually


class Looks:
    """One instance, looked at whenever the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self._lately = Lately(lambda: self.now)

    def at(self, now: float, stats: Stats) -> Health:
        self.now = now
        self.seen = snapshot_of(instance("penguin.0", beat=50.0 + now, stats=self._lately.added(stats)))
        return self.seen.health


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 9)), min_size=1, max_size=60))
def test_a_window_has_all_that_grew_in_it_and_nothing_older_than_a_twelfth_more(steps: list[tuple[float, int]]) -> None:
    window, now, total, grown = Window(60.0), 0.0, 0, []
    for wait, more in steps:
        now, total = now + wait, total + more
        grown.append((now, more))
        told = window.of({"failed": total}, now).get("failed", 0)
        old = max((at for at, _ in grown if now - at >= 65.0), default=-5.0) - 60.0 / STEPS
        least = sum(count for at, count in grown if now - at < 60.0)
        most = sum(count for at, count in grown if at > old)
        assert least <= told <= most


def test_a_service_that_fails_on_each_call_stays_unwell_between_two_failures_and_for_a_minute() -> None:
    hive = Looks()
    said = [hive.at(5.0 * times, Stats(services=(Service("lamp", "running", restarts=times),))) for times in range(13)]
    assert {one.level for one in said[2:]} == {Level.TROUBLE}
    assert said[-1].troubles == ("service lamp of penguin.0 failed 12 times in the last minute",)
    (line,), (row,) = node_lines(hive.seen), nodes_sheet(hive.seen).rows
    assert line.problem == "in penguin.0 service lamp failed 12 times in the last minute"
    assert (level(line), figures(line)["summary"], figures(line)["failed"]) == ("trouble", "running, not well", "12")
    assert (row.style, row.values["state"], row.values["failed"]) == ("red", "running, not well", 12)
    assert said[1].notes == ("service lamp of penguin.0 failed once in the last minute",)
    calm = Stats(services=(Service("lamp", "running", restarts=12),))
    levels = [hive.at(60.0 + 5.0 * step, calm).level for step in range(14)]
    assert (levels[10], levels[-1]) == (Level.TROUBLE, Level.WELL)
    waits = hive.at(200.0, Stats(services=(Service("lamp", "backoff", restarts=12, error="no oil"),)))
    assert waits.troubles == ("service lamp of penguin.0 fails: no oil",)


def test_a_handler_that_mostly_fails_is_trouble_for_a_minute_and_a_remark_for_an_hour() -> None:
    hive, once = Looks(), Stats(subscriptions=(SubscriptionRecord("bat", "hear", failed=3, handled=2, error="no bat"),))
    told = "handler hear of penguin.0 failed 3 times in the last minute, and returned 2 times: no bat"
    assert hive.at(0.0, once).troubles == (told,)
    assert hive.at(30.0, once).troubles == (told,)
    later = hive.at(90.0, once)
    assert (later.troubles, later.notes) == ((), ("3 messages failed in a handler since the nodes began",))
    assert hive.at(3900.0, once).level is Level.WELL
    mostly = Stats(subscriptions=(SubscriptionRecord("bat", "hear", failed=3, handled=9),))
    assert not Looks().at(0.0, mostly).troubles


def test_what_else_went_wrong_is_a_remark_for_an_hour() -> None:
    hive, lost = Looks(), Stats(unsent=2, log_lost=1, subscriptions=(SubscriptionRecord("bat", "hear", missed=4),))
    asked = Stats(responders=(Asked("count", "count", failed=1, handled=7),))
    assert hive.at(0.0, lost).notes == (
        "4 messages missed since the nodes began",
        "2 messages of penguin.0 never left it",
        "1 line of the logs of penguin.0 could not be written",
    )
    assert hive.at(3900.0, lost).notes == ()
    assert Looks().at(0.0, asked).notes == ("1 request failed in a responder since the nodes began",)


def test_an_hour_is_only_said_where_all_have_counted_for_one() -> None:
    def told(*ages: float) -> tuple[str, ...]:
        heard = Stats(subscriptions=(SubscriptionRecord("bat", "hear", missed=2, lately={"missed": 2}),))
        return snapshot_of(
            *(instance(f"robin.{number}", beat=50.0 + age, stats=heard) for number, age in enumerate(ages))
        ).health.notes

    assert told(3600.0, 9000.0) == ("4 messages missed in the last hour",)
    assert told(3600.0, 1.0) == ("4 messages missed in the last hour, by those that run now",)
    assert told(60.0, 1.0) == ("4 messages missed since the nodes began",)


def test_whatever_is_stored_as_of_late_is_read_without_harm() -> None:
    raws: list[object] = [7, [], {"missed": "x"}, {"missed": -1}, {"missed": True}, None]
    for raw in raws:
        found = stats_from({"lately": raw, "subscriptions": [{"pattern": "a", "lately": raw, "failed_lately": raw}]})
        assert found.lately in (None, {})
        assert found.subscriptions[0].lately in (None, {})


class Clumsy(Node):
    """Fails whenever it can."""

    @service("try", every=0.01)
    async def fail(self, service: object) -> None:
        raise OSError("no oil")

    @subscription("bat")
    async def hear(self, message: Message) -> None:
        raise OSError("no bat")


def test_a_node_tells_of_its_failures_of_the_last_minute(hive: HiveTest) -> None:
    node = hive.start(Clumsy)
    for _ in range(3):
        hive.send("bat", 1)

    def is_told() -> bool:
        stats = node._hm.stats()
        failed = stats.services[0].failed_lately
        return 0 < failed <= stats.services[0].restarts and stats.subscriptions[0].failed_lately == 3

    eventually(is_told, 10)
