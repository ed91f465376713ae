"""What `hm status` says to programs that watch."""

from __future__ import annotations

import pytest

from hivemind.cli.formats import as_object, nagios
from hivemind.data.backlog import GroupBacklog, TopicBacklog
from hivemind.data.durability import Durability
from hivemind.data.entries import KeptTopic
from hivemind.data.records import Stats, SubscriptionRecord
from hivemind.picture.durable import DurableView
from hivemind.picture.health import Health
from hivemind.picture.limits import Figures, Limits
from hivemind.picture.snapshot import Snapshot, nodes_of, view_of

from .root_kit import instance

FIGURES = Figures(lag=40, age=3.5, loss=2, dead=6)


def group(lag: int, unread: float, *, is_retired: bool = False) -> GroupBacklog:
    return GroupBacklog("orders", f"shop{lag}", lag, 0, unread, None, is_retired=is_retired)


def test_figures_are_the_worst_of_all_groups_that_have_not_retired_and_the_sum_of_all_losses() -> None:
    groups = (group(40, 1.0), group(3, 3.5), group(900, 9000.0, is_retired=True))
    topics = (TopicBacklog(KeptTopic("orders", 0), 100, 4096, 6, groups),)
    hears = (SubscriptionRecord("a", missed=1, dropped=2), SubscriptionRecord("b", lost=4))
    stats = Stats(subscriptions=hears, unsent=30)
    views = [view_of(one) for one in (instance("batman.0", stats=stats), instance("joker.0", beat=None))]
    snapshot = Snapshot("gotham", "", 1.0, nodes=nodes_of(views), durable=DurableView(Durability(topics=topics)))
    assert Figures.of(snapshot) == Figures(40, 3.5, 37, 6)
    assert Figures.of(Snapshot("gotham", "")) == Figures()


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(), []),
        (Limits(40, 3.5, 2), []),
        (Limits(lag=39), ["a group is 40 messages behind, more than 39"]),
        (Limits(age=2.0), ["a message has waited for 3 s, longer than 2 s"]),
        (Limits(loss=0), ["2 messages lost, more than 0"]),
    ],
    ids=str,
)
def test_what_is_beyond_a_limit_is_told_and_what_reaches_it_is_not(limits: Limits, told: list[str]) -> None:
    assert limits.beyond(FIGURES) == told


@pytest.mark.parametrize(
    ("health", "line", "code"),
    [
        (Health("gotham", 3, 2), "HIVEMIND OK - gotham is well: 3 instances of 2 nodes run", 0),
        (Health("gotham", 3, 2, notes=("a|b\nc",)), "WARNING - gotham is well: 3 instances of 2 nodes run; a/b c", 1),
        (Health("gotham", 3, 2, starting=("joker.0",)), "WARNING - gotham is starting: joker.0 is on the way", 1),
        (Health("gotham", 3, 2, troubles=("it burns",)), "HIVEMIND CRITICAL - gotham is not well: it burns", 2),
        (Health("gotham", 0, 0, unseen="no Redis"), "HIVEMIND UNKNOWN - gotham cannot be seen: no Redis", 3),
    ],
    ids=str,
)
def test_a_plugin_has_one_line_and_four_exit_codes(health: Health, line: str, code: int) -> None:
    said, found = nagios(health, FIGURES, Limits(100, 60, 0))
    assert (found, line in said, said.count("|"), "\n" in said) == (code, True, 0 if health.unseen else 1, False)


def test_its_performance_data_has_the_limits() -> None:
    said, _ = nagios(Health("gotham", 3, 2), FIGURES, Limits(100, 60, 0))
    data = said.partition(" | ")[2].split()
    assert data == ["instances=3;;;0", "lag=40;;100;0", "age=3.500s;;60;0", "loss=2c;;0;0", "dead_letters=6;;;0"]


def test_the_object_of_a_hive_that_cannot_be_seen_says_why_where_troubles_are_looked_for() -> None:
    said = as_object(Health("gotham", 0, 0, unseen="no Redis"), Figures())
    assert (said["well"], said["level"], said["troubles"]) == (False, "unknown", ("no Redis",))
