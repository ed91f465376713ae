"""A hive of a hundred nodes, generated: what people look at stays readable, and says the same everywhere."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Browser, find_browser
from .hive_kit import Hive, hive_in
from .waiting import eventually

PROGRAM = find_browser()
SENSORS, WATCHERS = 60, 40
WIDE = 30.0  # seconds, for a browser on a busy machine
USUAL = "HEARTBEAT = 2.0\nLEASE = 6.0\nPATTERNS = 'resolved'"

SENSOR = """
    from hivemind import Node, service

    class {name}(Node):
        @service("reading.{topic}", every=0.5)
        def read(self, service):
            service.send(1)
"""
WATCHER = """
    from hivemind import Node, subscription

    class {name}(Node):
        @subscription("%s")
        def heard(self, payload):
            pass
"""

pytestmark = [pytest.mark.drill, pytest.mark.alone]


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    with hive_in(tmp_path_factory.mktemp("hundred") / "gotham", more=USUAL) as made:
        for number in range(SENSORS):
            made.node(f"sensor{number}", SENSOR)
        for number in range(WATCHERS - 1):
            made.node(f"watcher{number}", WATCHER % f"reading.sensor{number}")
        made.node("misled", WATCHER % "raeding.sensor1")
        made.run("hived", "start", timeout=300)
        eventually(lambda: len(nodes(made)) == SENSORS + WATCHERS + 1, within=120)
        yield made


def get(hive: Hive, path: str) -> str:
    address = json.loads((hive.folder / "var" / "root.json").read_text())["url"]
    with urllib.request.urlopen(address + path, timeout=20) as answer:
        return str(answer.read().decode())


def nodes(hive: Hive) -> set[str]:
    if not (hive.folder / "var" / "root.json").exists():
        return set()
    return {one["node"] for one in json.loads(get(hive, "/api/nodes"))["nodes"]}


def test_every_face_shows_all_of_them(hive: Hive) -> None:
    assert f"{SENSORS + WATCHERS} instances" in hive.run("hm", "status").stdout
    assert f"{SENSORS + WATCHERS} instances" in get(hive, "/")
    rows = json.loads(hive.run("hm", "graph", "--format", "json").stdout)["rows"]
    assert {row["name"] for row in rows} == {*(f"reading.sensor{at}" for at in range(SENSORS)), "raeding.sensor1"}
    assert "did you mean" in next(row["note"] for row in rows if row["name"] == "raeding.sensor1")


@pytest.mark.skipif(PROGRAM is None, reason="!!! THE PAGE IS NOT TESTED IN A BROWSER: install chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_network_stays_readable(hive: Hive, tmp_path: Path, width: int) -> None:
    assert PROGRAM is not None
    address = json.loads((hive.folder / "var" / "root.json").read_text())["url"]
    with Browser(PROGRAM) as browser:
        browser._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        browser.open(f"{address}/network")
        eventually(lambda: browser.text("#connection").startswith("live"), WIDE)
        assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert "raeding.sensor1" in browser.text("main")
        texts = "[...document.querySelectorAll('main svg text, main text')]"
        heights = f"{texts}.map(one => one.getBoundingClientRect().height).filter(high => high > 0)"
        assert min(browser.evaluate(heights)) >= 8.5
