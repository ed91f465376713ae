"""The last hour of a hive that really runs: why a node ended, and what a new root, or one on a Cluster, knows of it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import psutil
import pytest

from hivemind.bus.embedded import Embedded
from hivemind.picture.chronicle import Chronicle
from hivemind.picture.past import Event, Step, What

from .bus_kit import on_bus
from .clusters import Cluster
from .hive_kit import SENDER, Hive, kill
from .waiting import eventually

pytestmark = pytest.mark.timeout(180)
NOW = 1_795_000_000.0


def root(hive: Hive) -> int:
    """The process of the root that serves, or served last."""
    return int(json.loads((hive.folder / "var" / "root.json").read_text())["pid"])


def past(hive: Hive) -> dict[str, Any]:
    """What the root answers that runs now; nothing while there is none."""
    try:
        url = json.loads((hive.folder / "var" / "root.json").read_text())["url"]
        with urllib.request.urlopen(f"{url}/api/past", timeout=5) as answer:
            found: dict[str, Any] = json.loads(answer.read())
    except (OSError, ValueError):
        return {"steps": [], "events": []}
    return found


def test_what_is_asked_of_a_node_and_who_kills_it_or_redis_is_told_and_a_new_root_knows_it_too(gotham: Hive) -> None:
    gotham.node("ticker", SENDER)
    gotham.start()
    eventually(lambda: any(step["sent"] > 0 for step in past(gotham)["steps"]), within=30)
    assert gotham.run("hm", "restart", "ticker").returncode == 0
    asked = eventually(lambda: [one for one in past(gotham)["events"] if "`hm restart` of" in one["why"]], within=15)
    assert {one["who"] for one in asked} == {"ticker.0"}
    kill(gotham.copies("ticker")[0])
    eventually(lambda: "ticker.0" in [one["who"] for one in past(gotham)["events"]], within=15)
    told = eventually(lambda: [one for one in past(gotham)["events"] if "died of SIGKILL" in one["why"]], within=15)
    assert {one["who"] for one in told} == {"ticker.0"}

    identity = Embedded.of(gotham.engine.settings).pidfile.living()
    assert identity is not None
    kill(psutil.Process(identity.pid))
    anew = eventually(lambda: [one for one in past(gotham)["events"] if one["what"] == "anew"], within=30)
    assert "died of SIGKILL" in anew[0]["why"]

    began = anew[0]["at"]
    eventually(lambda: past(gotham)["steps"][-1]["at"] > began + 5, within=30)
    first = root(gotham)
    kill(psutil.Process(first))
    eventually(lambda: root(gotham) != first, within=30)
    again = eventually(lambda: past(gotham)["events"], within=30)
    assert told[0] in again


async def test_on_a_cluster_it_is_kept_with_the_registry(cluster: Cluster, hive_name: str) -> None:
    step = Step(NOW, 1.0, events=(Event(NOW, What.CAME, "a.0", 1),))
    async with on_bus(cluster.url, hive=hive_name) as bus:
        assert await Chronicle(bus.commands, bus.names, lambda: NOW).keep([step]) == [step]
        assert await Chronicle(bus.commands, bus.names, lambda: NOW + 5).keep([]) == [step]
