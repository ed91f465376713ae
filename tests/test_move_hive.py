"""A hive that hived runs leaves its own Redis for another under load: nobody is restarted, nothing durable is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hivemind.bus.embedded import Embedded
from hivemind.whereabouts import moved

from .busy_kit import NODES, Books, begin, quiet
from .hive_kit import Hive, well
from .servers import Connection, RedisServer
from .waiting import eventually

INSTANCES = [f"{name}.0" for name in NODES]


def incarnations(socket: Path) -> list[str]:
    with Connection(socket) as connection:
        return [connection.ask("HGET", f"hm:{{gotham}}:node:{name}", "incarnation") for name in INSTANCES]


@pytest.mark.timeout(180)
def test_a_hive_under_load_leaves_its_own_redis_and_loses_and_doubles_nothing_durable(
    gotham: Hive, make_server: Callable[..., RedisServer]
) -> None:
    target = make_server(lines=("appendfsync everysec",))
    begin(gotham)
    books, before = Books(gotham.folder / "cave"), gotham.pids()
    lives = incarnations(Embedded.of(gotham.engine.settings).socket)
    eventually(lambda: len(books.read().sent["kept"]) > 100, within=20)
    said = gotham.run("hm", "redis", "move", target.url, timeout=120)
    assert said.returncode == 0, said.stdout + said.stderr
    assert re.search(r"^moved \d+ keys, \d+ streams, [\d,]+ entries, \d+ pending in ", said.stdout)
    there = len(books.read().sent["kept"])
    eventually(lambda: len(books.read().sent["kept"]) > there + 100, within=20)
    with quiet(gotham, books, ("kept",)):
        print(said.stdout)
    eventually(lambda: well(gotham), within=20)
    assert gotham.pids() == {name: pid for name, pid in before.items() if name != "redis"}
    assert incarnations(target.socket) == lives
    assert not gotham.processes("hivemind.bus.embedded")
    assert (gotham.folder / "var/redis/appendonlydir").is_dir()
    found = moved(gotham.folder / "var")
    assert found is not None
    assert found.to == target.url
    gotham.configure(f'REDIS_URL = "{target.url}"')  # as it is by now: that restarts nobody, either
    done = gotham.run("hived", "reload")
    assert "nothing changed: nothing was touched" in done.stdout, done.stdout + done.stderr
