"""The living picture: what is grouped, where everything stands, what is red, and the page that is drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind.data.records import Instance, Stats, SubscriptionRecord
from hivemind.picture.columns import columns
from hivemind.picture.graph import Graph, graph
from hivemind.picture.grouping import grouped, stem_of
from hivemind.picture.layout import GAP, Labels, picture
from hivemind.picture.monitor import History
from hivemind.picture.snapshot import Snapshot, nodes_of, view_of
from hivemind.root.pages.network import MOST, Network, meant, opened_in
from hivemind.root.pages.page import Item, Visit

from .browser import Browser, find_browser
from .root_kit import FakeSource, instance, running
from .waiting import eventually

PROGRAM = find_browser()
WIDE = 15.0
needs_browser = pytest.mark.skipif(
    PROGRAM is None, reason="!!! THE NETWORK IS NOT TESTED IN A BROWSER: install chromium"
)


def crowd(count: int = 100) -> list[Instance]:
    """Numbered nodes with a topic each, and one who hears all of them."""
    sensors = [instance(f"sensor-{at}.0", sent={f"sensors.{at}": 10}) for at in range(1, count + 1)]
    return [*sensors, instance("archive.0", received={"sensors.*": 10 * count})]


def tree(instances: list[Instance], **query: str) -> Item:
    visit = Visit(Snapshot("gotham", "", 100.0, nodes=nodes_of(History().follow(instances))), 100.0, query=query)
    try:
        Network().tree(visit).__await__().send(None)
    except StopIteration as end:
        made: Item = end.value
        return made
    raise AssertionError("it waits")


def labels(found: Item) -> list[str]:
    return [one["fields"]["label"] for one in found["lists"]["boxes"]]


def loses(missed: int, beat: float) -> Instance:
    one = SubscriptionRecord("lamp", received=100, missed=missed)
    return instance("batman.0", beat=beat, stats=Stats(subscriptions=(one,)))


# -- rates, and what is lost


def test_rates_and_losses_of_copies_are_added_and_unknown_ones_stay_unknown() -> None:
    history = History()
    for beat, sent in ((100.0, 0), (110.0, 50)):
        copies = [instance(f"a.{at}", beat=beat, sent={"lamp": sent, "new": 0}) for at in (0, 1)]
        seen = history.follow([*copies, loses(sent, beat)])
    records = [one.record for one in seen]
    lamp, _ = graph(records, seen=seen).rows
    assert (lamp.rate, lamp.subscribers[0].lost, lamp.subscribers[0].losing) == (10.0, 50, 5.0)
    assert graph(records).rows[0].rate is None
    assert [line.note for line in columns(graph(records))] == ["50 lost", "nobody listens"]


def test_a_curve_is_red_while_messages_are_lost_and_where_a_pattern_matches_nothing() -> None:
    def states(missed: int, before: int) -> list[str]:
        loser = loses(missed, 100.0)
        every = [instance("a.0", sent={"lamp": 1}), loser, instance("deaf.0", received={"lapm": 0})]
        seen = [view_of(loser, 100.0, loses(before, 90.0).stats, seconds=10.0)]
        return [edge.state for edge in picture(graph(every, seen=seen)).edges]

    assert states(0, 0) == ["", "", "trouble"]
    assert states(3, 3) == ["", "note", "trouble"]
    assert states(3, 1) == ["", "trouble", "trouble"]


# -- groups


def test_a_hundred_numbered_nodes_and_topics_are_one_box_each_and_their_numbers_are_added() -> None:
    found = grouped(graph(crowd()))
    (row,) = found.graph.rows
    assert (row.name, row.sent, [one.node for one in row.senders]) == ("sensors.#", 1000, ["sensor-#"])
    assert [(one.node, one.received) for one in row.subscribers] == [("archive", 1000)]
    assert (found.nodes, found.topics) == (
        {"sensor-#": "sensor-1 … sensor-100 (100)"},
        {"sensors.#": "sensors.1 … sensors.100 (100)"},
    )


def test_what_is_opened_and_two_of_a_kind_stay_as_they_are() -> None:
    assert len(grouped(graph(crowd()), ["sensors.#"]).graph.rows) == 100
    assert [len(row.senders) for row in grouped(graph(crowd()), ["sensor-#"]).graph.rows] == [100]
    assert grouped(graph(crowd(2))).graph == graph(crowd(2))


def test_what_is_wrong_is_not_hidden_in_a_group_that_is_well() -> None:
    found = grouped(graph([*crowd(9), *(instance(f"x-{at}.0", sent={f"y.{at}": 1}) for at in range(9))]))
    assert [(row.name, bool(row.note)) for row in found.graph.rows] == [("sensors.#", False), ("y.#", True)]


@pytest.mark.parametrize(("name", "stem"), [("a1", "a#"), ("a1.b22", "a1.b#"), ("a1b", "a#b"), ("a", ""), ("", "")])
def test_a_stem_has_a_place_for_the_last_number(name: str, stem: str) -> None:
    assert stem_of(name) == stem


NAMES = st.from_regex(r"[abc][abc12.-]{0,4}", fullmatch=True)


@settings(max_examples=60)
@given(st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=25))
def test_grouping_loses_no_message_and_every_curve_has_its_boxes(ways: list[tuple[str, str, str]]) -> None:
    every = [
        instance(f"{node}.{at}", sent={topic: 3}, received={other: 1}) for at, (node, topic, other) in enumerate(ways)
    ]
    whole = graph(every)
    found = grouped(whole)
    assert sum(row.sent for row in found.graph.rows) == sum(row.sent for row in whole.rows)
    drawn = picture(found.graph, Labels(found.nodes, found.topics))
    boxes = [box.key for box in drawn.boxes]
    assert len(boxes) == len(set(boxes))
    assert {end for edge in drawn.edges for end in edge.key} <= set(boxes)


def test_no_box_lies_on_another_and_none_is_outside_the_picture() -> None:
    drawn = picture(graph([*crowd(20), instance("deaf.0", received={"lapm": 0})]))
    for column in {box.left for box in drawn.boxes}:
        mine = sorted((box for box in drawn.boxes if box.left == column), key=lambda box: box.top)
        assert all(one.top + one.height + GAP <= other.top + 0.01 for one, other in pairwise(mine))
        assert all(box.left + box.width < drawn.width and box.top + box.height < drawn.height for box in mine)


# -- the page


def test_a_group_leads_to_itself_opened_and_a_node_and_a_topic_to_their_pages() -> None:
    found = tree(crowd(9), match="sensor*")
    pages = {one["fields"]["label"]: one["fields"]["page"] for one in found["lists"]["boxes"]}
    assert pages["archive"] == "/nodes/archive"
    asked = parse_qs(urlsplit(pages["sensor-1 … sensor-9 (9)"]).query)
    assert asked == {"match": ["sensor*"], "open": ["sensor-#"]}
    opened = tree(crowd(9), match="sensor*", open="sensor-#,sensors.#")
    assert {"sensor-3", "sensors.3"} <= set(labels(opened))
    assert [one["fields"]["close"] for one in opened["lists"]["opened"]] == [
        "?match=sensor%2A&open=sensors.%23",
        "?match=sensor%2A&open=sensor-%23",
    ]


def test_a_filter_is_a_pattern_or_a_part_of_a_name_and_says_when_it_finds_nothing() -> None:
    whole = graph([*crowd(2), instance("x.0", sent={"lamp": 1})])
    assert [row.name for row in meant(whole, "sensors.*")[0].rows] == ["sensors.1", "sensors.2"]
    assert [row.name for row in meant(whole, "am")[0].rows] == ["lamp"]
    assert meant(whole, "x")[0].rows[0].name == "lamp"
    assert meant(whole, "nobody") == (Graph(()), "nobody matches no topic and no node")
    assert "is no pattern" in meant(whole, "a b<")[1]


def test_what_is_too_much_to_draw_is_said_and_what_is_too_long_is_refused() -> None:
    many = [instance("a.0", sent={f"t{'x' * (at % 60)}.{'y' * (at // 60)}": 1 for at in range(MOST + 30)})]
    found = tree(many)
    assert found["fields"]["said"].startswith(f"the first {MOST} of {MOST + 30} topics; 30 more")
    assert len(found["lists"]["rows"]) == MOST
    with pytest.raises(ValueError, match="too many groups"):
        opened_in("#," * 600)


def test_every_key_is_its_own_and_what_strangers_are_called_is_text() -> None:
    evil = replace(instance("a.0", sent={"lamp": 1}), instance='"]<svg onload=alert(1)>.0')
    found = tree([evil, *crowd(5), instance("b.0", received={"lamp": 1})])
    for name in ("boxes", "edges", "rows"):
        keys = [one["key"] for one in found["lists"][name]]
        assert len(keys) == len(set(keys)) > 0
    with running(FakeSource([evil])) as page:
        eventually(lambda: page.monitor.snapshot.instances)
        html = page.get("/network")[2]
    assert "<svg onload" not in html
    assert "&lt;svg onload=alert(1)&gt;" in html


def test_the_page_stays_small_with_a_hundred_nodes() -> None:
    with running(FakeSource(crowd())) as page:
        eventually(lambda: page.monitor.snapshot.instances)
        sizes = [len(page.get(path)[2]) for path in ("/network", *(f"/static/{each}" for each in STATIC))]
    assert sum(sizes) < 100 * 1024


STATIC = ("hivemind.css", "hivemind.js", "network.css", "network.js", "favicon.svg")


# -- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM) as made:
        yield made


def drawn(browser: Browser, selector: str) -> int:
    return int(browser.evaluate(f"document.querySelectorAll({selector!r}).length") or 0)


@needs_browser
def test_an_open_page_draws_who_comes_and_forgets_who_goes(browser: Browser) -> None:
    source = FakeSource([instance("a.0", sent={"lamp": 1}), instance("b.0", received={"lamp": 1})])
    with running(source) as page:
        browser.open(f"http://127.0.0.1:{page.port}/network")
        eventually(lambda: browser.text("#connection").startswith("live"), WIDE)
        assert (drawn(browser, "#picture .box"), drawn(browser, "#picture .edge")) == (3, 2)
        source.listed.append(instance("joker.0", received={"lamp": 1}))
        page.refresh()
        eventually(lambda: drawn(browser, "#picture .edge") == 3, WIDE)
        newest = "[...document.querySelectorAll('#picture .box')].find(one => one.textContent.includes('joker'))"
        assert browser.evaluate(f"{newest}.querySelector('rect').getBoundingClientRect().height > 10") is True
        assert browser.evaluate(f"{newest}.querySelector('a').getAttribute('href')") == "/nodes/joker"
        source.listed.pop(0)
        page.refresh()
        eventually(lambda: drawn(browser, "#picture .edge") == 2, WIDE)


@needs_browser
def test_who_goes_through_the_picture_with_tab_is_told_what_each_box_counts(browser: Browser) -> None:
    source = FakeSource([instance("a.0", sent={"lamp": 17}), instance("b.0", received={"lamp": 12})])
    with running(source) as page:
        browser.open(f"http://127.0.0.1:{page.port}/network")
        eventually(lambda: browser.text("#connection").startswith("live"), WIDE)
        browser.evaluate("document.querySelector('#picture .box a').focus()")
        assert browser.text("#told") == "aa sent 17 on lamp"
        for kind in ("rawKeyDown", "keyUp"):
            browser._ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        eventually(lambda: "b got 12 by lamp" in browser.text("#told"), WIDE)
        assert drawn(browser, ".edge.shown") == 2
