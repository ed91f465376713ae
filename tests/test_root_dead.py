"""The page of dead letters: on a real root, with letters that real nodes gave up, in a real browser."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from .browser import Browser, find_browser
from .servers import RedisServer
from .test_root_process import House
from .topics_kit import NODES, Shown
from .waiting import eventually

PROGRAM = find_browser()
WIDE = 15.0  # a browser on a busy machine
EVIL = "</script><img src=x onerror=window.hacked=1>"
REASON = "OSError: the shelf is empty"

in_browser = pytest.mark.skipif(PROGRAM is None, reason="!!! THE PAGE IS NOT TESTED IN A BROWSER: install chromium")


@pytest.fixture
def shown(tmp_path: Path, own_server: RedisServer) -> Iterator[Shown]:
    house = House(tmp_path, own_server, [])
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


def die(shown: Shown, *numbers: int, customer: str = "Selina") -> list[str]:
    """Let orders with these odd numbers die; return what all letters are called, the newest first."""
    for number in numbers:
        payload = {"number": number, "customer": customer}
        assert shown.post("/api/topics/orders.new", {"payload": payload})[0] == 200
    known = min(12, 1 + len(numbers))  # with the one that the node sends by itself
    eventually(lambda: len(shown.rows("/dead", "letters")) >= known, WIDE)
    return list(shown.rows("/dead", "letters"))


def packed(shown: Shown, number: int) -> int:
    return shown.house.output(shown.house.processes[0]).count(f"packed {number}\n")


def test_letters_are_listed_with_reason_payload_and_traceback_and_narrowed_by_topic_and_group(shown: Shown) -> None:
    die(shown, 3)
    newest = next(iter(shown.rows("/dead", "letters").values()))
    assert newest["reason"] == f"{REASON}: Selina"
    assert newest["tries"] == "2 tries"
    assert newest["group"] == "shop"
    assert newest["trace"].endswith(f"{REASON}: Selina")
    assert newest["brief"] == '{"number": 3, "customer": "Selina"}'
    assert newest["sender"].startswith("client-")
    assert len(shown.rows("/dead?topic=orders.new&group=shop", "letters")) == 2
    assert shown.rows("/dead?group=books", "letters") == {}
    assert shown.page.get("/dead?topic=clock.tick")[0] == 200
    assert shown.page.get("/dead?topic=x%20y")[0] == 400
    assert shown.page.get("/dead?before=x")[0] == 400
    html = shown.page.get("/dead")[1]
    assert REASON in html  # without a script, too
    assert 'formaction="/api/dead/drop"' in html


def test_older_letters_are_on_the_next_page(shown: Shown) -> None:
    die(shown, *range(3, 33, 2))
    eventually(lambda: shown.rows("/dead", "topics")["orders.new"]["count"] == "16", WIDE)
    first = shown.tree("/dead")
    assert len(first["lists"]["letters"]) == 12
    after = shown.rows(first["fields"]["next"], "letters")
    assert len(after) == 4
    assert not after.keys() & {one["key"] for one in first["lists"]["letters"]}


def test_letters_that_were_not_read_are_not_called_none(shown: Shown) -> None:
    shown.house.server.command("SET", "hm:default:d:{torn.up}", "no letters")
    fill = "for i = 1, 60 do redis.call('XADD', KEYS[1], '*', 'b', '\"' .. string.rep('x', 90000) .. '\"') end"
    shown.house.server.command("EVAL", fill, 1, "hm:default:d:{very.long}")
    torn, long = (shown.tree(f"/dead?topic={of}&group=shop")["fields"]["none"] for of in ("torn.up", "very.long"))
    assert torn.startswith("Those of torn.up could not be read: ")
    assert "WRONGTYPE" in torn
    assert long == "Older ones of very.long were not looked at: there are too many."
    assert shown.tree("/dead?topic=or.ders")["fields"]["none"] == "There are no dead letters of or.ders."


def test_one_letter_is_replayed_and_all_are(shown: Shown) -> None:
    _, three, _ = die(shown, 3, 5)
    (shown.house.folder / "shelf").touch()
    status, body = shown.post("/api/dead/replay", {"which": three})
    assert (status, orjson.loads(body)["said"]) == (200, "orders.new: 1 dead letter replayed for group shop")
    eventually(lambda: packed(shown, 3) == 1, WIDE)
    assert packed(shown, 5) == 0
    status, body = shown.post("/api/dead/replay", {"which": three})
    assert (status, "was replayed, dropped, or never there" in body) == (404, True)
    assert orjson.loads(body)["todo"] == "/dead and `hm dead list` show those that are there"
    assert orjson.loads(shown.post("/api/dead/drop", {"which": three})[1])["todo"] == 'add "sure": true'
    assert "2 dead letters replayed" in shown.post("/api/dead/replay", {"which": "orders.*"})[1]
    eventually(lambda: packed(shown, 5) == packed(shown, 1) == 1, WIDE)
    eventually(lambda: shown.rows("/dead", "letters") == {}, WIDE)


def test_a_form_without_a_script_is_led_back_to_its_group_and_told_what_failed(shown: Shown) -> None:
    die(shown, 3)
    assert shown.rows("/dead?group=shop", "topics")["orders.new"]["count"] == ""
    put = ("XADD", "hm:default:d:{orders.new}", "*", "b", orjson.dumps({"reason": "none", "group": "odd", "tries": []}))
    shown.house.server.command(*put)
    odd = {"which": "orders.new", "group": "odd"}
    status, said = shown.post("/api/dead/replay", odd, form=True, Accept="text/html")
    assert (status, "cannot be read, and stays" in said) == (409, True)
    connection = http.client.HTTPConnection(urlsplit(shown.page.url).netloc, timeout=10)
    headers = {"X-Hivemind": "1", "Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    connection.request("POST", "/api/dead/drop", "which=orders.new&group=odd&sure=on", headers)
    answer = connection.getresponse()
    connection.close()
    assert (answer.status, answer.headers["location"]) == (303, "/dead?group=odd")


def test_letters_are_dropped_only_by_who_is_sure(shown: Shown) -> None:
    newest, *_ = die(shown, 3)
    assert shown.post("/api/dead/drop", {"which": newest})[0] == 400
    assert len(shown.rows("/dead", "letters")) == 2
    assert "1 dead letter dropped" in shown.post("/api/dead/drop", {"which": newest, "sure": True})[1]
    eventually(lambda: newest not in shown.rows("/dead", "letters"), WIDE)
    for which in ("", "x y", "orders.new:x", "orders.new:1-0", "nothing.kept", ["orders.new"], 7):
        assert shown.post("/api/dead/drop", {"which": which, "sure": True})[0] in (400, 404)
    assert len(shown.rows("/dead", "letters")) == 1
    assert shown.page.get("/api/dead/drop")[0] == 405
    assert shown.post("/api/dead/drop", {"which": "*", "sure": True}, Origin="http://evil.example")[0] == 403


@in_browser
def test_the_buttons_replay_and_drop_and_hostile_letters_run_nothing(shown: Shown) -> None:
    assert PROGRAM is not None
    evil, _ = die(shown, 3, customer=EVIL)
    shown.house.server.command(
        "XADD", "hm:default:d:{orders.new}", "*", "b", orjson.dumps({"reason": EVIL, "tries": []})
    )
    with Browser(PROGRAM) as browser:
        browser.open(shown.url("/dead"))
        eventually(lambda: browser.evaluate("document.querySelectorAll('.letters > li').length") == 3, WIDE)
        assert EVIL in browser.text(".letters")
        eventually(lambda: browser.text("#connection").startswith("live"), WIDE)
        assert browser.evaluate("'hacked' in window") is False
        assert browser.evaluate("document.querySelectorAll('main img').length") == 0

        row = f'[data-key="{evil}"]'
        browser.evaluate(f"document.querySelector('{row} .danger').click()")  # not sure: nothing is sent
        assert browser.text(f"{row} output") == ""
        browser.evaluate(f"document.querySelector('{row} .sure input').click()")
        browser.evaluate(f"document.querySelector('{row} .danger').click()")
        eventually(lambda: not browser.evaluate(f"document.querySelector('{row}') !== null"), WIDE)

        (shown.house.folder / "shelf").touch()
        browser.evaluate("document.querySelector('.dead tbody button').click()")
        eventually(lambda: packed(shown, 1) == 1, WIDE)
        eventually(lambda: "cannot be read, and stays" in browser.text(".dead output"), WIDE)
        assert packed(shown, 3) == 0
