"""`hm request`, and where responders are shown: in `hm nodes`, `hm why`, `hm status`, on the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hivemind.data.records import About, Instance, ResponderRecord, Stats
from hivemind.picture.nodes import Copy
from hivemind.picture.snapshot import view_of
from hivemind.root.pages.instances import copy_item

from .cli_kit import Place, place
from .servers import RedisServer
from .waiting import eventually

ABACUS = """
import asyncio
from hivemind import Node, responder

class Abacus(Node):
    @responder("sum")
    async def add(self, numbers: list[float]) -> float:
        return sum(numbers)

    @responder("count", stream=True)
    async def count(self, most: int):
        for number in range(most):
            yield {"number": number}

    @responder("echo")
    def echo(self, payload):
        return payload

    @responder("fail")
    def fail(self, payload):
        raise OSError("a bead is missing")

    @responder("sleep")
    async def sleep(self, payload):
        await asyncio.sleep(60)
"""


@pytest.fixture
def here(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Place]:
    environ = {"HIVEMIND_REDIS_URL": server.url, "HIVEMIND_HIVE_NAME": hive_name, "HIVEMIND_HEARTBEAT": "0.3"}
    with place(tmp_path, **environ) as made:
        made.write("abacus.py", ABACUS)
        made.hm("run", "abacus.py").says("running: answers sum, count, echo, fail, sleep")
        yield made


def test_it_prints_the_reply_and_of_many_one_a_line(here: Place) -> None:
    assert here.run("request", "sum", "[1, 2, 3.5]").stdout == "6.5\n"
    assert here.run("request", "echo", "not JSON").stdout == '"not JSON"\n'
    assert here.run("request", "echo", "7", "--text").stdout == '"7"\n'
    assert here.run("request", "echo").stdout == "null\n"
    many = here.run("request", "count", "3")
    assert many.stdout.splitlines() == ['{"number":0}', '{"number":1}', '{"number":2}']
    assert many.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ("summ", "1"),
            "nobody answers to it, did you mean sum? If not, start a node with @responder of that name",
        ),
        (("sum", '"x"'), "abacus.0 does not take this payload: Input should be a valid list, not str"),
        (("count", "3.5"), "abacus.0 does not take this payload: Input should be a valid integer"),
        (("fail",), "abacus.0 raised OSError: a bead is missing"),
        (("sleep", "--timeout", "0.3"), "in time"),
    ],
    ids=["nobody", "invalid", "invalid for a stream", "fails", "late"],
)
def test_what_goes_wrong_is_said_and_exits_with_1(here: Place, arguments: tuple[str, ...], reason: str) -> None:
    done = here.run("request", *arguments)
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("seconds", ["x", "0", "-1", "nan", "86401"])
def test_a_time_out_that_is_none_is_told_what_to_write(here: Place, seconds: str) -> None:
    done = here.run("request", "sum", "[1]", "--timeout", seconds)
    assert done.returncode == 2
    assert f"'{seconds}': write seconds, such as 2 or 0.5, 86400 at the most" in done.stderr


@pytest.mark.parametrize("arguments", [("a name",), ()])
def test_wrong_use_is_refused(here: Place, arguments: tuple[str, ...]) -> None:
    assert here.run("request", *arguments).returncode in (1, 2)


def test_ctrl_c_cancels_the_request(here: Place) -> None:
    asking = here.hm("request", "sleep", "--timeout", "60")

    def in_hand() -> int:
        (node,) = json.loads(here.run("nodes", "--json").stdout)
        return next(int(one["in_hand"]) for one in node["responders"] if one["name"] == "sleep")

    eventually(lambda: in_hand() == 1, within=20)
    asking.end()
    eventually(lambda: in_hand() == 0, within=20)


def test_responders_are_shown_where_subscriptions_are(here: Place) -> None:
    here.run("request", "fail")
    eventually(lambda: "1 request failed in a responder" in here.run("status").stdout, within=20)
    assert "fail 1" in " ".join(here.run("nodes").stdout.split())
    why = here.run("why", "abacus").stdout
    assert "responder fail: 1 received, 0 answered, 1 failed; last error: OSError: a bead is missing" in why
    assert "responder sum: 0 received, 0 answered" in why


def test_the_page_has_a_row_for_each_responder() -> None:
    record = ResponderRecord("sum", "Abacus.add", 1, received=5, handled=3, in_hand=2)
    one = Instance("abacus.0", 1, 9e9, About("abacus", "cave", 7, 0.0, 6.0), Stats(responders=(record,)))
    before = Stats(responders=(ResponderRecord("sum"),))
    item = copy_item(Copy(one.instance, view_of(one, 0.0, before, seconds=2.0)), 0.0)
    (row,) = item["lists"]["responders"]
    assert (row["fields"]["name"], row["fields"]["received"], row["fields"]["in_hand"]) == ("sum", "5", "2")
    assert row["fields"]["rate"].startswith("2.5")
