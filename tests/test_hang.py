"""What hangs is found within eight seconds with the settings as they are, shows where it was, and is replaced."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from .hive_kit import Hive, hive_in, kill, well
from .node_kit import registered, workshop
from .servers import RedisServer
from .waiting import eventually

pytestmark = [pytest.mark.alone, pytest.mark.timeout(150)]

DEFAULTS = "HEARTBEAT = 2.0\nLEASE = 6.0"  # the kit is in a hurry otherwise
FOUND = 8.0  #: seconds after it began to hang
BLOCKED = """
import pathlib, time
from hivemind import Node, subscription

class {name}(Node):
    @subscription("orders", durable=True, since="all")
    async def packs_for_ever(self, payload):
        if pathlib.Path("hung-{topic}").exists():
            pathlib.Path("packed").open("a").write(f"{payload}\\n")
            return
        pathlib.Path("hung-{topic}").write_text(str(time.time()))
        while True:
            time.sleep(60)
"""
LOCKED = """
import pathlib, threading, time
from hivemind import Node, subscription

class {name}(Node):
    @subscription("lock")
    async def takes_a_lock_twice(self, payload):
        pathlib.Path("hung-{topic}").write_text(str(time.time()))
        lock = threading.Lock()
        with lock, lock:
            pass
"""
IDLE = """
from hivemind import Node, subscription

class {name}(Node):
    @subscription("nothing")
    def nothing(self, payload):
        pass
"""


@dataclass
class Hanging:
    """A hive, and the pids that its programs had before."""

    hive: Hive
    before: dict[str, int | None]

    def found(self, name: str) -> float:
        """When hived found that it hangs, in unix seconds."""
        said = rf"(\S+) ERROR .* {name}\.0 \(process .* hangs"
        line = eventually(lambda: re.search(said, self.hive.log("hived")), within=30)
        assert line is not None
        return datetime.fromisoformat(line[1]).timestamp()


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hanging]:
    """A hive in which three nodes hang from the same moment on, each in its way, and one does not."""
    with hive_in(tmp_path_factory.mktemp("hang") / "gotham", more=DEFAULTS) as made:
        for name, code in (("blocked", BLOCKED), ("locked", LOCKED), ("frozen", IDLE), ("well", IDLE)):
            made.node(name, code)
        made.start()
        eventually(lambda: well(made), within=30)
        for name in ("blocked", "locked"):
            eventually(lambda name=name: "running:" in made.log(name), within=30)  # type: ignore[misc]
        before = made.pids()
        assert made.run("hm", "pub", "lock", "1").returncode == 0
        assert made.run("hm", "pub", "--durable", "orders", '"a bottle"').returncode == 0
        kill(made.copies("frozen")[0], signal.SIGSTOP)
        (made.folder / "hung-frozen").write_text(str(time.time()))
        yield Hanging(made, before)


@pytest.mark.parametrize("name", ["blocked", "locked", "frozen"])
def test_it_is_found_within_eight_seconds_and_replaced(hanging: Hanging, name: str) -> None:
    began = float(eventually((hanging.hive.folder / f"hung-{name}").read_text, within=10))
    took = hanging.found(name) - began
    print(f"{name} was found after {took:.1f} s")
    assert took < FOUND
    eventually(lambda: hanging.hive.program(f"{name}.0").pid not in (None, hanging.before[f"{name}.0"]), within=20)


@pytest.mark.parametrize(("name", "where"), [("blocked", "packs_for_ever"), ("locked", "takes_a_lock_twice")])
def test_where_it_hung_is_in_its_log(hanging: Hanging, name: str, where: str) -> None:
    hanging.found(name)
    eventually(lambda: where in hanging.hive.log(name), within=10)
    told = rf"it died of SIGKILL after .*, killed because it hung at nodes/{name}/{name}\.py:\d+\."
    eventually(lambda: re.search(told, hanging.hive.run("hm", "why", name).stdout), within=20)


def test_what_it_held_is_handled_by_its_successor_once_and_nobody_else_notices(hanging: Hanging) -> None:
    packed = hanging.hive.folder / "packed"
    assert eventually(lambda: packed.exists() and packed.read_text(), within=30) == "a bottle\n"
    eventually(lambda: well(hanging.hive), within=30)
    assert packed.read_text() == "a bottle\n"
    assert hanging.hive.program("well.0").pid == hanging.before["well.0"]


SHOP = """
import asyncio, pathlib
from hivemind import Node, subscription

class Shop(Node):
    @subscription("orders", durable=True, since="all")
    async def pack(self, payload):
        print(f"begins {payload}", flush=True)
        while not pathlib.Path("open").exists():
            await asyncio.sleep(0.01)
"""


def test_a_thawed_copy_begins_nothing_that_its_successor_has_and_acknowledges_nothing(
    tmp_path: Path, server: RedisServer, hive_name: str
) -> None:
    with workshop(tmp_path, server, hive_name) as made:
        made.write("shop.py", SHOP)
        zombie = made.run("shop.py", "--number", "0")
        zombie.says("running")
        for number in range(1, 6):
            assert made.python("-m", "hivemind.cli.hm", "pub", "--durable", "orders", str(number)).ends(20) == 0
        zombie.says("begins 1")
        zombie.signal(signal.SIGSTOP)
        eventually(lambda: registered(server, hive_name, "shop.0") is None, within=10)
        made.write("open", "")
        successor = made.run("shop.py", "--number", "0")
        successor.says("begins 5", within=30)
        eventually(lambda: acknowledged(server, hive_name) == 5, within=20)
        zombie.signal(signal.SIGCONT)
        assert zombie.ends(within=20) == 0
        assert zombie.output.count("begins") == 1
        assert successor.output.count("begins") == 5
        assert acknowledged(server, hive_name) == 5


def acknowledged(server: RedisServer, hive: str) -> int:
    """What the copy that is registered says that it has acknowledged."""
    entry = registered(server, hive, "shop.0")
    return int(entry["subscriptions"][0]["acknowledged"]) if entry is not None else 0
