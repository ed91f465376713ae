"""One hive on two hosts with networks, process tables and names of their own, and Redis behind wires that are cut."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .hive_kit import Hive
from .hosts_kit import Host, Wire, two_hosts
from .waiting import eventually

pytestmark = [pytest.mark.root_only, pytest.mark.drill, pytest.mark.timeout(300)]
MORE = """
REDIS_URL = {url!r}
HOSTS = {{"alfa": [], "beta": ["roomy"]}}
NODES = {{"batman": {{"replicas": 2}}, "robin": {{"hosts": ["@roomy"]}}}}
"""


class Far(Hive):
    """The hive's folder on one of the hosts, where its commands run."""

    def __init__(self, host: Host, folder: Path, url: str, wire: Wire) -> None:
        super().__init__(folder, "apart", MORE.format(url=url))
        self.host, self.wire = host, wire
        self.node("batman")
        self.node("robin")

    def command(self, program: str, *arguments: str) -> list[str]:
        line = (sys.executable, "-m", f"hivemind.cli.{program}", "--hive", str(self.folder), *arguments)
        return self.host.inside(*line)

    warm = command

    def running(self) -> dict[str, int]:
        """The pids of its nodes."""
        found = json.loads(self.run("hived", "status", "--json").stdout)["programs"]
        return {each["name"]: each["pid"] for each in found if "." in each["name"]}

    def well(self) -> str:
        done = self.run("hm", "status", "--wait", "60", timeout=90)
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def apart(server_program: Path, tmp_path: Path) -> Iterator[dict[str, Far]]:
    with two_hosts(server_program, tmp_path) as made, ExitStack() as stack:
        hives = {}
        for name, host in made.hosts.items():
            hives[name] = Far(host, tmp_path / name / "gotham", made.address(name), made.wires[name])
            stack.callback(hives[name].end)
            assert hives[name].run("hived", "start").returncode == 0
        yield hives


def test_a_hive_on_two_hosts_goes_on_when_one_is_cut_off_and_no_copy_gets_a_second_home(apart: dict[str, Far]) -> None:
    alfa, beta = apart["alfa"], apart["beta"]
    assert "3 instances of 2 nodes run on alfa (1), beta (2)" in alfa.well()
    assert alfa.run("hm", "restart", "robin").stdout == "robin.0: restarted\n"
    assert "robin.0@beta  running" in alfa.run("hm", "logs", "robin").stdout
    before = {name: hive.running() for name, hive in apart.items()}
    assert sorted(copy for found in before.values() for copy in found) == ["batman.0", "batman.1", "robin.0"]
    beta.wire.is_cut = True
    eventually(lambda: "no hived answers on beta" in alfa.run("hm", "status").stdout, within=40)
    assert "no hived answers on beta" in alfa.run("hm", "restart", "robin").stdout
    assert {name: hive.running() for name, hive in apart.items()} == before
    beta.wire.is_cut = False
    alfa.well()
    assert {name: hive.running() for name, hive in apart.items()} == before
