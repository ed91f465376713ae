"""The pages of topics: on a real root, beside real nodes, in a real browser."""

from __future__ import annotations

import asyncio
import http.client
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.client.client import Client
from hivemind.client.session import Where
from hivemind.message import foreign
from hivemind.picture.monitor import Monitor
from hivemind.picture.traffic import traffic
from hivemind.root import tails
from hivemind.root.pages.payloads import BRIEF, LONGEST, MOST, brief, tree_of
from hivemind.root.tails import Follower, Tail, Tails
from hivemind.topics import Names

from .browser import Browser, find_browser
from .root_kit import FakeSource, instance
from .servers import RedisServer
from .test_root_process import House
from .topics_kit import NODES, Shown
from .waiting import eventually

PROGRAM = find_browser()
WIDE = 15.0  # a browser on a busy machine
EVIL = "</script><img src=x onerror=window.hacked=1>"

in_browser = pytest.mark.skipif(PROGRAM is None, reason="!!! THE PAGE IS NOT TESTED IN A BROWSER: install chromium")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, server_program: Path) -> Iterator[Shown]:
    with RedisServer(server_program) as server:
        house = House(tmp_path_factory.mktemp("topics"), server, [])
        try:
            house.script("shop.py", NODES)
            _, page = house.root()
            made = Shown(house, page)
            eventually(lambda: "orders.new" in made.rows("/topics", "topics"), WIDE)
            yield made
        finally:
            for process in house.processes:
                process.kill()
                process.wait(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM) as made:
        yield made


@pytest.fixture
def client(shown: Shown) -> Iterator[Client]:
    where = Where(Endpoint.parse(shown.house.server.url), shown.house.hive)
    with Client(lambda: where) as made:
        yield made


def test_all_topics_are_listed_with_who_sends_and_hears_and_what_they_may_have_meant(shown: Shown) -> None:
    def is_complete() -> bool:
        topics = shown.rows("/topics", "topics")
        assert topics["clock.tick"]["senders"] == "shop"
        assert topics["clock.tick"]["rate"].endswith("/s")
        assert topics["clock.tick"]["note"] == "nobody listens"
        assert topics["orders.new"]["subscribers"] == "shop"
        assert topics["alarms.fier"]["note"] == "nobody listens, did you mean alarms.fire?"
        assert int(topics["clock.tick"]["sent"]) > 0
        return True

    eventually(is_complete, WIDE)
    patterns = shown.rows("/topics", "patterns")
    assert patterns["alarms.fire"]["note"] == "no service sends on it, did you mean alarms.fier?"
    kept = shown.rows("/topics", "kept")
    assert kept["orders.new"]["how"] == "durable"
    assert list(shown.rows("/topics?q=clock", "topics")) == ["clock.tick"]
    assert orjson.loads(shown.page.get("/api/topics")[1])["topics"][0]["topic"] == "alarms.fier"


def test_the_page_of_a_topic_has_its_senders_subscribers_groups_and_last_messages(shown: Shown) -> None:
    page = shown.tree("/topics/orders.new")["lists"]
    assert [one["fields"]["instance"] for one in page["senders"]] == ["shop.0"]
    assert [one["fields"]["pattern"] for one in page["subscribers"]] == ["orders.*"]
    assert [one["fields"]["group"] for one in page["groups"]] == ["shop"]
    assert page["last"] == []  # they come with the page, and with the tail
    html = shown.page.get("/topics/orders.new")[1]
    assert re.search(r'data-field="name">number<.*data-field="text">1<', html)


def test_last_messages_that_cannot_be_read_are_not_called_none(shown: Shown, client: Client) -> None:
    client.send("torn.last", "x", durable=True)
    eventually(lambda: "torn.last" in shown.rows("/topics", "kept"), WIDE)
    stream, command = Names(shown.house.hive).stream("torn.last"), shown.house.server.command
    command("DEL", stream)
    command("SET", stream, "no stream")
    html = shown.page.get("/topics/torn.last")[1]
    command("DEL", stream)
    assert re.search(r"The last messages could not be read: .*WRONGTYPE", html), html


def test_a_figure_stays_where_it_leads_nowhere_and_what_leads_nowhere_is_hidden(shown: Shown) -> None:
    html = shown.page.get("/topics/orders.new")[1]
    assert re.search(r"<dd><span[^>]*>[\d,]+</span>\s*<a[^>]*>show</a>", html)
    for path in ("/topics", "/topics/orders.new", "/topics/clock.tick"):
        html = shown.page.get(path)[1]
        assert all(" hidden" in link for link in re.findall(r'<a[^>]*href="\?"[^>]*>', html))


def test_what_is_no_name_has_no_page_and_what_nobody_knows_has_one(shown: Shown) -> None:
    assert shown.page.get("/topics/x%20y")[0] == 404
    assert shown.page.get("/topics/%5B")[0] == 404
    assert shown.page.get("/events/tail/x%20y")[0] == 404
    assert shown.page.get("/topics/nobody.knows")[0] == 200
    assert shown.page.get("/topics/a%2Fb")[0] == 200
    assert [one["instance"] for one in shown.rows("/topics/orders.%2A", "subscribers").values()] == ["shop.0"]
    eventually(lambda: shown.tree("/topics/orders.%2A")["fields"]["rate"].endswith("/s"), WIDE)


@in_browser
def test_the_tail_shows_what_passes_by_and_can_be_paused_and_filtered(
    shown: Shown, browser: Browser, client: Client
) -> None:
    browser.open(shown.url("/topics/hand.made"))
    eventually(lambda: browser.evaluate("'live' in document.getElementById('tail').dataset"), WIDE)

    def arrived(text: str) -> bool:
        client.send("hand.made", {"text": text, "list": [1, {"two": None}]})
        found = browser.evaluate("document.getElementById('messages').textContent")
        return text in str(found)

    eventually(lambda: arrived("first"), WIDE)
    tree = browser.evaluate("[...document.querySelectorAll('#messages > li:first-child .key')].map(e => e.textContent)")
    assert tree == ["", "text", "list", "0", "1", "two"]

    browser.evaluate("document.getElementById('pause').click()")
    client.send("hand.made", "while paused")
    eventually(lambda: "waiting" in browser.text("#tail-said"), WIDE)
    assert "while paused" not in browser.text("#messages")
    browser.evaluate("document.getElementById('pause').click()")
    eventually(lambda: "while paused" in browser.text("#messages"), WIDE)

    browser.evaluate(
        "match = document.getElementById('match'); match.value = 'Needle'; match.dispatchEvent(new Event('input'))"
    )
    assert browser.evaluate("document.querySelectorAll('#messages > li:not([hidden])').length") == 0

    def needle() -> bool:
        client.send("hand.made", {"deep": ["hay", "a needle"]})
        client.send("hand.made", "hay")
        time.sleep(0.3)
        return bool(browser.evaluate("document.querySelectorAll('#messages > li:not([hidden])').length"))

    eventually(needle, WIDE)
    visible = browser.evaluate("[...document.querySelectorAll('#messages > li:not([hidden])')].map(e => e.textContent)")
    assert all("needle" in text for text in visible)


@in_browser
def test_hostile_payloads_run_nothing_and_are_shown_as_text(shown: Shown, browser: Browser, client: Client) -> None:
    browser.open(shown.url("/topics/evil"))
    eventually(lambda: browser.evaluate("'live' in document.getElementById('tail').dataset"), WIDE)

    def arrived() -> bool:
        client.send("evil", {EVIL: [EVIL], "__proto__": {"x": 1}, "deep": _nested(40), "long": "x" * 100_000})
        return EVIL in browser.text("#messages .tree")

    eventually(arrived, WIDE)
    assert browser.evaluate("'hacked' in window") is False
    assert browser.evaluate("document.querySelectorAll('main img').length") == 0
    longest = browser.evaluate("Math.max(...[...document.querySelectorAll('.leaf')].map(e => e.textContent.length))")
    assert longest <= LONGEST


def test_a_fast_topic_is_shown_in_part_and_counted_and_left_alone_when_nobody_looks(
    shown: Shown, client: Client
) -> None:
    channel = "hm:default:t:fast"

    def subscribers() -> int:
        return int(shown.house.server.command("PUBSUB", "NUMSUB", channel)[1])

    connection = http.client.HTTPConnection(urlsplit(shown.page.url).netloc, timeout=10)
    connection.request("GET", "/events/tail/fast")
    answer = connection.getresponse()
    eventually(subscribers)
    for number in range(500):
        client.send("fast", number)
    client.flush()
    more = messages = 0
    while more + messages < 500:
        line = answer.readline()
        if line.startswith(b"data: {"):
            said = orjson.loads(line[6:])
            assert len(said["messages"]) <= 10
            more, messages = more + said["more"], messages + len(said["messages"])
    assert more + messages == 500
    assert messages < 100
    answer.close()
    connection.close()
    eventually(lambda: subscribers() == 0, WIDE)


def test_a_foreign_message_after_a_reconnect_is_another_one(shown: Shown) -> None:
    def key() -> str:
        connection = http.client.HTTPConnection(urlsplit(shown.page.url).netloc, timeout=10)
        connection.request("GET", "/events/tail/foreign.one")
        answer = connection.getresponse()
        try:
            eventually(lambda: shown.house.server.command("PUBLISH", "hm:default:t:foreign.one", '"x"') == 1, WIDE)
            while True:
                line = answer.readline()
                if line.startswith(b"data: ") and (messages := orjson.loads(line[6:])["messages"]):
                    return str(messages[0]["key"])
        finally:
            answer.close()
            connection.close()

    first = key()
    eventually(lambda: shown.house.server.command("PUBSUB", "NUMSUB", "hm:default:t:foreign.one")[1] == 0, WIDE)
    assert key() != first


async def test_words_are_looked_for_in_a_message_that_is_made_small_once_for_all_who_look() -> None:
    class Said:
        told = 0

        def __repr__(self) -> str:
            Said.told += 1
            return "a Needle"

    bus = Bus(Endpoint.parse("redis://127.0.0.1:1"), "gotham", "root.0")  # that is never entered
    tail = Tail(bus, "a", Monitor(FakeSource(), "gotham", "redis://127.0.0.1:1"))
    tail.followers |= {Follower("NEEDLE") for _ in range(5)} | {Follower("")}
    tail._show([("a", "x", foreign(Said()), 10), ("a", "hay", foreign("hay"), 5)], 0)
    assert Said.told == 1
    assert sorted(len(one._items) for one in tail.followers) == [1] * 5 + [2]


async def test_a_tail_that_failed_in_an_unforeseen_way_says_so_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch(self: Tail, _: object) -> None:
        if not tried:
            tried.append(self)
            raise KeyError("a fault of ours")
        self._say("")
        await asyncio.Event().wait()

    tried: list[Tail] = []
    monkeypatch.setattr(Tail, "_watch", watch)
    monkeypatch.setattr(tails, "REST", 0.05)
    bus = Bus(Endpoint.parse("redis://127.0.0.1:1"), "gotham", "root.0")
    watched = Tails(bus, Monitor(FakeSource(), "gotham", "redis://127.0.0.1:1"))
    async with asyncio.timeout(5), watched.following("a", "") as follower:
        heard = follower.events()
        said = [(await anext(heard))["said"] for _ in range(3)]
    assert said == ["", "the root failed at this; its log says why", ""]


def test_a_message_sent_by_hand_arrives_and_it_is_said_who_hears_it(shown: Shown) -> None:
    status, body = shown.post("/api/topics/orders.new", {"payload": {"number": 42}})
    assert (status, orjson.loads(body)["kept"]) == (200, True)
    assert "1 subscription hears it" in body
    eventually(lambda: "packed 42" in shown.house.output(shown.house.processes[0]), WIDE)
    status, body = shown.post("/api/topics/alarms.fir", {"payload": "smoke"})
    assert (status, orjson.loads(body)["kept"]) == (200, False)
    assert "nobody listens, did you mean alarms.fire?" in body
    assert "nobody listens, did you mean orders.new?" in shown.page.get("/topics/orers.new")[1]


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/api/topics/orders.new", {"payload": '{"number": '}, 400),
        ("/api/topics/orders.new", {"payload": "NaN"}, 400),
        ("/api/topics/orders.new", {}, 400),
        ("/api/topics/orders.new", {"payload": "[" * 100 + "]" * 100}, 400),
        ("/api/topics/orders.*", {"payload": "1"}, 400),
        ("/api/topics/x%20y", {"payload": "1"}, 400),
    ],
)
def test_what_is_no_json_or_no_topic_is_not_sent(shown: Shown, path: str, form: dict[str, str], status: int) -> None:
    assert shown.post(path, form, form=True)[0] == status
    assert shown.page.get("/api/topics/orders.new")[0] == 405


def test_a_message_from_another_site_is_not_sent(shown: Shown) -> None:
    form = {"payload": "1"}
    assert shown.post("/api/topics/hand.made", form, form=True, Origin="http://evil.example")[0] == 403
    assert shown.post("/api/topics/hand.made", form, form=True, Sec_Fetch_Site="cross-site")[0] == 403


def test_docs_are_the_same_on_the_page_for_programs_and_from_the_command_line(shown: Shown) -> None:
    found = orjson.loads(shown.page.get("/docs.json")[1])
    payload = found["components"]["messages"]["orders.new.shop"]["payload"]
    assert payload["properties"].keys() == {"number", "customer"}
    assert "stock.of.requests" in found["channels"]
    channels = {one["key"]: one for one in shown.tree("/docs")["lists"]["channels"]}
    (takes,) = channels["topic/orders.new"]["lists"]["payloads"]
    assert takes["fields"]["shape"] == "{number: integer, customer?: string}"
    told = [one["fields"]["shape"] for one in channels["requests/stock.of"]["lists"]["payloads"]]
    assert told == ["string", "integer"]
    printed = shown.house.start("-m", "hivemind.cli.hm", "docs")
    assert printed.wait(30) == 0
    said = orjson.loads(shown.house.output(printed).partition("{")[1] + shown.house.output(printed).partition("{")[2])
    assert said["components"]["messages"] == found["components"]["messages"]


@in_browser
def test_the_form_sends_and_says_what_came_of_it(shown: Shown, browser: Browser) -> None:
    browser.open(shown.url("/topics/orders.new"))
    fill = "document.querySelector('#payload').value = {!r}; document.querySelector('.send button').click()"
    eventually(lambda: browser.evaluate("document.readyState") == "complete", WIDE)
    browser.evaluate(fill.format('{"number": 44}'))
    eventually(lambda: browser.text(".send output").startswith("Kept, and confirmed by Redis"), WIDE)
    eventually(lambda: "packed 44" in shown.house.output(shown.house.processes[0]), WIDE)
    browser.evaluate(fill.format('{"number": '))
    eventually(lambda: browser.text(".send output").startswith("this is no JSON"), WIDE)


def test_a_payload_is_shown_in_part_however_large_and_deep_it_is() -> None:
    (whole,) = tree_of({"list": list(range(10_000)), "deep": _nested(60), "text": "x" * 10_000, "raw": b"\0" * 10_000})
    assert _count(whole) <= MOST + 10
    assert any(one["fields"]["text"].endswith(" more") for one in whole["lists"]["children"][0]["lists"]["children"])
    for payload in (list(range(100_000)), {"a" * 5000: "b" * 5000}, "x" * 5000, b"x" * 5000, _nested(60), 10**19):
        assert len(brief(payload)) <= BRIEF


def test_who_hears_what_of_a_thousand_nodes_takes_no_second() -> None:
    many = [
        instance(f"node{at}.0", sent={f"room{at}": at}, received={f"rooms{at}": 1, f"alarm.{at}*": 3})
        for at in range(1000)
    ]
    began = time.process_time()
    found = traffic(many)
    assert time.process_time() - began < 2.0  # it took 67 s when every name was compared with every other
    assert found.topics[0].note == "nobody listens, did you mean rooms0?"
    assert [one.note for one in found.topics].count("nobody listens") == 980


def _nested(depth: int) -> object:
    found: object = "end"
    for _ in range(depth):
        found = [found]
    return found


def _count(item: dict[str, Any]) -> int:
    children: list[dict[str, Any]] = item["lists"]["children"] if item["lists"] else []
    return 1 + sum([_count(one) for one in children])
