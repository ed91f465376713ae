"""The page, its JSON, `/metrics` and the terminal say the same of a hive, whatever has befallen it."""

from __future__ import annotations

import html
import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser

from .hive_kit import SENDER, Hive, hive_in, kill
from .waiting import eventually

pytestmark = pytest.mark.timeout(180)
HEARS = """
from hivemind import Node, subscription

class {name}(Node):
    @subscription("tick*", durable=True)
    def hear(self, payload):
        pass
"""


class Faces:
    """What each face says of one hive."""

    def __init__(self, hive: Hive) -> None:
        self.hive = hive

    def get(self, path: str) -> str:
        """What the page answers."""
        found = json.loads((self.hive.folder / "var" / "root.json").read_text())
        with urllib.request.urlopen(f"{found['url']}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def terminal(self) -> dict[str, Any]:
        """What `hm status --json` says."""
        found: dict[str, Any] = json.loads(self.hive.run("hm", "status", "--json").stdout)
        return found

    def metrics(self) -> dict[tuple[str, ...], float]:
        """What Prometheus reads, by name and labels but the hive's."""
        families = parser.text_string_to_metric_families(self.get("/metrics"))
        return {
            (one.name, *(value for label, value in sorted(one.labels.items()) if label != "hive")): one.value
            for each in families
            for one in each.samples
        }

    def said(self) -> list[tuple[Any, ...]]:
        """The sentence, the level, how many troubles and notes there are, and which instances live, by each face."""
        terminal, listed = self.terminal(), json.loads(self.get("/api/nodes"))
        metrics, health = self.metrics(), listed["health"]
        level = next(key[1] for key, value in metrics.items() if key[0] == "hivemind_level" and value)
        up = {f"{key[1]}.{key[2]}" for key, value in metrics.items() if key[0] == "hivemind_up" and value}
        living = {one["instance"] for node in listed["nodes"] for one in node["instances"] if one["state"] != "lost"}
        shown = html.unescape(self.get("/").replace("<code>", "`").replace("</code>", "`"))
        sentence = health["sentence"].removesuffix(".")
        return [
            (terminal["sentence"], terminal["level"], len(terminal["troubles"]), len(terminal["notes"]), up),
            (
                sentence if health["sentence"] in shown else "not on the page",
                health["level"],
                int(metrics["hivemind_troubles",]),
                int(metrics["hivemind_notes",]),
                living,
            ),
            (terminal["sentence"], level, len(terminal["troubles"]), len(terminal["notes"]), up),
        ]

    def levels(self) -> set[str]:
        """How well the hive is, by each face."""
        told = {key[1] for key, value in self.metrics().items() if key[0] == "hivemind_level" and value}
        return told | {self.terminal()["level"], json.loads(self.get("/api/nodes"))["health"]["level"]}

    def agree_on(self, *words: str) -> None:
        """They do, and the sentence has ``words``."""

        def do() -> bool:
            first, *others = self.said()
            assert all(other == first for other in others), (first, *others)
            assert all(word in first[0] for word in words), first
            return True

        eventually(do, within=25)


@pytest.fixture
def faces(tmp_path: Path) -> Iterator[Faces]:
    with hive_in(tmp_path / "gotham") as hive:
        hive.node("tick", SENDER)
        hive.node("robin")
        hive.start()
        yield Faces(hive)


def test_all_faces_of_a_hive_say_the_same_whatever_befalls_it(faces: Faces) -> None:
    hive = faces.hive
    faces.agree_on("gotham is well: 2 instances of 2 nodes run")

    assert hive.run("hm", "stop", "robin").returncode == 0
    faces.agree_on("robin.0 is stopped by `hm stop`")

    (tick,) = hive.copies("tick")
    tick.send_signal(signal.SIGSTOP)
    hived = hive.listener()
    hived.send_signal(signal.SIGSTOP)  # or it would replace the one that hangs
    faces.agree_on("tick.0 is lost: no beat within the lease")
    hived.send_signal(signal.SIGCONT)
    tick.send_signal(signal.SIGCONT)

    hive.node("joker", "import no_such_module\n")
    hive.run("hived", "reload")
    faces.agree_on("joker is quarantined", "no_such_module")

    hive.node("joker", HEARS, enable=False)
    assert hive.run("hived", "reload").returncode == 0
    faces.agree_on("tick is not kept, but group joker reads tick* durably")

    (redis,) = hive.servers()
    redis.send_signal(signal.SIGSTOP)
    eventually(lambda: faces.levels() == {"unknown"}, within=15)
    redis.send_signal(signal.SIGCONT)
    faces.agree_on("tick is not kept")

    kill(hive.supervisord())
    kill(hived)
    faces.agree_on("hived has ended without being asked to")
