"""`hm doctor` of a hive behind Sentinels: could they replace the primary?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hivemind.bus.endpoint import Endpoint
from hivemind.bus.sentinels import SentinelFacts, sentinels_of
from hivemind.data.checkup import Level
from hivemind.data.quorum import of_sentinels

from .cli_kit import place
from .conftest import MakeServer
from .sentinel import SentinelServer

WELL = SentinelFacts("a:1", "", True, "OK 3 usable Sentinels")
SILENT = SentinelFacts("b:1", "no answer within 4 s")
HIDDEN = SentinelFacts("d:1", is_hidden=True)
ALONE = SentinelFacts("c:1", "", False, "NOQUORUM 1 usable Sentinels")


@pytest.mark.parametrize(
    ("told", "level", "says"),
    [
        ([WELL, WELL, WELL], Level.GREEN, "3 answer"),
        ([WELL, WELL], Level.YELLOW, "names 2"),
        ([WELL, WELL, SILENT], Level.YELLOW, "b:1: no answer"),
        ([ALONE, SILENT, SILENT], Level.RED, "NOQUORUM"),
        ([SILENT, SILENT, SILENT], Level.RED, "none tells"),
        ([HIDDEN, HIDDEN], Level.UNKNOWN, "not allowed to look"),
        ([HIDDEN, ALONE], Level.RED, "NOQUORUM"),
    ],
)
def test_what_they_tell_is_judged(told: list[SentinelFacts], level: Level, says: str) -> None:
    (found,) = of_sentinels(told)
    assert (found.level, says in found.found) == (level, True)
    assert bool(found.todo) is (level not in (Level.GREEN, Level.UNKNOWN))


async def test_each_is_asked_whether_enough_are_there(make_server: MakeServer) -> None:
    primary = make_server(tcp=True)
    with SentinelServer(primary) as enough, SentinelServer(primary, quorum=2) as alone:
        url = f"redis+sentinel://127.0.0.1:{enough.port},127.0.0.1:{alone.port},127.0.0.1:1/main"
        one, other, nobody = await sentinels_of(Endpoint.parse(url))
        (unknown, *_) = await sentinels_of(Endpoint.parse(url.replace("/main", "/other")))
    assert (one.error, one.can_replace, one.said[:2]) == ("", True, "OK")
    assert (other.error, other.can_replace, other.said[:8]) == ("", False, "NOQUORUM")
    assert (nobody.where, bool(nobody.error)) == ("127.0.0.1:1", True)
    assert "No such master" in unknown.error
    assert await sentinels_of(Endpoint.parse(primary.url)) == []


def test_the_command_shows_it(tmp_path: Path, make_server: MakeServer) -> None:
    primary = make_server(tcp=True)
    with (
        SentinelServer(primary, quorum=2) as alone,
        place(tmp_path, HIVEMIND_REDIS_URL=f"redis+sentinel://127.0.0.1:{alone.port}/main") as here,
    ):
        found = json.loads(here.run("doctor", "--json").stdout)["findings"]
    (said,) = [one for one in found if one["subject"] == "Sentinels"]
    assert (said["level"], "NOQUORUM" in said["found"]) == ("red", True)
