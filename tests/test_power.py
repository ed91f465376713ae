"""The power fails: everything ends at once, files are half written, and what ran is named by files of another boot."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hivemind.identity import PidFile, ProcessIdentity
from hivemind.retention import Tier

from .disk_kit import SlowDisk
from .hive_kit import SENDER, Hive, hive_in, well
from .node_kit import Workshop, registered, workshop
from .servers import Kind, RedisServer
from .test_appender import numbers
from .test_confirm import WITHOUT_WAITAOF, send, sending
from .test_foreground import Terminal
from .waiting import eventually

BOOT = "another boot/4026531836"
ROUNDS = 10
SENDS = 3.0  # seconds: Redis has written to its disk a few times by then
AT_ONCE = 10
WINDOW = 2.0  # seconds that the tier `second` may lose, by docs/delivery.md
SPOILT = ("run/plan.json", "run/hived.json", "enabled.json", "settings.json", "stopped.json", "scale.json")

pytestmark = pytest.mark.drill


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    with hive_in(tmp_path) as made:
        made.node("batman", SENDER)
        made.node("robin")
        yield made


def kill_all(hive: Hive) -> None:
    """All at once, as far as that goes: nobody can start another again."""
    for each in hive.processes():
        each.suspend()
    found = list({each.pid: each for each in (*hive.processes(), *hive.servers())}.values())
    for each in found:
        each.kill()
    psutil.wait_procs(found, timeout=10)
    assert hive.processes() == []


def half(path: Path) -> None:
    """As a disk may leave a file that was being written."""
    content = path.read_bytes() if path.exists() else b'{"batman": 1, "robin"'
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.timeout(240)
def test_after_a_power_cut_all_is_back_whatever_files_it_left(hive: Hive) -> None:
    hive.start()
    eventually(lambda: well(hive), within=60)
    kill_all(hive)
    var, me = hive.folder / "var", ProcessIdentity.current()
    for name in SPOILT:
        half(var / name)
    stale = replace(me, boot=BOOT)  # the same pid is taken again, and it started as long after the boot
    for name in ("run/supervisord.identity", "run/batman.0.pid", "run/foreground.pid", "redis/redis.pid"):
        PidFile(var / name).write(stale, "digest")
    half(var / "run/robin.0.pid")
    (var / "supervisord.pid").write_text(f"{me.pid}\n")
    (var / "run/root.lives").write_text("{")
    unit = Terminal(hive, "hived", "start", "--foreground")  # as conf/hived.service does
    eventually(lambda: well(hive) and len(hive.copies("batman")) == len(hive.copies("robin")) == 1, within=60)
    assert unit.end() == 0
    assert hive.processes() == []


def power_cut(server: RedisServer) -> int:
    """Leave of a server what was surely on its disk; return how many bytes were not."""
    server.kill()
    gone = 0
    for file in (server.folder / "appendonlydir").glob("*.incr.aof"):
        note = file.with_name(f"{file.name}.synced")
        size = int(note.read_text()) if note.exists() else 0
        gone += file.stat().st_size - size
        os.truncate(file, size)
        note.unlink(missing_ok=True)
    return gone


@pytest.mark.every_server
@pytest.mark.parametrize("tier", [Tier.SECOND, Tier.DISK])
def test_a_power_cut_takes_of_what_was_confirmed_no_more_than_its_tier_says(
    server_kind: Kind, server_program: Path, slow_disk: SlowDisk, tier: Tier
) -> None:
    fsync = "always" if tier is Tier.DISK and server_kind in WITHOUT_WAITAOF else "everysec"
    with RedisServer(server_program, lines=[f"appendfsync {fsync}"], environment=slow_disk.environment) as server:
        ages = asyncio.run(_ages_of_what_was_lost(server, tier))
        if tier is Tier.DISK:
            assert ages == []
        else:
            assert ages, "nothing was lost, so nothing was tried"
            assert max(ages) <= WINDOW


async def _ages_of_what_was_lost(server: RedisServer, tier: Tier) -> list[float]:
    """For how many seconds each message had been confirmed that a power cut took away."""
    confirmed: dict[int, float] = {}
    until = time.monotonic() + SENDS + random.random()  # anywhere between two writes to the disk
    async with sending(server.url, tier) as outbox:
        while time.monotonic() < until:
            some = range(len(confirmed), len(confirmed) + AT_ONCE)
            send(outbox, *some)
            await outbox.flush(10.0)
            confirmed |= dict.fromkeys(some, time.monotonic())
        cut, gone = time.monotonic(), power_cut(server)
    server.start()
    there = {*await numbers(server.url, "n")}
    lost = [cut - at for number, at in confirmed.items() if number not in there]
    print(f"{len(confirmed)} confirmed, {len(lost)} lost with {gone} bytes, the oldest {max(lost, default=0.0):.2f} s")
    return lost


TILL = """
    from hivemind import Node, service

    class Till(Node):
        @service("sale", durable=True, every=0.05)
        def sell(self, service):
            with open("sold", "a+") as file:
                file.seek(0)
                number = file.read().count(";")
                service.send(number)
                service.flush()
                file.write(f"{number};")
"""
SHOP = """
    from hivemind import Node, subscription

    class Shop(Node):
        @subscription("sale", durable=True, since="all")
        def pack(self, payload):
            with open("packed", "a") as file:
                file.write(f"{payload};")
"""
ROOT = "from hivemind import RootController\nRootController.exec_()\n"
NAMES = ("redis", "till.0", "shop.0", "shop.1", "root a", "root b")
NODES = [name for name in NAMES if "." in name]


class Crew:
    """A sender, two copies of who handles, two roots and Redis, each of which may be started before any other."""

    def __init__(self, shop: Workshop, server: RedisServer) -> None:
        self.shop, self.server = shop, server
        self.lives: dict[str, int] = {}
        shop.write("till.py", TILL)
        shop.write("shop.py", SHOP)
        shop.write("root.py", ROOT)

    def start(self, name: str) -> None:
        if name == "redis":
            self.server.start()
        elif name.startswith("root"):
            self.shop.python("root.py", HIVEMIND_HIVE_DEFAULT_PORT="0")
        else:
            node, _, number = name.partition(".")
            self.shop.run(f"{node}.py", "--number", number)

    def is_together(self) -> bool:
        """Whether all nodes are registered in new lives."""
        now = {name: registered(self.server, self.shop.hive, name) for name in NODES}
        for name, one in now.items():
            assert one is not None, name
            assert one["incarnation"] > self.lives.get(name, 0), name
        self.lives = {name: one["incarnation"] for name, one in now.items() if one is not None}
        return True

    def kill(self) -> None:
        """All at once."""
        for each in self.shop.running:
            each.process.kill()
        self.server.kill()
        self.shop.close()
        self.shop.running.clear()

    def wrote(self, name: str) -> set[int]:
        """The numbers that were sold, and Redis had confirmed, or that were packed."""
        path = self.shop.folder / name
        return set(map(int, re.findall(r"(\d+);", path.read_text()))) if path.exists() else set()


@pytest.mark.timeout(ROUNDS * 90)
def test_all_killed_at_once_and_started_in_any_order_comes_together(
    own_server: RedisServer, tmp_path: Path, hive_name: str
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with workshop(tmp_path, own_server, hive_name) as shop:
        crew = Crew(shop, own_server)
        own_server.stop()
        for at in range(ROUNDS + 1):
            if at:
                crew.kill()
            packed = crew.wrote("packed")
            for name in chance.sample(NAMES, len(NAMES)):
                crew.start(name)
            eventually(crew.is_together, within=45)
            eventually(lambda packed=packed: len(crew.wrote("packed") - packed) > 5, within=45)  # type: ignore[misc]
        sold = crew.wrote("sold")
        eventually(lambda: sold <= crew.wrote("packed"), within=45)
