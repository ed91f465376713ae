"""What each release wrote is read by today's readers, whoever adds a field to it or leaves an optional one out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pytest

from hivemind import Message, Node, __version__, responder, subscription
from hivemind.bus.door import Way, mark_in
from hivemind.bus.requests_wire import read_request
from hivemind.data.backlog import backlogs
from hivemind.data.directory import Directory
from hivemind.data.entries import reading_from, topic_from
from hivemind.data.kept import Kept
from hivemind.data.records import about_from, stats_from
from hivemind.data.registry import Registry
from hivemind.identity import PidFile
from hivemind.last_settings import last_settings
from hivemind.message import Malformed, decode, is_envelope, payload_of
from hivemind.picture.past import step_from
from hivemind.supervisor.control import decode_answer, decode_request
from hivemind.supervisor.desired import read_scale, read_stopped
from hivemind.supervisor.lives import load_lives
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.plan import load
from hivemind.supervisor.releases import releases
from hivemind.testing import HiveTest
from hivemind.whereabouts import moved

from .bus_kit import on_bus
from .record_wire import RECORDED
from .servers import RedisServer
from .waiting import eventually

DOCS = Path(__file__).parent.parent / "docs"
RELEASES = sorted(each.name for each in RECORDED.iterdir())
NEWER = {"of-a-newer-version": {"n": [1, {"x": None}]}}


def recorded(release: str, what: str) -> Any:
    return orjson.loads((RECORDED / release / f"{what}.json").read_bytes())


def bodies(release: str) -> list[tuple[str, bytes]]:
    """Every message: its channel, and what it says."""
    return [(one["channel"], one["body"].encode()) for one in recorded(release, "channels")]


GONE = "hm:{gotham}:move"
every_release = pytest.mark.parametrize("release", RELEASES)


def test_every_key_that_the_documentation_names_is_recorded_of_this_release() -> None:
    release = ".".join(__version__.split(".")[:2])
    text = (DOCS / "wire.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(hm:[^`]+)` \| (?!.*channel)", text, re.MULTILINE)
    names = [one["key"] for one in recorded(release, "keys")]
    patterns = {
        row: re.compile(re.sub(r"<\w+>", ".+", re.escape(row).replace(r"\<", "<").replace(r"\>", ">"))) for row in rows
    }
    missing = [row for row, each in patterns.items() if not any(map(each.fullmatch, names))]
    assert (len(rows) > 15, missing) == (True, [])


# -- whatever is added or left out


OPEN = {
    "env",
    "members",
    "mending",
    "metadata",
    "options",
    "sources",
    "NODES",
    "HOSTS",
}  # objects whose names are not ours


def changed(value: Any, name: str = "") -> Iterator[tuple[bool, Any]]:
    """``value`` with one thing changed: a field added to one of its objects (True), or one field left out (False)."""
    if isinstance(value, dict):
        if name not in OPEN:
            yield True, value | NEWER
        for name, inner in value.items():
            yield False, {key: each for key, each in value.items() if key != name}
            yield from ((is_added, value | {name: other}) for is_added, other in changed(inner, name))
    if isinstance(value, list) and value:
        yield from ((is_added, [other, *value[1:]]) for is_added, other in changed(value[0]))


def bears(read: Callable[[Any], Any], value: Any) -> None:
    """``read`` reads ``value``, the same when there is more in it, and raises nothing when there is less."""
    first = read(value)
    assert first is not None
    for is_added, other in changed(value):
        found = read(deepcopy(other))
        assert not is_added or found == first, other


def registered(release: str) -> list[tuple[str, Any, Any]]:
    hashes = [(one["key"], one["value"]) for one in recorded(release, "keys") if ":node:" in one["key"]]
    return [(key.rpartition(":")[2], orjson.loads(each["about"]), orjson.loads(each["stats"])) for key, each in hashes]


@every_release
def test_what_an_instance_said_of_itself(release: str) -> None:
    for name, about, stats in registered(release):
        read = about_from(about, name)
        assert (read.host, read.pid, read.metadata, read.process is not None) == (
            about["host"],
            about["pid"],
            about["metadata"],
            True,
        )
        assert orjson.loads(orjson.dumps(stats_from(stats))) == stats | orjson.loads(orjson.dumps(stats_from(stats)))
        bears(stats_from, stats)
        for _, other in changed(about):
            about_from(other, name)


@every_release
def test_what_a_hive_remembers_of_kept_topics(release: str) -> None:
    for key, read in (("kept", topic_from), ("readings", reading_from)):
        (entries,) = [one["value"] for one in recorded(release, "keys") if one["key"] == f"hm:{{gotham}}:{key}"]
        for name, text in entries.items():
            bears_entry(read, name, orjson.loads(text))


def bears_entry(read: Callable[[str, bytes], Any], name: str, said: dict[str, Any]) -> None:
    first = read(name, orjson.dumps(said))
    assert first is not None, name
    for is_added, other in changed(said):
        found = read(name, orjson.dumps(other))
        assert not is_added or found == first


@every_release
def test_where_a_hive_has_gone(release: str) -> None:
    (mark,) = [one["value"] for one in recorded(release, "keys") if one["key"] == GONE]
    found = mark_in(mark)
    assert found is not None
    assert found.way is Way.GONE
    bears(lambda each: mark_in(orjson.dumps(each)) or (), orjson.loads(mark))


@every_release
def test_what_the_roots_saw(release: str) -> None:
    (stream,) = [one["value"] for one in recorded(release, "keys") if one["key"] == "hm:{gotham}:past"]
    for entry, (_, raw) in stream["entries"]:
        at = int(entry.partition("-")[0]) / 1000
        assert len(getattr(step_from(raw.encode(), at), "events", ())) == len(orjson.loads(raw)["events"])
        bears(lambda each, at=at: step_from(orjson.dumps(each), at), orjson.loads(raw))  # type: ignore[misc]


@every_release
def test_messages_and_requests(release: str) -> None:
    sent = [(channel, decode(body)) for channel, body in bodies(release) if channel.split(":")[2] in "tq"]
    envelopes = [(channel, said) for channel, said in sent if is_envelope(said)]
    assert len(envelopes) > 3
    for channel, said in envelopes:
        bears(lambda each: payload_of(each) if is_envelope(each) else (), said)
        if channel.split(":")[2] == "q":
            bears(requested, said)


def requested(said: Any) -> Any:
    try:
        return read_request(said, "hm:gotham:i:")
    except Malformed:
        return ()


@every_release
def test_what_is_asked_of_hived_and_what_it_answers(release: str) -> None:
    asked = [orjson.loads(body) for channel, body in bodies(release) if channel == "hm:gotham:c:hived"]
    answered = [orjson.loads(body) for channel, body in bodies(release) if ":c:hived-" in channel]
    assert {one["verb"] for one in asked} >= {"restart", "stop", "start", "scale"}
    assert any(one["done"] and one["results"] for one in answered)
    for one in asked:
        bears(lambda each: decode_request(orjson.dumps(each)) or (), one)
    for one in answered:
        bears(lambda each: decode_answer(orjson.dumps(each)) or (), one)


FILES: Mapping[str, Callable[[HivePaths, Path], Any]] = {
    r"run/plan\.json": lambda paths, _: load(paths),
    r"settings\.json": lambda paths, _: last_settings(paths.hive) or (),
    r"scale\.json": lambda paths, _: read_scale(paths),
    r"stopped\.json": lambda paths, _: read_stopped(paths),
    r".*\.(pid|identity)": lambda _, path: PidFile(path).read() or (),
    r".*\.lives": lambda _, path: load_lives(path, "boot"),
    r"releases/.*": lambda paths, _: releases(paths),
    r"moved\.json": lambda paths, _: moved(paths.var) or (),
}


@every_release
def test_files(release: str, tmp_path: Path) -> None:
    paths = HivePaths(tmp_path, tmp_path / "var", tmp_path / "var")
    seen = set[str]()
    for name, value in recorded(release, "files").items():
        path = paths.var / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for pattern, reader in FILES.items():
            if re.fullmatch(pattern, name):
                seen.add(pattern)
                bears(lambda each, path=path, reader=reader: read_file(paths, path, reader, each), value)  # type: ignore[misc]
    assert seen == FILES.keys()


def read_file(paths: HivePaths, path: Path, reader: Callable[[HivePaths, Path], Any], value: Any) -> Any:
    path.write_bytes(orjson.dumps(value))
    return reader(paths, path)


@every_release
def test_the_plan_has_all_that_was_written(release: str, tmp_path: Path) -> None:
    written = recorded(release, "files")["run/plan.json"]
    paths = HivePaths(tmp_path, tmp_path / "var", tmp_path / "var")
    paths.make()
    plan = read_file(paths, paths.plan, lambda *_: load(paths), written)
    assert [(one.name, one.version) for one in plan.programs] == [
        (one["name"], f"{one['digest']}.{one['code']}" if one["code"] else one["digest"]) for one in written["programs"]
    ]


# -- in Redis


def restore(server: RedisServer, release: str, hive: str, without: tuple[str, ...] = ()) -> None:
    """Put every recorded key into a server, as the hive called ``hive``; but not that it has gone."""
    for one in (each for each in recorded(release, "keys") if each["key"] != GONE):
        key = re.sub(r"^hm:(\{?)gotham", rf"hm:\g<1>{hive}", one["key"])
        if not any(part in key for part in without):
            is_late = ":r:" in key  # what waits for its next try: as if all that were long ago
            value = (
                {name: f"1000.{at.partition('.')[2]}" for name, at in one["value"].items()} if is_late else one["value"]
            )
            WRITE[one["type"]](server.command, key, value)
            if ":node:" in key:
                server.command("PEXPIRE", key, 60_000)


def _flat(value: Mapping[str, Any]) -> list[Any]:
    return [each for pair in value.items() for each in pair]


def _stream(ask: Callable[..., Any], key: str, value: dict[str, Any]) -> None:
    for entry, fields in value["entries"]:
        ask("XADD", key, entry, *fields)
    for group in value["groups"]:
        ask("XGROUP", "CREATE", key, group["name"], group["last"], "MKSTREAM")
        for entry, consumer, idle, tries in group["pending"]:
            ask("XCLAIM", key, group["name"], consumer, 0, entry, "IDLE", idle, "RETRYCOUNT", tries, "FORCE", "JUSTID")


WRITE: Mapping[str, Callable[[Callable[..., Any], str, Any], None]] = {
    "string": lambda ask, key, value: ask("SET", key, value),
    "hash": lambda ask, key, value: ask("HSET", key, *_flat(value)),
    "set": lambda ask, key, value: ask("SADD", key, *value),
    "zset": lambda ask, key, value: ask(
        "ZADD", key, *(each for name, score in value.items() for each in (score, name))
    ),
    "stream": _stream,
}


@every_release
async def test_today_sees_the_hive_as_it_was(server: RedisServer, hive_name: str, release: str) -> None:
    restore(server, release, hive_name)
    async with on_bus(server.url, "hm", hive_name) as bus:
        found = await Registry(bus.commands, bus.functions, bus.names).instances()
        directory = Directory(bus.commands, bus.functions, bus.names)
        kept = Kept(bus.streams)
        lag = await backlogs(bus.commands, bus.names, await kept.topics(), await kept.readings(), {})
        assert {one.instance for one in found} == {name for name, *_ in registered(release)}
        assert {(one.instance, one.state) for one in found if not one.is_lost} >= {("batman.0", "running")}
        assert (await directory.mode(), "orders" in await directory.topics()) == ("resolved", True)
        assert [(one.kept.topic, [each.group for each in one.groups]) for one in lag if one.kept.durable] == [
            ("orders", ["shop"])
        ]


class Batman(Node):
    """Today's, of whom an older version left work."""

    def __init__(self) -> None:
        super().__init__()
        self.packed, self.seen = list[int](), list[Any]()

    @subscription("orders*", durable=True, since="all", group="shop", order_by="customer", dedupe="10m", workers=4)
    async def pack(self, payload: Any) -> None:
        self.packed.append(payload["number"])

    @subscription("bat-signal-*")
    async def come(self, payload: Any, message: Message) -> None:
        self.seen.append((message.topic, payload))

    @responder("cape")
    async def lend(self, payload: Any) -> Any:
        return payload


def left_over(release: str) -> set[int]:
    """The numbers of the orders that were neither acknowledged nor buried when that was recorded."""
    (stream,) = [one["value"] for one in recorded(release, "keys") if one["key"] == "hm:gotham:s:{orders}"]
    (group,) = stream["groups"]
    pending = {entry for entry, *_ in group["pending"]}
    new = [entry for entry, _ in stream["entries"] if _order(entry) > _order(group["last"])]
    orders = {entry: orjson.loads(fields[1])["d"]["number"] for entry, fields in stream["entries"]}
    return {orders[entry] for entry in {*pending, *new}}


def _order(entry: str) -> tuple[int, int]:
    first, _, second = entry.partition("-")
    return int(first), int(second)


@every_release
def test_today_does_the_work_that_was_left(server: RedisServer, hive_name: str, release: str) -> None:
    wanted = left_over(release)
    assert wanted
    restore(server, release, hive_name, without=(":node:", ":caretaker"))
    with HiveTest(server.url, hive_name, {"PATTERNS": "resolved"}) as hive:
        batman = hive.start(Batman)
        eventually(lambda: set(batman.packed) == wanted, within=30)
        hive.send("orders", {"customer": "A", "number": 99}, durable=True)
        eventually(lambda: 99 in batman.packed, within=10)


@every_release
def test_whatever_an_older_or_newer_version_says_on_any_channel_a_node_goes_on(
    server: RedisServer, hive_name: str, release: str, caplog: pytest.LogCaptureFixture
) -> None:
    with HiveTest(server.url, hive_name) as hive:
        batman = hive.start(Batman)
        for channel, body in bodies(release):
            said = orjson.loads(body)
            for other in [said, *(each for _, each in changed(said))]:
                server.command("PUBLISH", re.sub("^hm:gotham", f"hm:{hive_name}", channel), orjson.dumps(other))
        hive.send("bat-signal-main", "still there?")
        eventually(lambda: ("bat-signal-main", "still there?") in batman.seen, within=10)
        assert hive.request("cape", "black") == "black"
    assert ("bat-signal-main", "help") in batman.seen
    assert not [one for one in caplog.records if one.exc_info]
