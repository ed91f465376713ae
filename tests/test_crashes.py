"""How programs ended against their will, as the page and hived tell it."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hivemind.bus.endpoint import Endpoint
from hivemind.identity import this_boot
from hivemind.root import wording
from hivemind.root.crashes import Crashes
from hivemind.root.pages import messages
from hivemind.settings import load_settings
from hivemind.supervisor.actions import Request, Verb
from hivemind.supervisor.control import ask
from hivemind.supervisor.crashes import LONGEST, Crash, crash_in, crash_of, traced
from hivemind.supervisor.engine import redis_url
from hivemind.supervisor.lives import Exit, Lives, save_lives
from hivemind.supervisor.paths import HivePaths

from .hive_kit import QUIET, SENDER, Hive, hive_in
from .waiting import eventually

RAISES = f"""
import os
{QUIET}
if "HIVEMIND_SUPERVISED" in os.environ:
    raise RuntimeError("nobody laughs")
"""
FALLS = """
import ctypes
from hivemind import Node, service

class Penguin(Node):
    @service("umbrella", every=0.5)
    def fall(self, service):
        ctypes.string_at(0)
"""
LEAVES = """
import os, time, traceback
from hivemind import Node, service

class Riddler(Node):
    @service("question", every=0.5)
    def leave(self, service):
        try:
            raise ValueError("what am I?")
        except ValueError:
            traceback.print_exc()
            time.sleep(0.3)
            os._exit(3)
"""


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    with hive_in(tmp_path_factory.mktemp("crashes") / "gotham") as made:
        made.node("joker", RAISES)
        made.node("penguin", FALLS)
        made.node("riddler", LEAVES)
        made.node("batman", SENDER)
        made.start()
        settings = made.engine.settings
        eventually(lambda: made.status().page, within=30)
        eventually(lambda: all(crash_of(settings, f"{name}.0") for name in ("joker", "penguin", "riddler")), within=30)
        yield made


def page(hive: Hive, path: str) -> str:
    connection = http.client.HTTPConnection(urlsplit(str(hive.status().page)).netloc, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_the_page_shows_what_was_raised_and_where(hive: Hive) -> None:
    eventually(lambda: "RuntimeError: nobody laughs" in page(hive, "/nodes/joker"), within=20)
    html = page(hive, "/nodes/joker")
    assert "ended with 1 after" in html
    assert "nodes/joker/joker.py" in html
    eventually(lambda: "ValueError: what am I?" in page(hive, "/nodes/riddler"), within=20)
    html = page(hive, "/nodes/riddler")
    assert "ended with 3 after" in html
    assert "Traceback (most recent call last):" in html
    assert "nodes/riddler/riddler.py" in html


def test_the_page_shows_the_stacks_of_who_was_killed_by_a_signal(hive: Hive) -> None:
    eventually(lambda: "Fatal Python error: Segmentation fault" in page(hive, "/nodes/penguin"), within=20)
    html = page(hive, "/nodes/penguin")
    assert "died of SIGSEGV after" in html
    assert "nodes/penguin/penguin.py" in html


def test_who_is_well_has_no_crash(hive: Hive) -> None:
    assert 'class="instance crash" data-key="batman' not in page(hive, "/nodes/batman")
    assert crash_of(hive.engine.settings, "batman.0") is None


async def test_a_crash_is_shown_for_a_day(hive: Hive) -> None:
    settings = hive.engine.settings
    endpoint = Endpoint.parse(redis_url(settings), settings.var)
    now, later = Crashes(endpoint, settings), Crashes(endpoint, settings, lambda: time.time() + 90_000)
    shown = [len(await one.of("joker", ["joker.0"])) for one in (now, later)]
    assert shown == [1, 0]


async def test_a_hived_tells_other_hosts_of_its_crashes(hive: Hive) -> None:
    settings = hive.engine.settings
    endpoint = Endpoint.parse(redis_url(settings), settings.var)
    (answer,) = await ask(endpoint, settings.name, Request(Verb.CRASHES, ("joker", "batman")), 5.0)
    (crash,) = [crash_in(one.text) for one in answer.results]
    assert crash is not None
    assert (crash.program, "nobody laughs" in crash.trace) == ("joker.0", True)


async def test_what_other_hosts_tell_is_shown_beside_what_is_known_here(hive: Hive, tmp_path: Path) -> None:
    elsewhere = Hive(
        tmp_path / "elsewhere", more=f"REDIS_URL = {redis_url(hive.engine.settings)!r}\nHOSTS = {{'a': [], 'b': []}}"
    )
    settings = load_settings(elsewhere.folder, {})
    crashes = Crashes(Endpoint.parse(settings.redis_url), settings)
    assert await crashes.of("joker", ["joker.0"]) == []  # nobody waits for the others
    for _ in range(150):
        if found := await crashes.of("joker", ["joker.0"]):
            break
        await asyncio.sleep(0.1)
    await crashes.close()
    assert [one.program for one in found] == ["joker.0"]
    assert "nobody laughs" in found[0].trace


ENDS = [(Exit(0), False), (Exit(None, "SIGTERM"), False), (Exit(1), True), (Exit(None, "SIGKILL"), True)]


@pytest.mark.parametrize(("how", "is_crash"), ENDS)
def test_who_ended_well_or_was_asked_to_has_not_crashed(tmp_path: Path, how: Exit, is_crash: bool) -> None:
    settings = load_settings(Hive(tmp_path).folder, {})
    lives = Lives().begun(10.0, 7).ended(20.0, how, "its last words", rng=lambda: 0.5)
    file = HivePaths.of(settings).program_lives("batman.0")
    file.parent.mkdir(parents=True)
    assert save_lives(file, lives, this_boot())
    crash = crash_of(settings, "batman.0")
    assert (crash is not None) == is_crash
    assert crash is None or traced(settings, crash).trace == "its last words"


@pytest.mark.parametrize("how", [Exit(), Exit(None, "SIGKILL")])
def test_an_error_that_was_survived_is_not_shown_as_the_crash_of_who_was_killed_later(
    tmp_path: Path, how: Exit
) -> None:
    settings = load_settings(Hive(tmp_path).folder, {})
    now, logged = time.monotonic(), time.time() - 60.0
    lives = Lives().begun(now - 90.0, 7).ended(now - 1.0, how, rng=lambda: 0.5)
    file, log = HivePaths.of(settings).program_lives("batman.0"), settings.log_file("batman", 0)
    assert log is not None
    for folder in (file.parent, log.parent):
        folder.mkdir(parents=True)
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(logged))
    log.write_text(
        f"{clock},000 batman.0 ERROR batman: handler failed\nTraceback (most recent call last):\nKeyError: 1\n"
    )
    assert save_lives(file, lives, this_boot())
    crash = crash_of(settings, "batman.0")
    assert crash is not None
    assert traced(settings, crash).trace == ""


def test_a_crash_is_read_as_it_was_written_and_what_is_none_is_ignored() -> None:
    crash = Crash("batman.0", 1.5, "ended with 1", "x" * (LONGEST + 5))
    read = crash_in(crash.to_json())
    assert read is not None
    assert (read.program, read.at, len(read.trace)) == ("batman.0", 1.5, LONGEST)
    for text in ("", "[]", "{}"):
        assert crash_in(text) is None
    for at in ("y", "inf", "-inf", "nan"):
        assert crash_in(f'{{"program": "x", "at": "{at}", "how": "", "trace": ""}}') is None


@pytest.mark.parametrize("at", [1e300, -1e300, 2.0**62, float("inf"), float("nan"), 0.0])
def test_what_is_no_moment_is_shown_as_a_dash(at: float) -> None:
    assert [wording.moment(at), wording.clock(at), messages.clock(at)] == ["–"] * 3
    assert wording.moment(1e9).startswith("2001-09-")
    assert messages.clock(86400.5).endswith(".500")
