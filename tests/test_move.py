"""A hive goes over to another Redis while it runs: all is there, nothing twice, and whatever fails it is whole."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import pytest

from hivemind.bus.bus import Bus
from hivemind.bus.commands import Commands
from hivemind.bus.door import Mark, Way
from hivemind.bus.endpoint import Endpoint
from hivemind.cancelling import end
from hivemind.data import hold
from hivemind.data.checkup import Needs
from hivemind.data.copy_file import Counts
from hivemind.data.destination import as_mover, look_at_source, look_at_target, refuse_if_used
from hivemind.data.move import Done, Move, follow
from hivemind.errors import HivemindError, RedisDenied
from hivemind.states import MoveStage
from hivemind.topics import Names
from hivemind.whereabouts import Moved, lead, moved, prepare, take_effect

from .bus_kit import are_up
from .cli_kit import Place
from .kept_kit import keep
from .servers import RedisServer
from .test_backup import HIVE, NAMES, fill, picture
from .waiting import eventually_async

FIT = ("appendfsync everysec",)
MakeServer = Callable[..., RedisServer]


def nobody(_: MoveStage, __: Counts) -> None:
    """Nobody wants to know how far it is."""


def mover(server: RedisServer) -> Commands:
    return Commands(as_mover(Endpoint.parse(server.url).of(HIVE)), hold.MOVER)


async def move(
    source: str, target: str, folder: Path, told: Callable[[MoveStage, Counts], None] = nobody, number: str = "one"
) -> Done:
    ends = [Commands(as_mover(Endpoint.parse(url).of(HIVE)), hold.MOVER) for url in (source, target)]
    async with ends[0] as here, ends[1] as there:
        return await Move(here, there, NAMES, Moved(number, (source,), target), folder, told).run()


@contextlib.asynccontextmanager
async def member(url: str, folder: Path, instance: str = "till.0") -> AsyncIterator[Bus]:
    """A process of the hive on the host that has ``folder``."""
    async with Bus(Endpoint.parse(url, folder), HIVE, instance) as bus:
        bus.identify(instance, int(await bus.now()) + 1)
        await are_up(bus)
        yield bus


@contextlib.asynccontextmanager
async def ordering(bus: Bus) -> AsyncIterator[list[int]]:
    """Orders are sent meanwhile, one after the other; how many is in the list."""
    sent = [0]

    async def go_on() -> None:
        while True:
            bus.send("orders", sent[0])
            sent[0] += 1
            await bus.drain()
            await asyncio.sleep(0.001)

    task = asyncio.create_task(go_on())
    try:
        yield sent
    finally:
        await end(task)


def orders(server: RedisServer) -> list[int]:
    return [orjson.loads(fields[1])["d"] for _, fields in server.command("XRANGE", NAMES.stream("orders"), "-", "+")]


@pytest.fixture
def source(make_server: MakeServer) -> RedisServer:
    """The server that a hive leaves."""
    return make_server()


@pytest.fixture
def target(make_server: MakeServer) -> RedisServer:
    """The server to which it goes."""
    return make_server(lines=FIT)


async def test_all_that_a_hive_has_is_there_and_its_old_server_takes_nobody_in(
    source: RedisServer, target: RedisServer, tmp_path: Path
) -> None:
    fill(source)
    source.command("HSET", NAMES.node("shop.0"), "incarnation", "17")
    source.command("PEXPIRE", NAMES.node("shop.0"), "5000")
    before = picture(source)
    done = await move(source.url, target.url, tmp_path)
    after = picture(target)
    assert (done.counts.streams, done.counts.entries, done.counts.pending, done.counts.left_out) == (3, 1200, 27, 1)
    for each in (before, after):
        each.pop("groups")
    assert before["pending"][1:] == after.pop("pending")  # type: ignore[index]  # of the first the message was deleted
    before.pop("pending")
    assert after == before
    assert target.command("HGET", NAMES.node("shop.0"), "incarnation") == "17"
    assert 5000 < target.command("PTTL", NAMES.node("shop.0")) <= 15_000
    assert target.command("EXISTS", NAMES.responders("price"), NAMES.move()) == 1
    async with Commands(Endpoint.parse(source.url, tmp_path).of(HIVE)) as led:
        assert await led.execute("EXISTS", NAMES.epoch("shop.0")) == 1
    async with Commands(Endpoint.parse(source.url, tmp_path / "another host").of(HIVE)) as stranger:
        with pytest.raises(RedisDenied, match=r"hive gotham has moved to unix://.*: run `hm redis move "):
            await stranger.execute("EXISTS", NAMES.epoch("shop.0"))
    assert source.command("EXISTS", NAMES.stream("orders")) == 1  # until somebody removes it


async def test_who_sends_meanwhile_goes_on_and_nothing_is_lost_or_there_twice(
    source: RedisServer, target: RedisServer, tmp_path: Path
) -> None:
    async with member(source.url, tmp_path) as bus:
        await keep(bus, "orders")
        for number in range(3000):
            bus.send("before", number)
        async with ordering(bus) as sent:
            await eventually_async(lambda: sent[0] > 200)
            done = await move(source.url, target.url, tmp_path)
            there = sent[0]
            await eventually_async(lambda: sent[0] > there + 200)
        await bus.flush()
        assert orders(target) == list(range(sent[0]))
        assert len(orders(source)) <= there  # nobody wrote to it after
        assert done.counts.entries > 100


async def test_what_was_trimmed_and_deleted_while_streams_were_copied_is_not_there(
    source: RedisServer, target: RedisServer, tmp_path: Path
) -> None:
    fill(source)
    stream = NAMES.stream("orders")

    def told(stage: MoveStage, _: Counts) -> None:
        if stage is MoveStage.HOLDING:
            source.command("XTRIM", stream, "MINID", "1100")
            source.command("XDEL", stream, "1300-1")
            source.command("XADD", stream, "9000-1", "b", '{"d":1}')
            source.command("DEL", NAMES.letters("orders"))

    await move(source.url, target.url, tmp_path, told)
    assert target.command("XRANGE", stream, "-", "+") == source.command("XRANGE", stream, "-", "+")
    assert target.command("EXISTS", NAMES.letters("orders")) == 0


async def test_where_somebody_writes_who_was_not_held_the_hive_stays_and_nothing_is_left_elsewhere(
    source: RedisServer, target: RedisServer, tmp_path: Path
) -> None:
    fill(source)

    def told(stage: MoveStage, _: Counts) -> None:
        if stage is MoveStage.COUNTING:
            source.command("XADD", NAMES.stream("orders"), "*", "b", "{}")

    async with member(source.url, tmp_path) as bus:
        with pytest.raises(HivemindError, match=r"orders.* is not the same on both sides: here .*1,200 entries"):
            await move(source.url, target.url, tmp_path, told)
        await are_up(bus)
        assert await bus.commands.execute("GET", NAMES.epoch("shop.0")) == b"17"
    assert target.command("DBSIZE") == 0
    assert moved(tmp_path) is None


async def test_where_the_new_server_goes_away_the_hive_stays_and_a_second_try_removes_what_the_first_left(
    source: RedisServer, target: RedisServer, tmp_path: Path
) -> None:
    fill(source)

    def told(stage: MoveStage, _: Counts) -> None:
        if stage is MoveStage.COUNTING:
            target.command("SET", f"hm:{HIVE}:left-over", "1")
            target.kill()

    async with member(source.url, tmp_path) as bus:
        with pytest.raises(HivemindError):
            await move(source.url, target.url, tmp_path, told)
        await are_up(bus)
        target.start()
        await move(source.url, target.url, tmp_path)
        await are_up(bus)
        assert await bus.commands.execute("GET", NAMES.epoch("shop.0")) == b"17"
    assert target.command("EXISTS", f"hm:{HIVE}:left-over") == 0


async def test_who_was_about_to_move_it_too_removes_nothing_once_the_hive_is_there(
    source: RedisServer, target: RedisServer, tmp_path: Path
) -> None:
    fill(source)
    await move(source.url, target.url, tmp_path)
    before = picture(target)
    with pytest.raises(HivemindError, match="somebody else moves a hive of that name there, or has just done so"):
        await move(source.url, target.url, tmp_path, number="two")
    assert picture(target) == before
    assert target.command("EXISTS", NAMES.move()) == 0
    assert lead(tmp_path, source.url) == target.url


async def test_a_hive_does_not_go_where_another_move_to_there_has_begun_anew(
    source: RedisServer, target: RedisServer, tmp_path: Path
) -> None:
    fill(source)
    other = Mark("two", Way.COMING, "there").raw

    def told(stage: MoveStage, _: Counts) -> None:
        if stage is MoveStage.COUNTING:
            target.command("SET", NAMES.move(), other)
            prepare(tmp_path, Moved("two", (source.url,), target.url))

    with pytest.raises(HivemindError, match="somebody else moves a hive of that name there"):
        await move(source.url, target.url, tmp_path, told)
    assert source.command("EXISTS", NAMES.move()) == 0
    assert target.command("GET", NAMES.move()) == other.decode()
    assert take_effect(tmp_path, "two")  # what the other one has written down is there


async def test_who_sends_faster_than_is_copied_keeps_no_hive_from_moving(
    source: RedisServer, target: RedisServer, tmp_path: Path
) -> None:
    def send(count: int) -> None:
        script = "for at = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'b', '{}') end"
        source.command("EVAL", script, "1", NAMES.stream("orders"), str(count))

    send(1500)
    told_of = [0]

    def told(stage: MoveStage, counts: Counts) -> None:
        if stage is MoveStage.FILLING and counts.entries:
            told_of[0] += 1
            assert told_of[0] < 20, "it never ends"
            send(2100)

    done = await move(source.url, target.url, tmp_path, told)
    assert done.counts.entries == 1500 + told_of[0] * 2100


DIES = """
import asyncio, os, sys
from pathlib import Path
from hivemind.data import hold
from tests.test_move import MoveStage, move
hold.LEASE, hold.RENEW = 1.0, 0.2
def told(stage, _):
    if stage is MoveStage(sys.argv[4]):
        os._exit(9)
asyncio.run(move(sys.argv[1], sys.argv[2], Path(sys.argv[3]), told))
"""


@pytest.mark.parametrize(("stage", "is_there"), [("copying", False), ("gone", True)])
async def test_who_moves_it_may_be_killed_and_the_hive_goes_on_here_or_there(
    source: RedisServer, target: RedisServer, tmp_path: Path, stage: str, is_there: bool
) -> None:
    fill(source)
    async with member(source.url, tmp_path) as bus:
        command = [sys.executable, "-c", DIES, source.url, target.url, str(tmp_path), stage]
        done = await asyncio.to_thread(subprocess.run, command, cwd=Path(__file__).parent.parent, check=False)
        assert done.returncode == 9
        await are_up(bus, within=10.0)
        await bus.commands.execute("SET", f"hm:{HIVE}:here", "1")
        assert target.command("EXISTS", f"hm:{HIVE}:here") == is_there
        if is_there:
            async with mover(source) as here, mover(target) as there:
                assert await follow(here, there, NAMES, Moved("two", (source.url,), target.url), tmp_path)
        else:
            await move(source.url, target.url, tmp_path, number="two")
        assert target.command("EXISTS", NAMES.move()) == 0
        await are_up(bus)
        assert await bus.commands.execute("GET", f"hm:{HIVE}:here") == b"1"


async def test_another_host_follows_and_is_told_where_to(
    source: RedisServer, target: RedisServer, tmp_path: Path
) -> None:
    await move(source.url, target.url, tmp_path / "alfa")
    beta = tmp_path / "beta"
    async with mover(source) as here, mover(target) as there:
        with pytest.raises(HivemindError, match=r"has moved to unix://.*: `hm redis move .*` first"):
            await follow(here, there, NAMES, Moved("two", (source.url,), "redis://elsewhere:1"), beta)
        assert await follow(here, there, NAMES, Moved("two", (source.url,), target.url), beta)
    assert lead(beta, source.url) == target.url


async def test_a_server_that_is_not_fit_for_the_hive_is_refused(
    source: RedisServer, target: RedisServer, make_server: MakeServer
) -> None:
    evicting = make_server(lines=(*FIT, "maxmemory 100mb", "maxmemory-policy allkeys-lru"))
    forgetful, gone = make_server(lines=("appendonly no",)), make_server()
    gone.stop()
    target.command("SET", f"hm:{HIVE}:mine", "1")
    async with mover(source) as here:
        await look_at_source(here, NAMES)
        for server, words in (
            (evicting, "is not fit for it: eviction: maxmemory-policy allkeys-lru"),
            (forgetful, "is not fit for it: persistence: appendonly no"),
            (source, "is where it is already"),
            (gone, f"the Redis to go to, {gone.url}, cannot be reached: .*; start that server, or correct the URL"),
        ):
            needs = Needs("memory" if server is source else "second")
            with pytest.raises(HivemindError, match=words):
                await look_at_target(as_mover(Endpoint.parse(server.url).of(HIVE)), NAMES, needs, here)
        at_target = as_mover(Endpoint.parse(target.url).of(HIVE))
        there = await look_at_target(at_target, NAMES, Needs(), here)
        with pytest.raises(HivemindError, match="has 1 key there: --replace removes them"):
            refuse_if_used(there, NAMES, replace=False)
        target.command("SADD", NAMES.nodes(), "batman.0")
        target.command("HSET", NAMES.node("batman.0"), "incarnation", "1")
        target.command("PEXPIRE", NAMES.node("batman.0"), "60000")
        with pytest.raises(HivemindError, match=r"a hive gotham lives there \(batman.0\)"):
            await look_at_target(at_target, NAMES, Needs(), here)


async def test_who_would_not_hear_of_the_move_keeps_the_hive_where_it_is(source: RedisServer) -> None:
    source.command("SADD", NAMES.nodes(), "batman.0")
    source.command("HSET", NAMES.node("batman.0"), "incarnation", "1", "about", '{"node":"batman"}')
    source.command("PEXPIRE", NAMES.node("batman.0"), "60000")
    async with mover(source) as here:
        with pytest.raises(HivemindError, match=r"batman.0 is of an older version, or may not say CLIENT SETNAME"):
            await look_at_source(here, NAMES)
        async with Commands(Endpoint.parse(source.url).of(HIVE), "hm:batman:out") as batman:
            await batman.execute("PING")
            await look_at_source(here, NAMES)
        source.command("SET", NAMES.roll(), "alfa", "PX", "60000")
        with pytest.raises(HivemindError, match="nodes are being rolled"):
            await look_at_source(here, NAMES)


def test_hm_moves_a_hive_says_so_and_goes_there_from_then_on(here: Place, make_server: MakeServer) -> None:
    target = make_server(lines=FIT)
    assert here.run("pub", "orders", "1", "--durable").returncode == 0
    refused = here.run("redis", "move", here.environ["HIVEMIND_REDIS_URL"])
    assert refused.returncode == 1
    assert refused.stderr.rstrip().endswith("; nothing was changed: the hive is where it was")
    done = here.run("redis", "move", target.url)
    assert done.returncode == 0, done.stderr
    assert " streams, 1 entries, 0 pending in " in done.stdout
    assert here.run("pub", "orders", "2", "--durable").returncode == 0
    assert target.command("XLEN", f"hm:{here.environ['HIVEMIND_HIVE_NAME']}:s:{{orders}}") == 2
    assert "is at unix://" in here.run("redis", "move", target.url).stdout
    shown = here.run("config").stdout
    assert target.url in shown
    assert "var/moved.json (hm redis move), instead of environment HIVEMIND_REDIS_URL" in shown


def test_a_hive_moves_on_and_back_and_no_password_is_told(here: Place, make_server: MakeServer) -> None:
    first, secret = make_server(lines=FIT), make_server(tcp=True, lines=(*FIT, "requirepass swordfish"))
    here.environ["HIVEMIND_REDIS_URL"] = first.url
    assert here.run("pub", "orders", "1", "--durable").returncode == 0
    told = here.run("redis", "move", f"redis://:swordfish@127.0.0.1:{secret.port}")
    assert told.returncode == 0, told.stderr
    shown = here.run("config").stdout
    assert f"redis://:***@127.0.0.1:{secret.port}" in shown
    mark = first.command("GET", Names(here.environ["HIVEMIND_HIVE_NAME"]).move())
    assert "swordfish" not in told.stdout + told.stderr + shown + mark
    (file,) = here.folder.rglob("moved.json")
    assert file.stat().st_mode & 0o77 == 0
    assert here.run("redis", "move", first.url).returncode == 1  # what it left there is still there
    done = here.run("redis", "move", first.url, "--replace", "--yes")
    assert done.returncode == 0, done.stderr
    assert here.run("pub", "orders", "2", "--durable").returncode == 0
    assert first.command("XLEN", f"hm:{here.environ['HIVEMIND_HIVE_NAME']}:s:{{orders}}") == 2
