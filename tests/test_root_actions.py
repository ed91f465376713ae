"""What can be done from the page, to real processes by the real hived."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from .browser import Browser, find_browser
from .hive_kit import SENDER, Hive, hive_in, well
from .waiting import eventually

PROGRAM = find_browser()
WIDE = 45.0  # seconds: a browser, and a roll, on a busy machine
in_browser = pytest.mark.skipif(PROGRAM is None, reason="!!! THE BUTTONS ARE NOT TESTED IN A BROWSER: install chromium")


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    with hive_in(tmp_path_factory.mktemp("actions") / "gotham") as made:
        made.node("batman", SENDER)
        made.start()
        eventually(lambda: well(made) and made.status().page, within=30)
        eventually(lambda: "batman.0" in get(made, "/nodes/batman")[1], within=WIDE)
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM) as made:
        yield made


def ask(hive: Hive, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    parts = urlsplit(str(hive.status().page))
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    own = {"X-Hivemind": "1", "Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    try:
        connection.request(
            method, path, body or None, own | {name.replace("_", "-"): headers[name] for name in headers}
        )
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def get(hive: Hive, path: str) -> tuple[int, str]:
    return ask(hive, "GET", path)[:2]


def act(hive: Hive, verb: str, body: str = "", node: str = "batman") -> tuple[int, dict[str, Any]]:
    status, said, _ = ask(hive, "POST", f"/api/nodes/{node}/{verb}", body)
    found: dict[str, Any] = orjson.loads(said) if said.startswith("{") else {"error": said}
    return status, found


def running(hive: Hive) -> dict[str, int | None]:
    """The copies of batman that run, with their pids."""
    return {one.name: one.pid for one in hive.status().programs if one.name.startswith("batman.") and one.pid}


def told(found: dict[str, Any]) -> dict[str, str]:
    return {one["program"]: one["text"] for host in found["hosts"] for one in host["programs"]}


def test_a_node_is_scaled_stopped_started_restarted_and_rolled(hive: Hive) -> None:
    status, found = act(hive, "scale", "replicas=2")
    assert (status, found["ok"], found["done"]) == (200, True, True), found
    assert set(running(hive)) == set(told(found)) == {"batman.0", "batman.1"}

    before = running(hive)
    assert act(hive, "roll")[1]["ok"]
    after = running(hive)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())

    assert told(act(hive, "stop", node="batman.1")[1]) == {"batman.1": "stopped"}
    assert set(running(hive)) == {"batman.0"}
    assert "batman.1 is stopped by somebody on this machine, on the page" in hive.run("hm", "status").stdout
    assert act(hive, "start")[1]["ok"]
    assert set(running(hive)) == {"batman.0", "batman.1"}

    before = running(hive)
    assert act(hive, "restart", node="batman.0")[1]["ok"]
    after = running(hive)
    assert (after["batman.0"] == before["batman.0"], after["batman.1"] == before["batman.1"]) == (False, True)
    assert act(hive, "scale", "replicas=1")[1]["ok"]
    assert set(running(hive)) == {"batman.0"}
    assert "somebody on this machine, on the page" in hive.log("hived")


def test_what_cannot_be_meant_is_refused_with_what_to_write(hive: Hive) -> None:
    status, found = act(hive, "stop", node="joker")
    assert (status, found["ok"], found["error"]) == (404, False, "no hived of this hive runs joker")
    assert "did you mean batman?" in act(hive, "stop", node="batmen")[1]["error"]
    for node in ("bat man", "..", "%2e%2e", "@all", "batman.x", "-batman", "%00"):
        assert act(hive, "stop", node=node.replace(" ", "%20"))[0] == 404
    for body in ("", "replicas=", "replicas=-1", "replicas=1001", "replicas=two", "replicas=%D9%A3", "replicas=1e2"):
        status, found = act(hive, "scale", body)
        assert (status, found["status"], found["error"]) == (400, 400, "replicas: write a number from 0 to 1,000")
    status, found = act(hive, "scale", '{"replicas": 2}')  # a program that calls all that it sends a form
    assert (status, found["error"]) == (400, "the body is JSON, and its Content-Type says that it is a form")
    assert found["todo"] == "add the header Content-Type: application/json"
    assert act(hive, "scale", "replicas=2", node="batman.0")[0] == 400
    assert act(hive, "roll", "max_unavailable=0")[0] == 400
    assert act(hive, "explode")[0] == 404
    wrong = [
        ask(hive, "GET", "/api/nodes/batman/stop"),
        ask(hive, "POST", "/api/nodes/batman/stop", Origin="http://evil.example"),
        ask(hive, "POST", "/api/nodes/batman/scale", "{}", Content_Type="text/plain"),
        ask(hive, "POST", "/api/nodes/batman/scale", "[]", Content_Type="application/json"),
        ask(hive, "POST", "/api/nodes/joker/stop"),
        ask(hive, "GET", "/api/nodes/joker"),
        ask(hive, "GET", "/api/nothing"),
        ask(hive, "GET", "/api/nodes?limit=all"),
        ask(hive, "GET", "/api/nodes", Host="evil.example"),
        ask(hive, "POST", "/api/topics/speech", "{", Content_Type="application/json"),
        ask(hive, "POST", "/api/dead/drop", "which=x"),
    ]
    assert [status for status, _, _ in wrong] == [405, 403, 415, 400, 404, 404, 404, 400, 403, 400, 400]
    for status, body, headers in wrong:
        found = orjson.loads(body)
        assert (headers["content-type"], found["status"], found["ok"]) == ("application/json", status, False)
        assert found["error"]
        assert found["todo"]
    assert set(running(hive)) == {"batman.0"}


def test_a_form_without_a_script_leads_back_to_the_page_that_says_what_happened(hive: Hive) -> None:
    status, _, headers = ask(hive, "POST", "/api/nodes/batman/restart", Accept="text/html,*/*;q=0.8")
    assert (status, headers["location"]) == (303, "/nodes/batman#done")
    html = get(hive, "/nodes/batman")[1]
    assert "restart batman" in html
    assert ">restarted<" in html


def open_page(hive: Hive, browser: Browser) -> None:
    browser.open(f"{hive.status().page}/nodes/batman")
    eventually(lambda: browser.text("#connection").startswith("live"), WIDE)


def says(browser: Browser, what: str) -> None:
    """Wait until the page says that this is done."""
    eventually(lambda: browser.text("#said") == f"{what}: done", WIDE)
    assert browser.evaluate("document.querySelector('.errand').dataset.state") in ("well", "note")


@in_browser
def test_the_buttons_act_on_real_processes_by_the_keyboard_alone(hive: Hive, browser: Browser) -> None:
    open_page(hive, browser)
    focus(browser, "#replicas")
    browser.evaluate("document.activeElement.select()")
    browser.press("2")
    browser.press("Enter")
    says(browser, "scale batman")
    assert set(running(hive)) == {"batman.0", "batman.1"}
    eventually(lambda: browser.text('[data-key="batman.1"] [data-field="state"]') == "running", WIDE)

    focus(browser, "[popovertarget=stop]")
    browser.press("Enter")
    assert browser.evaluate("document.querySelector('#stop').matches(':popover-open')") is True
    browser.press("Escape")
    assert browser.evaluate("document.querySelector('#stop').matches(':popover-open')") is False
    assert set(running(hive)) == {"batman.0", "batman.1"}
    browser.press("Enter")
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Stop"
    browser.press("Enter")
    says(browser, "stop batman")
    assert running(hive) == {}
    eventually(lambda: browser.text('.head [data-field="summary"]') == "2 stopped", WIDE)

    focus(browser, '[data-act="start batman"] button')
    browser.press("Enter")
    says(browser, "start batman")
    assert set(running(hive)) == {"batman.0", "batman.1"}


@in_browser
def test_a_roll_shows_how_far_it_is_and_what_became_of_each_copy(hive: Hive, browser: Browser) -> None:
    assert act(hive, "scale", "replicas=2")[1]["ok"]
    before = running(hive)
    open_page(hive, browser)
    browser.evaluate(
        "window.steps = []; new MutationObserver(() => steps.push(document.querySelector('#done').textContent))"
        ".observe(document.querySelector('#done'), {childList: true, subtree: true, characterData: true})"
    )
    browser.evaluate("document.querySelector('[data-act=\"roll batman\"] button').click()")
    says(browser, "roll batman")
    eventually(lambda: browser.evaluate("document.querySelectorAll('.results li').length") == 2, WIDE)
    assert not set(running(hive).values()) & set(before.values())
    steps = " ".join(browser.evaluate("steps"))
    assert "0 of 2 through" in steps
    assert "1 of 2 through" in steps


def focus(browser: Browser, selector: str) -> None:
    browser.evaluate(f"document.querySelector({selector!r}).focus()")


def test_where_no_hived_answers_the_page_says_what_to_do(tmp_path: Path) -> None:
    with hive_in(tmp_path / "alone") as made:
        made.node("batman", SENDER)
        made.start()
        page = eventually(lambda: made.status().page, within=30)
        listener = made.listener()
        listener.suspend()
        try:
            parts = urlsplit(str(page))
            connection = http.client.HTTPConnection(parts.netloc, timeout=60)
            connection.request("POST", "/api/nodes/batman/stop", headers={"X-Hivemind": "1"})
            answer = connection.getresponse()
            said = orjson.loads(answer.read())
            connection.close()
        finally:
            listener.resume()
        assert (answer.status, said["ok"]) == (504, False)
        assert "`hived start`" in said["error"]


def test_a_root_that_is_to_restart_says_that_it_was_asked_for_and_that_it_ends(hive: Hive) -> None:
    before = hive.program("root").pid
    status, found = act(hive, "restart", node="root")
    assert (status, found["ok"], found["done"], found["error"]) == (202, None, False, ""), found
    assert found["doing"] == "this root ends, and cannot see it through: who was asked does it all the same"
    eventually(lambda: hive.program("root").pid != before and hive.status().page, within=WIDE)
