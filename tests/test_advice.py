"""What `hm doctor` says of what nodes do, and of the settings: each both ways, and of a hive that runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hivemind.constants import Constants
from hivemind.data.checkup import Finding, Level
from hivemind.data.records import ServiceRecord, Stats, SubscriptionRecord
from hivemind.picture.advice import MOST, of_network, of_settings

from .cli_kit import Place
from .root_kit import instance

SLOW = (40_000_000, 16, 2)  # two handlings of 10 to 30 s


def network(*services: str, hears: tuple[SubscriptionRecord, ...] = ()) -> list[Finding]:
    stats = Stats(services=tuple(ServiceRecord(name) for name in services), subscriptions=hears)
    return of_network([instance(stats=stats)])


def said(found: list[Finding], subject: str) -> Finding:
    return next(one for one in found if one.subject == subject)


def test_where_all_fits_there_are_three_green_lines() -> None:
    found = network("bat-main", hears=(SubscriptionRecord("bat-*", received=3),))
    assert [(one.subject, one.level) for one in found] == [
        (subject, Level.GREEN) for subject in ("topics", "subscriptions", "payloads")
    ]


def test_a_slip_of_the_pen_is_named_from_both_sides_with_what_was_meant() -> None:
    found = network("bat-signal", hears=(SubscriptionRecord("bat-singal", "save"),))
    topic, pattern = said(found, "topic bat-signal"), said(found, "pattern bat-singal")
    assert (topic.level, topic.found) == (Level.YELLOW, "nobody listens, did you mean bat-singal?")
    assert "no service sends on it, did you mean bat-signal?" in pattern.found
    assert topic.todo
    assert pattern.todo


@pytest.mark.parametrize(("topic", "pattern"), [("order.created", "orders.*"), ("sensor.1.temp", "senser.*.temp")])
def test_a_slip_of_the_pen_is_named_where_the_pattern_has_wildcards_too(topic: str, pattern: str) -> None:
    found = network(topic, "weather", hears=(SubscriptionRecord(pattern, "save"), SubscriptionRecord("*/wea*", "see")))
    assert said(found, f"topic {topic}").found == f"nobody listens, did you mean {pattern}?"
    assert f"did you mean {topic}?" in said(found, f"pattern {pattern}").found
    assert said(found, "topic weather").found == "nobody listens"


def test_a_pattern_that_something_from_outside_feeds_is_none_that_matches_nothing() -> None:
    found = network(hears=(SubscriptionRecord("sensor.*", received=7),))
    assert said(found, "subscriptions").level is Level.GREEN


def test_of_very_many_the_first_are_named_and_the_rest_counted() -> None:
    found = network(*(f"topic-{number}" for number in range(MOST + 5)))
    named = [one for one in found if one.subject.startswith("topic ")]
    assert (len(named), said(found, "topics").found) == (MOST, "5 more like these")


def test_payloads_that_do_not_fit_are_counted_with_the_handler_and_the_last_error() -> None:
    bad = SubscriptionRecord("n", "take", received=20, invalid=3, error="InvalidPayload: no integer", group="shop")
    found = said(network("n", hears=(bad,)), "payloads of n")
    assert "3 of 20 messages did not fit take of batman; the last error: InvalidPayload: no integer" in found.found
    assert "dead letter" in found.means
    both = SubscriptionRecord("n", "take", received=20, invalid=3, failed=1, error="OSError: no room")
    assert "no room" not in said(network("n", hears=(both,)), "payloads of n").found  # it is of another message


def test_the_settings_of_a_new_hive_do_not_bite() -> None:
    assert [one.level for one in of_settings(Constants(), {}, [])] == [Level.GREEN]


STATS = Stats(
    services=(ServiceRecord("orders", kept="kept"),), subscriptions=(SubscriptionRecord("x", "do", times=SLOW),)
)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"HEARTBEAT": 2.0, "LEASE": 4.5}, "LEASE"),
        ({"CONFIRM": "memory"}, "CONFIRM"),
        ({"LOG_MAX_BYTE_SIZE": 0}, "LOG_MAX_BYTE_SIZE"),
        ({"LOG_LEVEL": "DEBUG", "PRODUCTION": True}, "LOG_LEVEL"),
        ({"HOSTS": {"alfa": [], "beta": []}}, "REDIS_URL"),
        ({"REDIS_URL": "redis://:secret@10.0.0.7:6379"}, "REDIS_URL"),
        ({"STOP_TIMEOUT": 10.0}, "STOP_TIMEOUT"),
    ],
)
def test_a_setting_that_will_bite_is_named_with_what_to_do(settings: dict[str, Any], name: str) -> None:
    of_it = {"STOP_TIMEOUT": 60.0, **settings}
    (found,) = of_settings(Constants(**of_it), {name: "config/hive.py:3"}, [instance(stats=STATS)])
    assert (found.subject, found.level) == (f"setting {name}", Level.YELLOW)
    assert found.means
    assert found.todo.endswith("(config/hive.py:3)")
    assert "secret" not in found.text


@pytest.mark.parametrize(
    "url", ["", "rediss://:x@10.0.0.7:6379", "redis://:x@localhost:6379", "unix:///r.sock", "redis://10.0.0.7:6379"]
)
def test_a_password_that_stays_here_or_is_hidden_does_not_bite(url: str) -> None:
    assert [one.level for one in of_settings(Constants(REDIS_URL=url), {}, [])] == [Level.GREEN]


TYPO = """
from hivemind import Node, service, subscription
class Typo(Node):
    @service("numbers", every=0.05)
    async def count(self, service):
        service.send("seven")
    @service("numbres", every=0.05)
    async def miscount(self, service):
        service.send(7)
    @subscription("numbers")
    async def take(self, payload: int): ...
    @subscription("letter.*")
    async def wait(self, payload: str): ...
"""


def test_of_a_hive_that_runs_it_says_what_was_hardly_meant(here: Place) -> None:
    here.write("typo.py", TYPO)
    here.hm("run", "typo.py", HIVEMIND_HEARTBEAT="0.5").says("does not fit")
    found = {one["subject"]: one for one in _eventually_with(here, "payloads of numbers")}
    assert "did you mean numbers?" in found["topic numbres"]["found"]
    assert found["pattern letter.*"]["level"] == "yellow"
    assert "did not fit Typo.take of typo" in found["payloads of numbers"]["found"]


def _eventually_with(here: Place, subject: str) -> list[dict[str, str]]:
    for _ in range(5):
        found: list[dict[str, str]] = json.loads(here.run("doctor", "--json").stdout)["findings"]
        if any(one["subject"] == subject for one in found):
            return found
    raise AssertionError(found)
