"""Backups: what a hive keeps is copied, also while senders and readers go on, and put back, on a server of any kind."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.data.backup import backup, count
from hivemind.data.restore import look, refuse_if_used, restore
from hivemind.errors import HivemindError
from hivemind.topics import Names

from .cli_kit import Place
from .kept_kit import keeper
from .servers import Kind, RedisServer, find_server
from .spoil import spoilt_bytes

HIVE = "gotham"
NAMES = Names(HIVE)


def commands(server: RedisServer) -> Commands:
    return Commands(Endpoint.parse(server.url).of(HIVE), "hm")


def fill(server: RedisServer) -> None:
    """Some of everything: two groups, of which one has something pending, a letter, a user's data, and the living."""
    stream, do = NAMES.stream("orders"), server.command
    for number in range(1200):
        do("XADD", stream, f"{1000 + number}-1", "b", f'{{"d":{number}}}' + "x" * 200)
    do("XGROUP", "CREATE", stream, "shop", "0")
    do("XGROUP", "CREATE", stream, "till", "1500-1")
    do("XREADGROUP", "GROUP", "shop", "shop.0.e17", "COUNT", "30", "STREAMS", stream, ">")
    do("XACK", stream, "shop", "1000-1", "1001-1")
    do("XDEL", stream, "1002-1")
    do("XGROUP", "CREATE", NAMES.stream("nothing"), "shop", "0", "MKSTREAM")
    do("XADD", NAMES.letters("orders"), "7-0", "l", "{}")
    do("HSET", NAMES.producers("orders"), "a.0", "17:1200", "taken:shop:shop.0", "16")
    do("ZADD", NAMES.retries("orders"), "1700000000123.25", "shop 1003-1")
    do("SET", NAMES.epoch("shop.0"), "17", "PX", "80000000")
    do("RPUSH", f"hm:{HIVE}:mine", "a", "b")
    do("SADD", f"hm:{HIVE}:ours", "a")
    do("SET", "hm:other:mine", "1")
    do("SADD", NAMES.nodes(), "shop.0")
    do("ZADD", NAMES.responders("price"), "1", "shop.0.e17")


def picture(server: RedisServer) -> dict[str, object]:
    """What is there, as those who use it see it."""
    stream, do = NAMES.stream("orders"), server.command
    pending = do("XPENDING", stream, "shop", "-", "+", "100")
    return {
        "entries": do("XRANGE", stream, "-", "+"),
        "groups": do("XINFO", "GROUPS", stream),
        "pending": [(one[0], one[1], one[3]) for one in pending],
        "letters": do("XRANGE", NAMES.letters("orders"), "-", "+"),
        "empty": do("XINFO", "GROUPS", NAMES.stream("nothing")),
        "producers": sorted(do("HGETALL", NAMES.producers("orders"))),
        "retries": do("ZRANGE", NAMES.retries("orders"), "0", "-1", "WITHSCORES"),
        "epoch": do("GET", NAMES.epoch("shop.0")),
        "mine": do("LRANGE", f"hm:{HIVE}:mine", "0", "-1"),
        "last": do("XINFO", "STREAM", stream)[7:10],
    }


async def copied(server: RedisServer, path: Path) -> None:
    async with commands(server) as redis:
        with path.open("wb") as out:
            await backup(redis, NAMES, out, lambda _: None)


async def put(server: RedisServer, path: Path) -> None:
    async with commands(server) as redis:
        await refuse_if_used(redis, NAMES, replace=False)
        await restore(redis, path, lambda _: None)


@pytest.fixture
def backed(own_server: RedisServer, tmp_path: Path) -> Path:
    """A backup of a hive with some of everything."""
    fill(own_server)
    path = tmp_path / "a.hive"
    asyncio.run(copied(own_server, path))
    return path


def test_on_an_older_server_is_what_was_on_a_newer_one_to_the_last_pending_entry(
    own_server: RedisServer, backed: Path, make_server: Callable[..., RedisServer]
) -> None:
    before = picture(own_server)
    assert len(before["pending"]) == 28  # type: ignore[arg-type]  # it is a list
    header, counts = look(backed)
    assert header.hive == HIVE
    assert (counts.streams, counts.entries, counts.groups, counts.pending, counts.left_out) == (3, 1200, 3, 27, 1)
    oldest = find_server(Kind.REDIS7) or find_server(Kind.VALKEY)
    there = make_server(program=oldest)
    asyncio.run(put(there, backed))
    after = picture(there)
    gone = before["pending"][0]  # type: ignore[index]  # of which the message was deleted
    assert gone[0] == "1002-1"
    before["pending"] = before["pending"][1:]  # type: ignore[index]  # a list
    assert after.pop("groups") != []
    before.pop("groups")
    assert after == before
    assert 0 < there.command("PTTL", NAMES.epoch("shop.0")) <= 80_000_000
    assert there.command("EXISTS", NAMES.nodes(), NAMES.responders("price"), "hm:other:mine") == 0


async def test_a_hive_that_lives_or_is_not_empty_is_not_touched(server: RedisServer) -> None:
    key = f"hm:{HIVE}:kept"
    server.command("SET", key, "1")
    try:
        async with commands(server) as redis:
            with pytest.raises(HivemindError, match="has 1 key there: --replace removes them; nothing was touched"):
                await refuse_if_used(redis, NAMES, replace=False)
            server.command("SADD", NAMES.nodes(), "batman.0")
            server.command("HSET", NAMES.node("batman.0"), "incarnation", "1")
            with pytest.raises(HivemindError, match=r"lives there \(batman.0\): stop it"):
                await refuse_if_used(redis, NAMES, replace=True)
    finally:
        server.command("DEL", key, NAMES.nodes(), NAMES.node("batman.0"))


def test_a_file_that_is_cut_off_spoilt_or_foreign_is_named_and_nothing_is_sent(backed: Path, tmp_path: Path) -> None:
    whole = backed.read_bytes()
    path = tmp_path / "b.hive"
    for text, words in (
        (whole[: len(whole) // 2], "it is cut off"),
        (whole[:-1], "it is cut off"),
        (whole[: whole.rindex(b"\nE ") + 1], "it is no backup|it is cut off"),
        (whole.replace(b"shop 1003-1", b"shop 1004-1"), "a checksum is wrong"),
        (whole.replace(b'"version":1', b'"version":2'), "it is of version 2"),
        (b'{"time":1}\n', "it is no backup of a hive"),
        (b"", "it is no backup of a hive"),
        (b"\x00" * 10_000, "it is no backup of a hive"),
    ):
        path.write_bytes(text)
        with pytest.raises(HivemindError, match=f"b.hive: .*({words}).*nothing was touched"):
            look(path)


@given(rng=st.randoms(use_true_random=False))
def test_whatever_is_spoilt_in_a_backup_it_is_refused(rng: Random, small: bytes, spare: Path) -> None:
    text = spoilt_bytes(rng, small)
    spare.write_bytes(text)
    if text != small:
        with pytest.raises(HivemindError):
            look(spare)


@pytest.fixture(scope="module")
def small() -> bytes:
    """A backup of very little."""
    from hivemind.data.copy_file import Counts, Header, Writer

    out = io.BytesIO()
    writer = Writer(out)
    writer.begin(Header(HIVE, "2026-11-23T01:02:03Z", "redis 7.0.15"))
    writer.add([("SET", f"hm:{HIVE}:mine", "1")])
    writer.end(Counts(keys=1))
    return out.getvalue()


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spare") / "c.hive"


def test_a_command_that_no_backup_has_is_never_sent(spare: Path) -> None:
    from hivemind.data.copy_file import Counts, Header, Writer

    for command in (("FLUSHALL", "ASYNC", "x"), ("SET", "hm:other:mine", "1"), ("CONFIG", "SET", f"hm:{HIVE}:x")):
        with spare.open("wb") as out:
            writer = Writer(out)
            writer.begin(Header(HIVE, "now", "redis"))
            writer.add([command])
            writer.end(Counts(keys=1))
        with pytest.raises(HivemindError, match="something in it that no backup of a hive has; nothing was touched"):
            look(spare)


async def test_while_a_sender_goes_on_nothing_that_was_confirmed_before_is_missing(
    own_server: RedisServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.hive"
    async with keeper(own_server.url, "till.0", "orders", hive=HIVE) as till:
        for number in range(2000):
            till.send("orders", number)
        await till.flush()
        is_over = False

        async def go_on() -> None:
            number = 2000
            while not is_over:
                till.send("orders", number)
                number += 1
                await till.drain()
                await asyncio.sleep(0.001)

        sending = asyncio.create_task(go_on())
        await copied(own_server, path)
        is_over = True
        await sending
    own_server.command("FLUSHALL")
    await put(own_server, path)
    bodies = [orjson.loads(fields[1]) for _, fields in own_server.command("XRANGE", NAMES.stream("orders"), "-", "+")]
    payloads = [body["d"] for body in bodies]
    assert payloads == list(range(len(payloads)))
    assert len(payloads) >= 2000
    last = own_server.command("HGET", NAMES.producers("orders"), "till.0")
    assert int(last.partition(":")[2]) <= bodies[-1]["s"]  # what is in neither is appended again
    async with commands(own_server) as redis:
        assert (await count(redis, NAMES)).entries == len(payloads)


def test_hm_copies_a_hive_and_puts_it_back(here: Place) -> None:
    assert here.run("pub", "orders", "1", "--durable").returncode == 0
    done = here.run("redis", "backup", "a.hive")
    assert done.returncode == 0, done.stderr
    assert "1 streams with 1 entries" in done.stdout
    assert (here.folder / "a.hive").stat().st_mode & 0o77 == 0
    assert here.run("redis", "backup", "a.hive").returncode == 1  # it is there
    refused = here.run("redis", "restore", "a.hive")
    assert refused.returncode == 1
    assert "--replace removes them; nothing was touched" in refused.stderr
    done = here.run("redis", "restore", "a.hive", "--replace", "--yes")
    assert done.returncode == 0, done.stderr
    assert "restored and counted" in done.stdout
    other = here.run("redis", "restore", "a.hive", "--to", "redis://127.0.0.1:1?hive=metropolis")
    assert "and the URL says metropolis; nothing was touched" in other.stderr
    nobody = here.run("redis", "restore", "a.hive", "--to", "redis://:secret@127.0.0.1:1")
    assert nobody.returncode == 1
    assert "error: the Redis to go to, redis://:***@127.0.0.1:1, cannot be reached: Error 111" in nobody.stderr
    assert nobody.stderr.endswith("; start that server, or correct the URL; nothing was touched\n")
