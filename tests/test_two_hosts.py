"""One hive on two hosts, each with a hived of its own: two folders on this machine, told apart by HIVEMIND_HOST."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from hivemind.supervisor.placement import homes

from .hive_kit import Hive, hive_in, well
from .servers import RedisServer
from .waiting import eventually

HOSTS = {"alfa": [], "beta": ["roomy"]}
NODES = {"batman": {"replicas": 2}, "robin": {"hosts": ["@roomy"]}}


@dataclass
class Pair:
    """The hive's folder on each host."""

    alfa: Hive
    beta: Hive

    def at(self, host: str) -> Hive:
        return self.alfa if host == "alfa" else self.beta

    def home(self, copy: int) -> str:
        """Where a copy of batman is at home."""
        return homes("batman", copy + 1, HOSTS)[copy]

    def well(self) -> str:
        """What `hm status` on alfa says when all is well."""
        done = self.alfa.run("hm", "status", "--wait", "40")
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def pair(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A hive that runs; each test leaves it well."""
    more = f"REDIS_URL = {server.url!r}\nHOSTS = {HOSTS}\nNODES = {NODES}"
    with ExitStack() as stack:
        made: list[Hive] = []
        for host in HOSTS:
            hive = stack.enter_context(hive_in(tmp_path_factory.mktemp(host) / "gotham", "two-hosts", more))
            hive.environ["HIVEMIND_HOST"] = host
            hive.node("batman")
            hive.node("robin")
            assert hive.run("hived", "start").returncode == 0
            made.append(hive)
        pair = Pair(*made)
        pair.well()
        yield pair


@pytest.mark.drill
def test_each_copy_runs_at_home_and_all_are_seen_from_anywhere(pair: Pair) -> None:
    assert "3 instances of 2 nodes run on alfa (1), beta (2)" in pair.well()
    nodes = pair.alfa.run("hm", "nodes").stdout
    rows = {row.split()[0]: row.split()[2] for row in nodes.splitlines()[1:]}
    assert rows == {"batman.0": pair.home(0), "batman.1": pair.home(1), "robin.0": "beta"} | {
        name: host for name, host in rows.items() if name.startswith("root")
    }
    named = pair.alfa.environ.pop("HIVEMIND_HOST")  # hived was started with it, who looks may be without
    assert "3 instances of 2 nodes run on alfa (1), beta (2)" in pair.well()
    here = pair.alfa.run("hived", "status")
    pair.alfa.environ["HIVEMIND_HOST"] = named
    assert "this is alfa" in here.stderr
    assert (here.returncode, "robin" in here.stdout) == (0, False)
    assert "on beta: " in here.stderr
    assert "robin.0" in here.stderr


def test_the_root_of_each_host_is_shown_though_one_of_them_alone_is_registered(pair: Pair) -> None:
    for hive in (pair.alfa, pair.beta):
        rows = [line.split() for line in hive.run("hm", "nodes").stdout.splitlines() if line.startswith("root")]
        assert sorted(row[2] for row in rows) == ["alfa", "beta"]
        assert [row[:2] for row in rows] == [["root.0", "running"], ["root", "standby"]]
    listed = pair.alfa.run("hm", "nodes", "--json").stdout
    assert listed.count('"instance":"root.') == 1


def test_commands_reach_the_host_that_has_what_is_meant(pair: Pair) -> None:
    before = pair.beta.pids()
    assert pair.alfa.run("hm", "restart", "robin").stdout == "robin.0: restarted\n"
    assert pair.beta.pids()["robin.0"] != before["robin.0"]
    stopped = pair.alfa.run("hm", "stop", "batman").stdout
    assert sorted(stopped.splitlines()) == sorted(f"batman.{copy} on {pair.home(copy)}: stopped" for copy in (0, 1))
    assert "are stopped by `hm stop`" in pair.well()
    assert pair.beta.run("hm", "start", "batman").returncode == 0


@pytest.mark.drill
def test_a_node_is_scaled_on_all_hosts(pair: Pair) -> None:
    assert pair.alfa.run("hm", "scale", "robin", "2").returncode == 0
    assert {"robin.0", "robin.1"} <= pair.beta.states().keys()
    done = pair.beta.run("hm", "scale", "batman", "4")
    assert (done.returncode, done.stdout.count("started")) == (0, 2)
    counts = [sum(name.startswith("batman") for name in hive.states()) for hive in (pair.alfa, pair.beta)]
    assert counts == [2, 2]
    assert pair.alfa.run("hm", "scale", "robin", "1").returncode == 0
    assert pair.alfa.run("hm", "scale", "batman", "2").returncode == 0


@pytest.mark.drill
def test_a_roll_goes_through_all_hosts(pair: Pair) -> None:
    before = [hive.pids() for hive in (pair.alfa, pair.beta)]
    done = pair.alfa.run("hm", "roll", "batman", timeout=120)
    assert done.returncode == 0, done.stdout
    for old, hive in zip(before, (pair.alfa, pair.beta), strict=True):
        after = hive.pids()
        assert {name for name in old if after[name] != old[name]} == {n for n in old if n.startswith("batman")} != set()


@pytest.mark.drill
def test_logs_come_from_the_host_that_has_them(pair: Pair) -> None:
    done = pair.alfa.run("hm", "logs", "robin")
    assert (done.returncode, "robin.0@beta  running" in done.stdout) == (0, True)


@pytest.mark.drill
def test_a_reload_moves_what_has_another_home_now(pair: Pair) -> None:
    files = [hive.folder / "config/hive.py" for hive in (pair.alfa, pair.beta)]
    before = files[0].read_text()
    for file in files:
        file.write_text(before.replace("@roomy", "alfa"))
    assert pair.beta.run("hived", "reload").stdout == "robin.0: stopped\n"
    assert pair.alfa.run("hived", "reload").stdout == "robin.0: started\n"
    assert "on alfa (2), beta (1)" in pair.well()
    for file, hive in zip(files, (pair.alfa, pair.beta), strict=True):
        file.write_text(before)
        assert hive.run("hived", "reload").returncode == 0
    pair.well()


@pytest.mark.drill
def test_a_host_that_is_away_is_named_and_nobody_takes_its_place(pair: Pair) -> None:
    before = pair.alfa.pids()
    assert pair.beta.run("hived", "stop").returncode == 0
    status = pair.alfa.run("hm", "status")
    assert status.returncode == 1
    assert "no hived answers on beta, the home of batman." in status.stdout
    restarted = pair.alfa.run("hm", "restart", "robin")
    told = "robin.0: no hived answers on beta, its home: `hived start` there, then ask again\n"
    assert (restarted.returncode, restarted.stdout) == (1, told)
    assert "robin.0 should run, but does not: no hived answers on beta" in pair.alfa.run("hm", "why", "robin").stdout
    assert pair.alfa.pids() == before
    assert pair.beta.run("hived", "start").returncode == 0
    eventually(lambda: well(pair.beta), within=20)
    pair.well()
