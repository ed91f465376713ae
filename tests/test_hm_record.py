"""`hm tail --since`, `hm record` and `hm play`: what is kept, what passes by, and all of it once more."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hivemind import connect
from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.streams import Streams
from hivemind.cli.playing import Manner, Played, Player, Recorded
from hivemind.cli.spelling import spelled
from hivemind.data.kept import Kept
from hivemind.topics import Names

from .cli_kit import Place, Running
from .servers import RedisServer
from .streams_kit import append
from .waiting import eventually

LISTENING = "; Ctrl-C ends"
SHOP = """
from hivemind import Node, subscription
class Shop(Node):
    @subscription("orders.*", durable=True, since="all")
    def pack(self, payload, message):
        print("packed", payload, message.headers.get("trace"), flush=True)
"""
FAST = """
from hivemind import Node, service
class Fast(Node):
    @service("orders.fast", durable=True)
    def sell(self, service):
        for number in range(30_000):
            service.send(number)
        service.flush()
        print("sold", flush=True)
        return 1
"""


class Till:
    """Sends as nodes with durable services do, each a message at a time."""

    def __init__(self, commands: Commands, names: Names) -> None:
        self.commands, self.names = commands, names
        self.functions = Functions(commands)
        self.kept = Kept(Streams(commands, self.functions, names))
        self.counts: dict[str, int] = {}

    async def announce(self, *topics: str) -> None:
        for topic in topics:
            await self.kept.announce(topic)

    async def send(self, topic: str, *payloads: Any, **more: Any) -> None:
        for payload in payloads:
            number = self.counts[topic] = self.counts.get(topic, 0) + 1
            envelope = {"v": 1, "n": "till.0", "e": 5, "s": number, "t": time.time(), "d": payload, **more}
            await append(self.functions, self.names, topic, ("till.0", 5), number, [orjson.dumps(envelope)])

    async def publish(self, topic: str, payload: Any) -> None:
        await self.commands.execute("PUBLISH", self.names.live(topic), orjson.dumps(payload))

    async def stream(self, topic: str) -> list[dict[str, Any]]:
        found = await self.commands.execute("XRANGE", self.names.stream(topic), "-", "+")
        return [orjson.loads(fields[1]) for _, fields in found]


@pytest.fixture
async def till(server: RedisServer, hive_name: str) -> AsyncIterator[Till]:
    async with Commands(Endpoint.parse(server.url)) as commands:
        made = Till(commands, Names(hive_name))
        await made.announce("orders.new", "orders.old")
        yield made


async def listening(here: Place, *arguments: str) -> Running:
    running = here.hm(*arguments)
    await asyncio.to_thread(running.says, LISTENING)
    return running


async def payloads(running: Running) -> list[Any]:
    assert await asyncio.to_thread(running.wait) == 0, running.stderr
    return [json.loads(line)["payload"] for line in running.stdout.splitlines()]


# -- tail --since


async def test_tail_shows_first_what_is_kept_in_order_then_what_passes_by(here: Place, till: Till) -> None:
    minute = int(time.time() - 60) * 1000
    for number in range(6):  # a millisecond after each other: topics have no order within one
        body = orjson.dumps({"v": 1, "n": f"till.{number}", "e": 5, "s": 1, "d": number})
        stream = till.names.stream("orders.new" if number % 2 else "orders.old")
        await till.commands.execute("XADD", stream, f"{minute + number}-0", "b", body)
    shown = await listening(here, "tail", "--json", "--since", "all", "--count", "8", "orders.*")
    await asyncio.to_thread(eventually, lambda: shown.stdout.count("\n") == 6, 20)
    await till.publish("orders.live", 6)
    await till.send("orders.new", 7)
    assert await payloads(shown) == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("since", "expected"), [("all", [1, 2, 3, 10]), ("2", [2, 3, 10]), ("10m", [3, 10]), ("new", [10])]
)
async def test_since_says_where_to_begin(here: Place, till: Till, since: str, expected: list[int]) -> None:
    old = orjson.dumps({"v": 1, "n": "till.0", "e": 5, "s": 1, "d": 1})
    hours = int(time.time() - 7200) * 1000
    for at, payload in enumerate((1, 2)):
        body = old.replace(b'"d":1', b'"d":%d' % payload)
        await till.commands.execute("XADD", till.names.stream("orders.new"), f"{hours + at}-0", "b", body)
    till.counts["orders.new"] = 2
    await till.send("orders.new", 3)
    shown = await listening(here, "tail", "--json", "--since", since, "--count", str(len(expected)), "orders.new")
    await asyncio.to_thread(eventually, lambda: shown.stdout.count("\n") == len(expected) - 1, 20)
    await till.send("orders.new", 10)
    assert await payloads(shown) == expected


@pytest.mark.every_server
async def test_a_stream_that_is_written_while_it_is_read_is_shown_once_and_in_order(here: Place, till: Till) -> None:
    here.write("fast.py", FAST)
    shown = here.hm("tail", "--raw", "--since", "all", "--count", "30000", "orders.*")
    here.hm("run", "fast.py")
    assert await asyncio.to_thread(shown.wait, 60) == 0
    assert shown.stdout.split() == [str(number) for number in range(30_000)]


async def test_a_replayed_letter_of_another_group_and_garbage_are_not_shown(here: Place, till: Till) -> None:
    stream = till.names.stream("orders.new")
    for fields in (("b", '{"v": 1}'), ("x", "1"), ("b", '"foreign"'), ("b", "1", "g", "shop")):
        await till.commands.execute("XADD", stream, "*", *fields)
    await till.commands.execute("SET", till.names.stream("orders.old"), "no stream")
    shown = await listening(here, "tail", "--json", "--since", "all", "--count", "2", "orders.*")
    await till.send("orders.new", 1)
    assert await payloads(shown) == ["foreign", 1]
    assert "1 malformed" in shown.stderr


def test_a_since_that_says_nothing_is_wrong_use(here: Place) -> None:
    done = here.run("tail", "x", "--since", "yesterday")
    assert (done.returncode, "write a span such as 10m" in done.stderr) == (2, True)


# -- record


async def test_a_recording_has_time_topic_and_envelope_of_each(here: Place, till: Till) -> None:
    await till.send("orders.new", 1)
    recording = await listening(here, "record", "orders.*", "a.jsonl", "--since", "all", "--count", "3")
    await till.send("orders.new", {"bottles": 2}, h={"trace": "7"})
    await till.publish("orders.live", "foreign")
    assert await asyncio.to_thread(recording.wait) == 0
    lines = [json.loads(line) for line in (here.folder / "a.jsonl").read_text().splitlines()]
    assert [list(one) for one in lines] == [["time", "topic", "envelope"]] * 3
    assert [one["topic"] for one in lines] == ["orders.new", "orders.new", "orders.live"]
    assert [one["envelope"]["d"] for one in lines] == [1, {"bottles": 2}, "foreign"]
    assert lines[1]["envelope"]["h"] == {"trace": "7"}
    assert all(abs(one["time"] - time.time()) < 60 for one in lines)
    assert "a.jsonl: 3 messages, " in recording.stderr


async def test_a_recording_ends_after_its_time_or_with_ctrl_c_and_overwrites_nothing(here: Place, till: Till) -> None:
    timed = await listening(here, "record", "*", "timed.jsonl", "--for", "0.2s")
    assert await asyncio.to_thread(timed.wait) == 0
    assert not (here.folder / "timed.jsonl").exists()
    recording = await listening(here, "record", "*", "a.jsonl")
    await till.publish("lamp", 1)
    await asyncio.to_thread(eventually, lambda: (here.folder / "a.jsonl").stat().st_size > 0)
    assert await asyncio.to_thread(recording.end) == 0
    done = await asyncio.to_thread(here.run, "record", "*", "a.jsonl")
    assert (done.returncode, "is there already" in done.stderr) == (1, True)


def test_a_folder_that_is_not_there_is_named(here: Place) -> None:
    done = here.run("record", "*", "nowhere/a.jsonl")
    assert (done.returncode, "cannot be written: No such file or directory" in done.stderr) == (1, True)


# -- play


def recording(here: Place, *messages: tuple[float, str, Any], name: str = "a.jsonl", **more: Any) -> None:
    lines = [
        {"time": 1000.0 + at, "topic": topic, "envelope": {"v": 1, "n": "x.0", "e": 1, "s": 1, "d": payload, **more}}
        for at, topic, payload in messages
    ]
    here.write(name, "".join(f"{json.dumps(line)}\n" for line in lines))


async def test_play_keeps_the_spacing_divided_by_the_rate(here: Place, till: Till) -> None:
    recording(here, (0.0, "lamp", 1), (0.6, "lamp", 2), (1.2, "lamp", 3))
    shown = await listening(here, "tail", "--json", "--count", "3", "lamp")
    done = await asyncio.to_thread(here.run, "play", "a.jsonl", "--rate", "3x")
    assert (done.returncode, "played 3 messages in " in done.stderr) == (0, True)
    assert await asyncio.to_thread(shown.wait) == 0
    times = [json.loads(line)["sent_at"] for line in shown.stdout.splitlines()]
    assert 0.19 < times[1] - times[0] < 0.5
    assert 0.39 < times[2] - times[0] < 1.0


async def test_play_into_a_durable_topic_is_durable_and_keeps_headers(here: Place, till: Till) -> None:
    here.write("shop.py", SHOP)
    shop = here.hm("run", "shop.py")
    await asyncio.to_thread(shop.says, "running")
    recording(here, (0.0, "lamp", 1), (3600.0, "bell", {"b": 2}), h={"trace": "7"})
    done = await asyncio.to_thread(here.run, "play", "a.jsonl", "--rate", "max", "--into", "orders.new")
    assert "played 2 messages, 2 of them kept" in done.stderr
    assert [one["d"] for one in await till.stream("orders.new")] == [1, {"b": 2}]
    await asyncio.to_thread(shop.says, "packed {'b': 2} 7")


async def test_what_was_recorded_is_played_as_it_was(here: Place, till: Till) -> None:
    recording_ = await listening(here, "record", "lamp.*", "a.jsonl", "--count", "3")
    await till.send("lamp.a", 1, "two\nlines")
    await till.commands.execute(
        "PUBLISH", till.names.live("lamp.b"), '{"v":1,"n":"y.0","e":1,"s":1,\n"b":"AP8=","h":{"k":"v"}}'
    )
    assert await asyncio.to_thread(recording_.wait) == 0
    again = await listening(here, "record", "lamp.*", "b.jsonl", "--count", "3")
    assert (await asyncio.to_thread(here.run, "play", "a.jsonl", "--rate", "max")).returncode == 0
    assert await asyncio.to_thread(again.wait) == 0

    def said(name: str) -> list[tuple[Any, ...]]:
        found = [json.loads(line) for line in (here.folder / name).read_text().splitlines()]
        return sorted((one["topic"], *(str(one["envelope"].get(key)) for key in "dbh")) for one in found)

    assert said("a.jsonl") == said("b.jsonl")


async def test_what_no_python_number_holds_is_recorded_and_played_as_it_was_written(here: Place, till: Till) -> None:
    written = b'{"big": 123456789012345678901234567890, "exact": 1.10, "text": "\\u00e9"}'
    body = b'{"v":1,"n":"y.0","e":1,"s":1,\r\n"d":' + written + b',"h":{"d":"x"}}'
    await till.commands.execute("XADD", till.names.stream("orders.new"), "*", "b", body)
    done = await asyncio.to_thread(here.run, "record", "orders.new", "a.jsonl", "--since", "all", "--count", "1")
    assert done.returncode == 0, done.stderr
    done = await asyncio.to_thread(here.run, "play", "a.jsonl", "--into", "orders.old")
    assert done.returncode == 0, done.stderr
    (_, (_, played)), *_ = await till.commands.execute("XRANGE", till.names.stream("orders.old"), "-", "+")
    assert b'"d":' + written + b',"h":' in played


@pytest.mark.parametrize(
    "text",
    ['{"a":1}', ' { "b" : [1, {"a": 2}] , "a" :1, "c": {}}', '{"\\u0061": 1}', '{"b": "}\\",", "a": 1 }'],
)
def test_the_text_of_a_member_is_found(text: str) -> None:
    assert spelled(text, "a") == "1"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("[]", "it is no object with time, topic and envelope"),
        ('{"time": 1, "topic": "x"}', "it has no 'envelope'"),
        ('{"time": 1, "topic": "a b", "envelope": {"d": 1}}', "'a b' is no topic"),
        ('{"time": "1", "topic": "x", "envelope": {"d": 1}}', "its time is no number"),
        ('{"time": 1, "topic": "x", "envelope": {"v": 1, "d": 1}}', "its envelope is none"),
        ('{"time": 1, "topic": "x", "envelope": {"b": "?"}}', "field b is not base64"),
        ('{"time": 1, "topic": "x", "envelope": {"d": 1, "h": [1]}}', "its headers are no object"),
        (f'{{"time": 1, "topic": "x", "envelope": {{"d": "{"x" * 1_048_577}"}}}}', "payload at $: 1,048,583 bytes"),
    ],
    ids=lambda one: str(one)[:30],
)
def test_a_broken_line_is_named_with_its_number(here: Place, line: str, why: str) -> None:
    recording(here, (0.0, "lamp", 1))
    here.write("a.jsonl", f"{(here.folder / 'a.jsonl').read_text()}\n{line}\n")
    done = here.run("play", "a.jsonl")
    assert done.returncode == 1
    assert f"a.jsonl, line 3 is no line of a recording: {why}" in done.stderr
    assert "the 1 message before it were sent" not in done.stderr
    assert "the message before it was sent" in done.stderr


def test_what_cannot_be_played_is_said_in_words(here: Place) -> None:
    for arguments, code, words in (
        (("nothing.jsonl",), 1, "cannot be read: No such file"),
        ((".",), 1, "is a folder"),
        (("a.jsonl", "--rate", "5"), 2, "write 2x for twice as fast"),
        (("a.jsonl", "--into", "a*"), 2, "a*"),
    ):
        done = here.run("play", *arguments)
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_a_recording_that_is_not_there_is_named_also_where_redis_is_away(here: Place) -> None:
    done = here.run("play", "nothing.jsonl", HIVEMIND_REDIS_URL="redis://127.0.0.1:1")
    assert "nothing.jsonl cannot be read: No such file" in done.stderr


async def test_ctrl_c_cuts_it_short_and_says_what_was_sent(here: Place, till: Till) -> None:
    recording(here, (0.0, "lamp", 1), (600.0, "lamp", 2))
    shown = await listening(here, "tail", "--raw", "--count", "1", "lamp")
    playing = here.hm("play", "a.jsonl")
    assert await asyncio.to_thread(shown.wait) == 0
    assert await asyncio.to_thread(playing.end) == 130
    assert "played 1 message in" in playing.stderr
    assert "cut short" in playing.stderr


async def test_many_lines_are_played_as_fast_as_it_goes(here: Place, till: Till) -> None:
    recording(here, *((float(at), "orders.new", at) for at in range(20_000)))
    done = await asyncio.to_thread(here.run, "play", "a.jsonl", "--rate", "max")
    assert "played 20,000 messages, 20,000 of them kept" in done.stderr
    assert [one["d"] for one in await till.stream("orders.new")] == list(range(20_000))


# -- pub


async def test_what_is_published_by_hand_on_a_durable_topic_is_kept(here: Place, till: Till) -> None:
    done = await asyncio.to_thread(here.run, "pub", "orders.new", "1", "--count", "3")
    assert "sent 3 messages on orders.new" in done.stderr
    assert "kept and confirmed by Redis" in done.stderr
    assert len(await till.stream("orders.new")) == 3


async def test_large_messages_are_played_though_redis_is_slow(own_server: RedisServer) -> None:
    played, frozen = Played(Path("a.jsonl")), 0.3

    async def messages() -> AsyncIterator[Recorded]:
        yield Recorded(0.0, "x", "first", {}, 1, 10)
        own_server.freeze()
        asyncio.get_running_loop().call_later(frozen, own_server.thaw)
        for line in range(2, 82):  # more than an outbox holds
            yield Recorded(0.0, "x", "x" * 1_000_000, {}, line, 1_000_000)

    async with connect(own_server.url) as client:
        await Player(client, Manner(rate=0.0), asyncio.Event(), played).play(messages())
    assert played.sent == 81


async def test_who_sends_by_hand_what_nobody_keeps_is_told_who_gets_nothing_and_how_it_does(here: Place) -> None:
    here.write("shop.py", SHOP)
    shop = here.hm("run", "shop.py")
    shop.says("running")
    here.write("a.jsonl", json.dumps({"time": 1.0, "topic": "orders.b", "envelope": {"d": "milk"}}) + "\n")
    for command in (("pub", "orders.a", "tea"), ("play", "a.jsonl")):
        told = await asyncio.to_thread(here.run, *command)
        assert told.returncode == 0
        assert told.stderr.count("is not kept, but group shop reads it durably") == 1
        kept = await asyncio.to_thread(here.run, *command, "--durable")
        assert "kept" in kept.stderr
        assert "is not kept" not in kept.stderr
    await asyncio.to_thread(shop.says, "packed tea")
    await asyncio.to_thread(shop.says, "packed milk")
