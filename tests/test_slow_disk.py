"""A Redis whose disk takes 1.5 s for each write that is asked for (fsync): nodes go on, and `hm doctor` says so.

What is lost is what a tier says, whether Redis is killed or the power fails meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hivemind.bus.appender import DurableOutbox
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.facts import facts_of
from hivemind.cli.reading import read_instances
from hivemind.data.checkup import Level, Needs, findings
from hivemind.errors import RedisError
from hivemind.retention import Tier

from .disk_kit import SlowDisk
from .hive_kit import hive_in
from .redis_troubles import Store, restarted
from .servers import Kind, RedisServer
from .test_appender import numbers
from .test_confirm import WITHOUT_WAITAOF, send, sending
from .test_power import WINDOW, power_cut
from .waiting import eventually

SLOW = 1.5  #: seconds that the disk takes
LOOK = 0.5  #: seconds between two writes, at most, and for noticing
SENDS = 4.0  #: seconds: it is asked to write a few times by then
AT_ONCE, UNCONFIRMED = 10, 5  #: messages
LASTS = 12.0  #: seconds for which the disk of a hive is slow
PER_SECOND = 20  #: messages that the hive's nodes send
USUAL = "HEARTBEAT = 2.0\nLEASE = 6.0"
Break = Callable[[RedisServer], object]


@pytest.mark.drill
@pytest.mark.every_server
@pytest.mark.parametrize("tier", [Tier.SECOND, Tier.DISK])
@pytest.mark.parametrize(("how", "window"), [(RedisServer.kill, WINDOW), (power_cut, 2 * SLOW + LOOK)])
def test_of_what_was_confirmed_as_much_is_lost_as_its_tier_says_and_that_is_told(
    server_kind: Kind,
    server_program: Path,
    slow_disk: SlowDisk,
    tier: Tier,
    how: Break,
    window: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fsync = "always" if tier is Tier.DISK and server_kind in WITHOUT_WAITAOF else "everysec"
    with RedisServer(server_program, lines=[f"appendfsync {fsync}"], environment=slow_disk.environment) as server:
        ages = asyncio.run(_ages_of_what_was_lost(server, slow_disk, tier, how))
    assert max(ages, default=0.0) <= (window if tier is Tier.SECOND else 0.0)
    told = [one.getMessage() for one in caplog.records if "it has lost" in one.getMessage()]
    assert bool(told) is bool(ages), "what is gone is counted"
    assert not told or f"it has lost {len(ages):,} messages of n that it had taken" in told[0]


async def _ages_of_what_was_lost(server: RedisServer, disk: SlowDisk, tier: Tier, how: Break) -> list[float]:
    """For how many seconds each message had been confirmed that is not there; what was not confirmed is sent again."""
    async with sending(server.url, tier) as outbox:
        send(outbox, 0)
        await outbox.flush(10.0)
        disk.takes(SLOW)
        confirmed = await _confirmed(outbox)
        rest = range(len(confirmed) + 1, len(confirmed) + 1 + UNCONFIRMED)
        cut = time.monotonic()
        how(server)
        send(outbox, *rest)
        disk.takes(0.0)
        server.start()
        await outbox.flush(20.0)
    there = {*await numbers(server.url, "n")}
    assert {*rest} <= there
    lost = [cut - at for number, at in confirmed.items() if number not in there]
    print(f"{len(confirmed)} confirmed, {len(lost)} lost, the oldest {max(lost, default=0.0):.2f} s")
    return lost


async def _confirmed(outbox: DurableOutbox) -> dict[int, float]:
    """When each number was confirmed that was sent for a while."""
    confirmed: dict[int, float] = {}
    until = time.monotonic() + SENDS + random.random() * SLOW  # anywhere between two writes to the disk
    while time.monotonic() < until:
        some = range(len(confirmed) + 1, len(confirmed) + 1 + AT_ONCE)
        send(outbox, *some)
        await outbox.flush(10.0)
        confirmed |= dict.fromkeys(some, time.monotonic())
    return confirmed


@pytest.mark.drill
@pytest.mark.timeout(180)
@pytest.mark.parametrize("confirm", ["second", "disk"])
def test_a_hive_goes_on_nobody_is_lost_or_restarted_and_it_is_said_what_is_slow(
    tmp_path: Path, slow_disk: SlowDisk, confirm: str
) -> None:
    with hive_in(tmp_path / "gotham", more=f"{USUAL}\nCONFIRM = {confirm!r}") as hive:
        hive.environ |= slow_disk.environment
        store = Store(hive)
        store.open()
        pids, lives = store.pids, seen(store)
        slow_disk.takes(SLOW)
        lost, until = set[str](), time.monotonic() + LASTS
        while time.monotonic() < until:
            store.flows(within=30.0)  # with "disk" all that waits for Redis waits for a write, again and again
            lost |= {name for name, is_lost in seen(store) - lives if is_lost}
        if confirm == "second":  # where each write waits for the disk nobody new gets in
            eventually(lambda: "yellow  its disk: " in hive.run("hm", "doctor").stdout, within=20)
        slow_disk.takes(0.0)
        store.flows()
        assert (lost, store.pids, seen(store)) == (set(), pids, lives)
        store.close()
        assert store.noted("got-order") == store.noted("sent-order")
        assert "registering again" not in hive.log("till") + hive.log("shop")


def seen(store: Store) -> set[tuple[str, bool]]:
    """Who is in the registry, in which life, and whether it is lost; nobody where that cannot be read now."""
    try:
        found = read_instances(store.hive.engine.settings)
    except RedisError:
        return set()
    return {(f"{one.instance}.e{one.incarnation}", one.is_lost) for one in found}


@pytest.mark.drill
@pytest.mark.timeout(180)
def test_redis_killed_while_its_disk_is_slow_loses_two_seconds_of_a_hive_at_the_most(
    tmp_path: Path, slow_disk: SlowDisk
) -> None:
    with hive_in(tmp_path / "gotham", more=USUAL) as hive:
        hive.environ |= slow_disk.environment
        store = Store(hive)
        store.open()
        pids = store.pids
        slow_disk.takes(SLOW)
        store.flows()
        with restarted(store):
            store.flows()
        slow_disk.takes(0.0)
        store.close()
        lost = {*store.noted("sent-order")} - {*store.noted("got-order")}
        assert len(lost) <= WINDOW * PER_SECOND
        assert store.pids == pids


@pytest.mark.every_server
async def test_it_is_found_while_it_is_slow_and_not_before(server_program: Path, slow_disk: SlowDisk) -> None:
    with RedisServer(server_program, lines=["appendfsync everysec"], environment=slow_disk.environment) as server:
        endpoint = Endpoint.parse(server.url)

        async def found() -> Level:
            (facts,) = await facts_of(endpoint, "t")
            (one,) = [one for one in findings([facts], Needs()) if one.subject == "its disk"]
            print(one.text)
            return one.level

        server.command("SET", "a", 1)
        assert await found() is Level.GREEN
        slow_disk.takes(SLOW)
        eventually(lambda: server.command("SET", "a", 1) and "aof_pending_bio_fsync:1" in server.command("INFO"))
        assert await found() is Level.YELLOW
