"""A large hive is listed in parts: by the API, on the page and in its events."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from itertools import count, pairwise

import orjson
import pytest

from hivemind.data.records import Instance
from hivemind.picture.monitor import SHARE, Monitor
from hivemind.picture.snapshot import Snapshot, nodes_of, view_of
from hivemind.root.pages.node import COPIES
from hivemind.root.paging import Window, part_of

from .root_kit import FakeSource, Running, instance, running
from .waiting import eventually, eventually_async

COUNT = 250
NAMES = ["alfred.0", *(f"batman.{number}" for number in range(COUNT - 2)), "root.0"]


@pytest.fixture(scope="module")
def page() -> Iterator[Running]:
    with running(FakeSource([instance(name) for name in reversed(NAMES)])) as made:
        eventually(lambda: made.monitor.snapshot.instances)
        yield made


def snapshot_of(*names: str) -> Snapshot:
    return Snapshot("gotham", "", 1.0, None, nodes_of([view_of(instance(name), 1.0) for name in names]))


def shown(page: Running, query: str = "") -> list[str]:
    return re.findall(r'data-field="instance">([^<]+)<', page.get(f"/nodes/batman{query}")[2])


def test_following_next_names_each_instance_once_with_the_root_as_the_last(page: Running) -> None:
    found: list[str] = []
    answer = {"next": ""}
    while answer["next"] is not None:
        answer = orjson.loads(page.get(f"/api/nodes?limit=60&after={answer['next']}")[2])
        found += [one["instance"] for node in answer["nodes"] for one in node["instances"]]
    assert (found, answer["total"]) == (NAMES, COUNT)


def test_without_a_limit_the_api_names_all_of_a_hive_that_is_not_large(page: Running) -> None:
    answer = orjson.loads(page.get("/api/nodes")[2])
    assert (answer["next"], [len(node["instances"]) for node in answer["nodes"]]) == (None, [1, COUNT - 2, 1])


def test_the_page_shows_a_part_and_leads_to_the_next(page: Running) -> None:
    html = page.get("/nodes/batman")[2]
    (link,) = re.findall(r'data-link="next" href="([^"]+)"', html)
    assert f"instances 1 to {COPIES} of {COUNT - 2}" in html
    assert f"{COUNT - 2} running" in html  # of a node, all are counted
    assert len(html.encode()) < 100 * 1024
    assert shown(page) == NAMES[1 : 1 + COPIES]
    assert shown(page, link) == NAMES[1 + COPIES : 1 + 2 * COPIES]


def test_the_list_of_nodes_shows_a_part_of_those_that_match_and_leads_to_the_next(page: Running) -> None:
    html = page.get("/nodes?limit=1&match=CAVE")[2]
    (link,) = re.findall(r'data-link="next" href="([^"]+)"', html)
    assert link == "?after=alfred&amp;match=CAVE&amp;limit=1"
    assert "nodes 1 to 1 of 3" in html
    following = page.get(f"/nodes{link.replace('&amp;', '&')}")[2]
    assert ('data-key="batman"' in following, 'data-key="alfred"' in following) == (True, False)
    assert "No node has that" in page.get("/nodes?match=joker")[2]


def test_a_viewer_gets_events_of_the_part_that_he_sees(page: Running) -> None:
    with page.events(f"/nodes/batman?after={NAMES[99]}&limit=5") as stream:
        tree = stream.next()
    assert [one["key"] for one in tree["lists"]["instances"]] == NAMES[100:105]


def test_what_comes_behind_one_that_has_left_is_what_came_behind_it() -> None:
    part = part_of(snapshot_of("a.0", "b.1", "b.10", "c.0", "root.0"), Window("b.9", 2))
    assert ([one.record.instance for node in part.nodes for one in node.instances], part.next) == (
        ["b.10", "c.0"],
        "c.0",
    )


WRONG = ["limit=0", "limit=x", "limit=10001", "limit=-1", "limit=%D9%A3", "after=8", "after=../x.0"]


@pytest.mark.parametrize("query", WRONG)
def test_a_window_that_cannot_be_is_refused_with_what_to_write(page: Running, query: str) -> None:
    for path in ("/nodes", "/nodes/batman", "/api/nodes", "/events/nodes", "/events/nodes/batman"):
        status, _, said = page.get(f"{path}?{query}")
        assert (status, "write " in said) == (400, True)


class Timed(FakeSource):
    """Remembers when it was read; whoever reads it is told at once that something has changed."""

    monitor: Monitor

    async def instances(self) -> list[Instance]:
        self.at = [*getattr(self, "at", []), time.monotonic()]
        self.monitor.notice()
        return await super().instances()


async def test_the_longer_reading_takes_the_longer_the_registry_is_let_alone_whoever_joins() -> None:
    spent, source = count(), Timed([instance()])
    source.monitor = Monitor(source, "gotham", "", every=0.01, spent=lambda: next(spent) / 175)
    reading = asyncio.create_task(source.monitor.run())
    await eventually_async(lambda: source.reads >= 4)
    source.monitor.close()
    await asyncio.wait_for(reading, 5)
    assert min(later - earlier for earlier, later in pairwise(source.at)) > 0.9 * SHARE / 175
