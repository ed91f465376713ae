"""The log of a node on its page: live, sifted, bounded, and from all hosts."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.log_lines import LogLine, format_line
from hivemind.root import feeds, serving
from hivemind.root.feeds import MOST_LINES, MOST_SIZE, Feed, Feeds, Recent, Sieve, line_fields
from hivemind.root.logs import stream
from hivemind.settings import Settings, load_settings

from .browser import Browser, find_browser
from .hive_kit import Hive
from .root_kit import FakeSource, Running, instance, running
from .servers import RedisServer
from .test_far_logs import serving as hived_serving
from .waiting import eventually, eventually_async

PROGRAM = find_browser()
WIDE = 20.0  # seconds: a browser on a busy machine
EVIL = "</script><img src=x onerror=window.hacked=1>\x1b[31m"


def log(settings: Settings, *texts: str, level: str = "INFO", name: str = "batman") -> None:
    folder = settings.constants.LOG_LOCATION
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.log").open("a") as file:
        file.writelines(format_line(time.time(), level, f"{name}.0", text) + "\n" for text in texts)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(Hive(tmp_path).folder, {})


@pytest.fixture
def page(settings: Settings) -> Iterator[Running]:
    log(settings, "the first")
    with running(FakeSource([instance("batman.0"), instance("robin.0")]), settings=settings) as made:
        eventually(lambda: made.monitor.snapshot.instances)
        yield made


def texts(event: Any) -> list[str]:
    return [line["text"] for line in event["lines"]]


# -- what is remembered and chosen


@pytest.mark.parametrize(("sieve", "missed", "unseen"), [(Sieve(), 10, 0), (Sieve(match="wanted"), 0, 10)])
async def test_entries_that_nobody_could_sift_are_not_called_missed(sieve: Sieve, missed: int, unseen: int) -> None:
    feed = SimpleNamespace(recent=Recent(), notes=[], news=asyncio.Event(), is_read=True, is_over=False)
    events = stream(cast("Feed", feed), sieve)
    assert orjson.loads((await anext(events)).data or "") == {"lines": [], "missed": 0, "unseen": 0, "notes": []}
    feed.recent.add(LogLine(1.0, "INFO", "batman.0", "other") for _ in range(MOST_LINES + 10))
    feed.news.set()
    told = orjson.loads((await anext(events)).data or "")
    assert (told["missed"], told["unseen"]) == (missed, unseen)


def test_the_last_entries_are_remembered_within_bounds_and_what_is_gone_is_counted() -> None:
    recent = Recent()
    recent.add(LogLine(float(number), "INFO", "x", str(number)) for number in range(MOST_LINES + 10))
    found, gone = recent.after(5)
    assert (len(found), found[0].text, gone) == (MOST_LINES, "10", 5)
    recent.add(LogLine(0.0, "INFO", "x", "y" * 100_000) for _ in range(200))
    assert len(recent.after(0)[0]) <= MOST_SIZE // feeds.LONGEST + 1
    assert recent.after(recent.last) == ([], 0)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, ["DEBUG", "INFO", "WARNING", "ERROR", ""]),
        ({"level": "warning"}, ["WARNING", "ERROR"]),
        ({"level": "INFO"}, ["INFO", "WARNING", "ERROR", ""]),
        ({"match": "BAT"}, ["ERROR"]),
        ({"match": "nobody"}, []),
    ],
)
def test_entries_are_chosen_by_level_and_text(query: dict[str, str], wanted: list[str]) -> None:
    lines = [LogLine(0.0, level, "x", "a bat" if level == "ERROR" else "") for level in feeds.LEVELS]
    lines = [one for one in lines if one.level != "CRITICAL"] + [LogLine(0.0, "", "", "printed")]
    sieve = Sieve.read(query)
    assert [line.level for line in lines if sieve.passes(line)] == wanted


def test_a_long_entry_is_cut_and_one_of_another_host_or_day_says_so() -> None:
    line = LogLine(0.0, "INFO", "batman.1", "x" * 20_000, Path("/log/batman-1.log"), "beta")
    found = line_fields(line)
    assert (found["source"], found["name"], len(found["text"])) == ("batman.1@beta", "", feeds.LONGEST + 1)
    assert found["time"].startswith("1970-01-01 ")
    assert line_fields(replace(line, time=time.time()))["time"].count(":") == 2


# -- the stream


def test_an_entry_reaches_the_stream_within_a_second(page: Running, settings: Settings) -> None:
    with page.events("/log/batman") as stream:
        assert texts(stream.next()) == ["the first"]
        written = time.monotonic()
        log(settings, "the second")
        assert texts(stream.next()) == ["the second"]
        assert time.monotonic() - written < 1.0


def test_only_what_is_wanted_comes(page: Running, settings: Settings) -> None:
    with page.events("/log/batman?level=ERROR&match=joker") as stream:
        assert texts(stream.next()) == []
        log(settings, "the joker laughs")
        log(settings, "no light", level="ERROR")
        log(settings, "the Joker escaped\nTraceback: one", level="ERROR")
        (line,) = stream.next()["lines"]
    assert (line["level"], line["text"]) == ("ERROR", "the Joker escaped\nTraceback: one")
    for query in ("level=LOUD", f"match={'x' * 201}"):
        for path in ("/events/log/batman", "/nodes/batman"):
            assert page.get(f"{path}?{query}")[0] == 400


def test_a_log_is_read_once_for_all_who_look_on_and_no_more_when_the_last_has_left(
    page: Running, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Feed] = []
    monkeypatch.setattr(feeds.Feed, "close", _noting(feeds.Feed.close, made))
    with page.events("/log/batman") as first, page.events("/log/batman") as second:
        first.next(), second.next()
        log(settings, "for both")
        assert texts(first.next()) == texts(second.next()) == ["for both"]
        assert made == []
    assert eventually(lambda: made, WIDE)
    assert readers(page) == 0


def _noting(close: Any, made: list[Feed]) -> Any:
    async def noted(feed: Feed) -> None:
        made.append(feed)
        await close(feed)

    return noted


def test_why_a_log_cannot_be_followed_is_logged(
    page: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr("hivemind.root.feeds.LogTail.first", broken)
    with page.events("/log/batman"):
        eventually(lambda: "the log of batman cannot be followed" in caplog.text)
    assert "a fault of ours" in caplog.text


@pytest.mark.parametrize(
    "name", ["..", "../secret", "..%2fsecret", "%2e%2e%2fsecret", "secret%00", "/etc/passwd", "joker"]
)
def test_no_name_leads_out_of_the_log_folder_or_to_what_nobody_knows(
    page: Running, settings: Settings, name: str
) -> None:
    (settings.constants.LOG_LOCATION.parent / "secret.log").write_text("canary\n")
    status, _, body = page.get(f"/events/log/{name}")
    assert (status, "canary" in body) == (404, False)


def test_a_link_out_of_the_log_folder_is_not_followed(page: Running, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(format_line(time.time(), "INFO", "robin.0", "canary") + "\n")
    (settings.constants.LOG_LOCATION / "robin.log").symlink_to(tmp_path / "secret")
    with page.events("/log/robin") as stream:
        assert texts(stream.next()) == []
    assert "canary" not in page.get("/nodes/robin")[2]


def test_without_a_script_the_page_has_the_end_of_the_log_escaped(page: Running, settings: Settings) -> None:
    log(settings, EVIL, "a \x00 zero", level="ERROR")
    html = page.get("/nodes/batman?level=error")[2]
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=window.hacked=1&gt;\\x1b[31m" in html
    assert "the first" not in html
    assert "<option selected>ERROR</option>" in html


def test_who_takes_nothing_is_cut_and_keeps_nobody_from_his_log(
    page: Running, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "STREAM_TIMEOUT", 0.5)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", page.port))
        deaf.sendall(b"GET /events/log/batman HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert deaf.recv(50).startswith(b"HTTP/1.1 200")
        eventually(lambda: readers(page) == 1)
        with page.events("/log/batman") as stream:
            stream.next()
            deadline = time.monotonic() + WIDE
            while readers(page) > 1:
                assert time.monotonic() < deadline
                log(settings, *("z" * 5000 for _ in range(100)))
                stream.next()
            log(settings, "the last")
            while "the last" not in texts(stream.next()):
                pass


def readers(page: Running) -> int:
    assert page.hive is not None
    assert page.hive.feeds is not None
    return page.hive.feeds.readers


def test_logs_beyond_the_limit_are_refused_in_words(page: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "AT_ONCE", 1)
    with page.events("/log/batman") as first, page.events("/log/robin") as second:
        assert texts(first.next()) == ["the first"]
        assert second.next()["notes"] == ["1 other logs are followed: try again later"]


def test_the_server_stops_at_once_also_with_a_log_open(page: Running) -> None:
    with page.events("/log/batman") as stream:
        stream.next()
        page.stop()
        while stream.response.readline():
            pass
        eventually(lambda: page.stopped_in >= 0)
    assert page.stopped_in < 2.0


# -- other hosts


async def test_the_log_of_a_node_is_that_of_all_its_hosts(
    tmp_path: Path, server: RedisServer, hive_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIVEMIND_HOST", "alfa")
    more = f'HOSTS = {{"alfa": [], "beta": [], "gamma": []}}\nREDIS_URL = {server.url!r}'
    folders = [Hive(tmp_path / name, hive_name, more).folder for name in ("alfa", "beta")]
    here, there = (load_settings(folder, {}) for folder in folders)
    log(there, "there")
    await asyncio.sleep(0.01)  # a log tells milliseconds
    log(here, "here")
    async with Bus(Endpoint.parse(server.url), hive_name, "root") as bus, hived_serving(there.hive or tmp_path, "beta"):
        logs = Feeds(bus, here)
        async with logs.following("batman") as feed:
            await eventually_async(lambda: _said(feed) == ["there", "here"], WIDE)
            written = time.monotonic()
            log(there, "more there")
            await eventually_async(lambda: _said(feed)[-1] == "more there", WIDE)
            assert time.monotonic() - written < 1.5
            await eventually_async(lambda: any("no hived answers on gamma" in note for note in feed.notes), WIDE)
        assert [task for task in asyncio.all_tasks() if "log of" in task.get_name()] == []


def _said(feed: Feed) -> list[str]:
    return [line.text for line in feed.recent.after(0)[0]]


# -- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM) as made:
        yield made


@pytest.mark.skipif(PROGRAM is None, reason="!!! THE LOG IS NOT TESTED IN A BROWSER: install chromium")
def test_the_log_grows_on_the_page_and_can_be_sifted_and_halted(
    page: Running, settings: Settings, browser: Browser
) -> None:
    browser.open(f"http://127.0.0.1:{page.port}/nodes/batman")
    eventually(lambda: browser.text("#log-status[data-state=live]") == "" and last(browser) == "the first", WIDE)
    eventually(lambda: browser.evaluate("document.querySelector('#log-status').dataset.state") == "live", WIDE)
    written = time.monotonic()
    log(settings, EVIL)
    eventually(lambda: last(browser).startswith("</script><img"), 1.0)
    assert time.monotonic() - written < 1.0
    assert browser.evaluate("document.querySelectorAll('#log img').length") == 0

    log(settings, "a light in the sky", level="ERROR")
    browser.evaluate("document.querySelector('#log-level').focus()")
    browser.press("E")
    eventually(lambda: count(browser) == 1, WIDE)
    assert last(browser) == "a light in the sky"
    browser.evaluate("document.querySelector('#log-level').value = ''")
    browser.evaluate("document.querySelector('#log-match').focus()")
    for key in "first":
        browser.press(key)
    eventually(lambda: (count(browser), last(browser)) == (1, "the first"), WIDE)

    browser.evaluate("document.querySelector('#log-pause').focus()")
    browser.press("Enter")
    log(settings, "first while nobody looks")
    time.sleep(0.6)  # an entry would be there
    assert count(browser) == 1
    browser.press("Enter")
    eventually(lambda: last(browser) == "first while nobody looks", WIDE)
    assert browser.evaluate("'hacked' in window") is False


def last(browser: Browser) -> str:
    return browser.text("#log li:last-child .text")


def count(browser: Browser) -> int:
    return int(browser.evaluate("document.querySelectorAll('#log li').length"))
