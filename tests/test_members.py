"""What the registry says of nodes that share a process, as the commands and the page show it."""

from __future__ import annotations

import orjson
import pytest

from hivemind.cli.members import common_of, members_of, part_of, process_of
from hivemind.data.records import Instance, MemberRecord, ServiceRecord, Stats, SubscriptionRecord, stats_from
from hivemind.picture.health import Level, judge, problems
from hivemind.picture.state import State
from hivemind.root.pages.node import Node as NodePage

from .root_kit import instance, tree_of
from .test_monitor import snapshot_of
from .test_topology import settings

PENGUIN, RIDDLER = MemberRecord("penguin", "running"), MemberRecord("riddler", "running")
LATE = MemberRecord("joker", "starting", "OSError: no cards")
BROKEN = MemberRecord("joker", "broken", "nodes.joker: /hive/nodes/joker.py:3: SyntaxError: invalid syntax")


def small(*members: MemberRecord) -> Instance:
    services = (ServiceRecord("egg", "running", member="penguin"),)
    subscriptions = (SubscriptionRecord("egg", missed=2, member="riddler"),)
    return instance("small.0", stats=Stats(services=services, subscriptions=subscriptions, members=members))


def test_members_are_read_as_they_were_written() -> None:
    stats = small(PENGUIN, BROKEN).stats
    assert stats_from(orjson.loads(orjson.dumps(stats))) == stats


def test_a_process_counts_as_one_instance_of_all_its_nodes() -> None:
    health = snapshot_of(small(PENGUIN, RIDDLER)).health
    assert health.sentence == "gotham is well: 2 nodes run in 1 instance; 2 messages missed"
    assert health.level is Level.NOTE


@pytest.mark.parametrize(
    ("member", "told"),
    [(LATE, "joker cannot start and is tried again: OSError: no cards"), (BROKEN, "SyntaxError: invalid syntax")],
)
def test_a_member_that_does_not_run_makes_a_hive_unwell(member: MemberRecord, told: str) -> None:
    process = small(PENGUIN, member)
    assert told in problems(process)[0]
    assert told in judge("gotham", [process], State()).troubles[0]
    assert snapshot_of(process).health.level is Level.TROUBLE


def test_the_page_names_the_members() -> None:
    process = small(PENGUIN, LATE)
    page = tree_of(NodePage(), snapshot_of(process), node=process.node)
    facts = page["lists"]["instances"][0]["fields"]["facts"]
    assert facts == "shared by penguin, joker cannot start and is tried again: OSError: no cards"


def test_a_process_is_the_sum_of_its_members() -> None:
    process = small(PENGUIN, RIDDLER)
    common = common_of(process).stats
    assert not [*common.services, *common.subscriptions]
    penguin, riddler = part_of(process, PENGUIN), part_of(process, RIDDLER)
    assert [one.name for one in penguin.stats.services] == ["egg"]
    assert not [*penguin.stats.subscriptions, *riddler.stats.services]
    assert problems(riddler) == ["2 missed"]


def test_who_shares_what_is_known_from_the_settings_or_from_who_runs() -> None:
    tuned = settings(NODES={"batman": {"process": "small"}})
    running = [small(PENGUIN)]
    assert process_of("batman", tuned) == process_of("penguin", tuned, running) == "small"
    assert process_of("joker", tuned, running) == ""
    assert members_of("small", tuned, running) == ["batman", "penguin"]
