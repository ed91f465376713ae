"""`hm dead`: what groups gave up is listed, shown, replayed and dropped; on a real server, also by real nodes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.ranges import GOAL, portions
from hivemind.bus.streams import Reader, Streams
from hivemind.data.kept import Kept
from hivemind.data.letters import GONE, Letters
from hivemind.topics import Names

from .cli_kit import Place
from .servers import RedisServer
from .waiting import eventually

PICKY = """
from pathlib import Path
from hivemind import Node, subscription
class NAME(Node):
    @subscription("orders.*", durable=True, since="all", retries=1, backoff=(0.01, 0.02))
    def pack(self, payload, message):
        if not Path("shelf").exists() and payload == 2 and NAME.__name__ == "Shop":
            raise OSError("the shelf is empty")
        print(f"NAME packed {payload}, try {message.deliveries}", flush=True)
"""
ORDERS = """
from hivemind import Node, service
class Orders(Node):
    @service("orders.new", durable=True)
    def sell(self, service):
        for number in range(4):
            service.send(number)
        service.flush()
        print("sold", flush=True)
        return 1
"""


@dataclass
class Cemetery:
    """Writes letters, as a group that gives up does."""

    commands: Commands
    names: Names
    ids: list[str] = field(default_factory=list)

    async def bury(self, topic: str, payload: Any, group: str = "shop", **more: Any) -> str:
        envelope = {"v": 1, "n": "orders.0", "e": 5, "s": len(self.ids) + 1, "t": time.time(), "d": payload}
        said = {"topic": topic, "entry": "5-0", "group": group, "instance": f"{group}.0", "incarnation": 7, "tries": 6}
        said |= {"died": time.time(), "reason": "OSError: the shelf is empty", "traceback": "Traceback:\n  line 1\n"}
        said |= {"message": orjson.dumps(envelope).decode(), **more}
        entry = await self.commands.execute("XADD", self.names.letters(topic), "*", "b", orjson.dumps(said))
        self.ids.append(entry.decode())
        return f"{topic}:{entry.decode()}"

    async def reads(self, topic: str, *groups: str) -> None:
        """Announce a topic, which these groups read."""
        streams = Streams(self.commands, Functions(self.commands), self.names)
        await Kept(streams).announce(topic)
        for group in groups:
            await streams.join(topic, group, "0")

    async def entries(self, topic: str) -> list[dict[bytes, bytes]]:
        found = await self.commands.execute("XRANGE", self.names.stream(topic), "-", "+")
        return [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in found]

    async def left(self, topic: str) -> int:
        return int(await self.commands.execute("XLEN", self.names.letters(topic)))

    @property
    def letters(self) -> Letters:
        return Letters(Streams(self.commands, Functions(self.commands), self.names))


@pytest.fixture
async def dead(server: RedisServer, hive_name: str) -> AsyncIterator[Cemetery]:
    async with Commands(Endpoint.parse(server.url)) as commands:
        made = Cemetery(commands, Names(hive_name))
        for topic in ("orders.new", "orders.old"):
            await made.reads(topic, "shop", "books")
        yield made


async def run(here: Place, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    done = await asyncio.to_thread(here.run, "dead", *arguments, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


async def test_list_names_each_with_topic_group_time_tries_and_reason(here: Place, dead: Cemetery) -> None:
    name = await dead.bury("orders.new", 1)
    await dead.bury("orders.old", 2, "books", reason="line 1\nline 2\x1b[31m")
    code, out, err = await run(here, "list")
    head, first, second = out.splitlines()
    assert (code, head.split()) == (0, ["LETTER", "GROUP", "DIED", "TRIES", "REASON"])
    assert first.split()[:2] == [name, "shop"]
    assert first.endswith("  6      OSError: the shelf is empty")
    assert second.endswith("line 1")
    assert err.splitlines()[-1] == "2 dead letters"


async def test_list_can_be_narrowed_by_topic_group_and_time(here: Place, dead: Cemetery) -> None:
    for topic, group in (("orders.new", "shop"), ("orders.new", "books"), ("orders.old", "books")):
        await dead.bury(topic, 1, group)
    old = orjson.dumps({"group": "books"})
    await dead.commands.execute("XADD", dead.names.letters("orders.other"), "5-0", "b", old)

    async def found(*arguments: str) -> list[tuple[str, str]]:
        _, out, _ = await run(here, "list", "--json", *arguments)
        return [(one["topic"], one["group"]) for one in map(json.loads, out.splitlines())]

    assert await found("*new", "--group", "books") == [("orders.new", "books")]
    assert await found("orders.other") == [("orders.other", "books")]
    assert await found("orders.other", "--since", "1d") == []
    assert len(await found("orders.*", "--since", "1m")) == 3


async def test_show_tells_all_that_is_known(here: Place, dead: Cemetery) -> None:
    name = await dead.bury("orders.new", {"bottles": 2})
    _, out, _ = await run(here, "show", name)
    for text in (
        name,
        "group      shop",
        "after 6 tries",
        "node       shop.0, incarnation 7",
        '{"bottles":2}',
        "line 1",
    ):
        assert text in out
    _, out, _ = await run(here, "show", name, "--json")
    found = json.loads(out)
    assert (found["payload"], found["sender"], found["tries"]) == ({"bottles": 2}, "orders.0", 6)


async def test_a_letter_that_is_not_there_and_a_topic_that_is_none_are_errors(here: Place, dead: Cemetery) -> None:
    name = await dead.bury("orders.new", 1)
    for verb in ("show", "replay", "drop"):
        code, out, err = await run(here, verb, name, "orders.new:5-5")
        assert (code, out) == (2, "")
        assert "error: there is no dead letter orders.new:5-5" in err
    assert "did you mean orders.new?" in (await run(here, "replay", "orders.nwe"))[2]
    code, _, err = await run(here, "replay", "orders.*", "--group", "shpo")
    assert (code, "group shpo has no dead letters there, did you mean shop?" in err) == (2, True)
    assert (await run(here, "drop", "orders.new:five", "--yes"))[0] == 2
    assert await dead.left("orders.new") == 1


@pytest.mark.every_server
async def test_replay_appends_for_the_group_that_gave_up_and_removes_the_letter(here: Place, dead: Cemetery) -> None:
    name = await dead.bury("orders.new", 1)
    await dead.bury("orders.new", 2)
    code, out, _ = await run(here, "replay", name)
    assert (code, out) == (0, "orders.new: 1 dead letter replayed for group shop\n")
    ((entry),) = await dead.entries("orders.new")
    assert (orjson.loads(entry[b"b"])["d"], entry[b"g"]) == (1, b"shop")
    assert await dead.left("orders.new") == 1
    assert (await run(here, "replay", "orders.*"))[1] == out
    assert len(await dead.entries("orders.new")) == 2
    assert "nothing was replayed" in (await run(here, "replay", "orders.*"))[2]


async def test_replay_for_every_group_is_as_if_it_were_sent_again(here: Place, dead: Cemetery) -> None:
    await dead.bury("orders.new", 1)
    assert "every group" in (await run(here, "replay", "orders.new", "--every-group"))[1]
    ((entry),) = await dead.entries("orders.new")
    assert entry[b"g"] == b""


async def test_a_letter_stays_when_its_group_reads_no_more(here: Place, dead: Cemetery) -> None:
    await dead.bury("orders.new", 1, "gone")
    code, out, _ = await run(here, "replay", "orders.new")
    assert code == 1
    assert "1 dead letter stays, because group gone reads it no more; --every-group" in out
    assert (await dead.left("orders.new"), await dead.entries("orders.new")) == (1, [])


@pytest.mark.every_server
async def test_two_who_replay_at_once_append_each_letter_once(dead: Cemetery) -> None:
    for number in range(500):
        await dead.bury("orders.new", number)
    shelf = await dead.letters.shelf("orders.new")
    assert shelf is not None
    found = [one async for part in dead.letters.read(shelf) for one in part]
    both = await asyncio.gather(*(dead.letters.replay(found) for _ in range(2)))
    assert all((one == GONE) != (other == GONE) for one, other in zip(*both, strict=True))
    assert [orjson.loads(one[b"b"])["s"] for one in await dead.entries("orders.new")] == list(range(1, 501))


async def test_a_redis_without_memory_takes_no_replay_and_the_letter_stays(
    here: Place, own_server: RedisServer, hive_name: str
) -> None:
    here.environ["HIVEMIND_REDIS_URL"] = own_server.url
    async with Commands(Endpoint.parse(own_server.url)) as commands:
        full = Cemetery(commands, Names(hive_name))
        await full.reads("orders.new", "shop")
        await full.bury("orders.new", 1)
        await commands.execute("CONFIG", "SET", "maxmemory", "1")
        code, _, err = await run(here, "replay", "orders.new")
        assert (code, await full.left("orders.new")) == (1, 1)
        assert "nothing was replayed" in err
        assert "error: command not allowed when used memory" in err


async def test_drop_says_how_many_and_asks_first(here: Place, dead: Cemetery) -> None:
    for topic in ("orders.new", "orders.new", "orders.old"):
        await dead.bury(topic, 1)
    code, _, err = await run(here, "drop", "orders.*", stdin=b"n\n")
    assert (code, "Drop 3 dead letters (2 of orders.new, 1 of orders.old) for good?" in err) == (1, True)
    assert "--yes does it without asking" in (await run(here, "drop", "orders.*"))[2]
    assert await dead.left("orders.new") == 2
    code, out, _ = await run(here, "drop", "orders.new", stdin=b"y\n")
    assert (code, out) == (0, "orders.new: 2 dead letters dropped\n")
    assert (await run(here, "drop", "*", "--yes"))[1] == "orders.old: 1 dead letter dropped\n"
    assert "nothing was dropped" in (await run(here, "drop", "*", "--yes"))[2]


async def test_what_strangers_wrote_among_the_letters_is_shown_and_left_alone(here: Place, dead: Cemetery) -> None:
    for fields in (("x", "1"), ("b", "[]"), ("b", "{"), ("b", '{"message": 3, "tries": "many", "died": 1e300}')):
        await dead.commands.execute("XADD", dead.names.letters("orders.new"), "*", *fields)
    await dead.commands.execute("HSET", dead.names.kept(), "evil topic\x1b", "{}")
    for verb in ("list", "show"):
        code, _, err = await run(here, verb, "*")
        assert (code, "Traceback" in err) == (0, False)
    code, out, _ = await run(here, "replay", "*")
    assert (code, "4 among the dead letters cannot be read, and stay" in out) == (1, True)
    assert await dead.left("orders.new") == 4


PEAK = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", "hivemind.cli.hm", *sys.argv[1:]]).returncode
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
async def test_a_hundred_thousand_letters_are_listed_and_replayed_in_little_memory(here: Place, dead: Cemetery) -> None:
    letter = orjson.dumps({"group": "shop", "reason": "x" * 300, "message": '"hi"', "traceback": "x" * 500})
    for _ in range(100):
        await dead.commands.pipeline([("XADD", dead.names.letters("orders.new"), "*", "b", letter)] * 1000)
    for verb in ("list", "replay"):
        running = here.start(sys.executable, "-c", PEAK, "dead", verb, "*")
        assert await asyncio.to_thread(running.wait, 90) == 0
        assert int(running.stderr.split("peak ")[1]) < 120_000 * (1024 if sys.platform == "darwin" else 1)
        assert running.stdout.count("\n") == (100_001 if verb == "list" else 1)
    assert await dead.commands.execute("XLEN", dead.names.stream("orders.new")) == 100_000
    assert await dead.left("orders.new") == 0


async def test_large_entries_come_a_few_at_a_time(dead: Cemetery) -> None:
    key = dead.names.letters("orders.new")
    for _ in range(30):
        await dead.commands.execute("XADD", key, "*", "b", b"x" * (GOAL // 2 - 100))
    sizes = [len(part) async for part in portions(dead.commands, key)]
    assert (sum(sizes), max(sizes[1:])) == (30, 2)


async def test_another_group_takes_a_replayed_letter_over_and_does_not_handle_it(dead: Cemetery) -> None:
    streams = Streams(dead.commands, Functions(dead.commands), dead.names)
    await dead.bury("orders.new", 1, "shop")
    shelf = await dead.letters.shelf("orders.new")
    assert shelf is not None
    found = [one async for part in dead.letters.read(shelf) for one in part]
    (entry,) = await dead.letters.replay(found)
    for group, tried in (("shop", [1]), ("books", [])):
        reader = Reader(group, f"{group}.0", 7)
        words = ("XREADGROUP", "GROUP", group, reader.consumer, "STREAMS", dead.names.stream("orders.new"), ">")
        await dead.commands.execute(*words)
        again = await streams.retake("orders.new", reader, [str(entry).encode()])
        assert [orjson.loads(one.body or b"")["d"] for one in again] == tried


@pytest.mark.parametrize("words", ["", ', dedupe="10m"'])
def test_a_replayed_message_is_handled_as_if_new_and_by_nobody_else(here: Place, words: str) -> None:
    here.write("shop.py", PICKY.replace("NAME", "Shop").replace("retries=1", f"retries=1{words}"))
    here.write("books.py", PICKY.replace("NAME", "Books"))
    here.write("orders.py", ORDERS)
    shop, books = here.hm("run", "shop.py"), here.hm("run", "books.py")
    for each in (shop, books):
        each.says("running")
    here.hm("run", "orders.py").says("sold")
    books.says("Books packed 3, try 1")
    eventually(lambda: "shop" in here.run("dead", "list").stdout, 20)
    here.write("shelf", "")
    assert "1 dead letter replayed for group shop" in here.run("dead", "replay", "orders.*").stdout
    shop.says("Shop packed 2, try 1")
    here.hm("run", "orders.py").says("sold")
    eventually(lambda: books.stdout.count("Books packed 3, try 1") == 2, 20)
    assert books.stdout.count("Books packed 2, try 1") == 2
