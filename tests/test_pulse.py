"""Nodes that other engines than hived run: their numbers, their probes, and what an export says of them, really run."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml as reader

from hivemind.probe import Sign, judge
from hivemind.supervisor.export.kubernetes import kubernetes
from hivemind.supervisor.export.reading import read
from hivemind.supervisor.export.systemd import systemd

from .hive_kit import SENDER, Hive, hive_in
from .node_kit import NodeProcess, Workshop, registered, workshop
from .servers import RedisServer
from .test_export import parsed
from .test_node_process import TICKER
from .waiting import eventually

CONTAINER = ["unshare", "-p", "-m", "--fork", "--kill-child", "--mount-proc"]
PATIENT = {"HIVEMIND_HEARTBEAT": "1", "HIVEMIND_LEASE": "4"}  # nobody who is only kept waiting by others is to end
RUNNING = Sign("running", True, 100.0, 6.0)


@pytest.fixture
def shop(tmp_path: Path, own_server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, own_server, hive_name) as made:
        made.write("ticker.py", TICKER)
        yield made


@pytest.fixture
def hive(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Hive]:
    with hive_in(tmp_path / "100% gotham", hive_name, f'REDIS_URL = "{server.url}"') as made:
        made.node("batman", SENDER)
        yield made


def probe(question: str, file: Path) -> tuple[bool, str]:
    """What an engine is told when it asks."""
    command = [sys.executable, "-P", "-m", "hivemind.probe", question, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0, done.stdout.strip()


@pytest.mark.parametrize(
    ("question", "sign", "now", "answer"),
    [
        ("alive", RUNNING, 105.9, True),
        ("alive", RUNNING, 106.1, False),
        ("alive", RUNNING, 1.0, False),  # of before the machine was started
        ("alive", None, 1.0, False),
        ("ready", RUNNING, 101.0, True),
        ("ready", RUNNING, 200.0, False),
        ("ready", Sign("standby", False, 100.0, 6.0), 101.0, False),
        ("alive", Sign("standby", False, 100.0, 6.0), 101.0, True),
    ],
)
def test_a_probe_believes_a_sign_for_as_long_as_it_holds(
    question: str, sign: Sign | None, now: float, answer: bool
) -> None:
    assert judge(question, sign, now)[0] == answer


def test_a_sign_is_read_as_it_was_written_and_nothing_else_is() -> None:
    assert Sign.parse(str(RUNNING)) == RUNNING
    assert [Sign.parse(text) for text in ("", "running yes", "running yes 1 x", "a b c d e")] == [None] * 4


def test_a_node_is_alive_while_its_loop_turns_and_ready_while_it_consumes(
    shop: Workshop, own_server: RedisServer
) -> None:
    own_server.stop()
    file = shop.folder / "probe"
    node = shop.run("ticker.py", HIVEMIND_PROBE=str(file), **PATIENT)
    eventually(lambda: probe("alive", file) == (True, "starting"), within=20)
    assert probe("ready", file) == (False, "starting")
    own_server.start()
    eventually(lambda: probe("ready", file) == (True, "running"), within=20)
    own_server.stop()
    eventually(lambda: probe("ready", file) == (False, "running, but Redis is away"), within=20)
    assert probe("alive", file)[0]
    node.signal(signal.SIGSTOP)
    eventually(lambda: "has stood still" in probe("alive", file)[1], within=20)


def test_a_node_whose_loop_stands_still_writes_its_stacks_and_ends(shop: Workshop) -> None:
    shop.write(
        "stuck.py",
        """
        import time
        from hivemind import Node

        class Stuck(Node):
            async def on_start(self):
                print("stuck", flush=True)
                time.sleep(600)
    """,
    )
    node = shop.run("stuck.py", HIVEMIND_PROBE=str(shop.folder / "probe"), **PATIENT)
    node.says("stuck")
    assert node.ends(within=20) == 1
    assert "in on_start" in node.output


def test_copies_that_are_started_alike_share_the_numbers_of_their_node(shop: Workshop, own_server: RedisServer) -> None:
    copies = [shop.run("ticker.py", "--of", "2", **PATIENT) for _ in range(3)]

    def owners() -> dict[int, int]:
        found = (registered(own_server, shop.hive, f"ticker.{number}") for number in range(4))
        return {number: each["pid"] for number, each in enumerate(found) if each is not None}

    eventually(lambda: len(owners()) == 2 and sum("standing by" in each.output for each in copies) == 1, within=20)
    before = owners()
    assert set(before) == {0, 1}
    (third,) = {each.pid for each in copies} - {*before.values()}
    os.kill(before[1], signal.SIGKILL)
    eventually(lambda: owners() == {0: before[0], 1: third}, within=20)


@pytest.mark.drill
@pytest.mark.root_only
def test_containers_of_one_name_whose_nodes_are_all_process_1_share_numbers_too(
    shop: Workshop, own_server: RedisServer
) -> None:
    command = [*CONTAINER, sys.executable, "-m", "hivemind.node", "ticker.py", "--of", "2"]
    pods = [NodeProcess(command, shop.folder, shop.environment(**PATIENT)) for _ in range(3)]
    shop.running += pods

    def who(text: str) -> list[NodeProcess]:
        return [pod for pod in pods if text in pod.output]

    eventually(lambda: len(who("running: sends tick")) == 2 and len(who("standing by")) == 1, within=20)
    (third,) = who("standing by")
    (second,) = {*who("ticker.1")} - {third}
    second.close()
    third.says("running: sends tick")
    found = [registered(own_server, shop.hive, f"ticker.{number}") for number in range(3)]
    assert [each and each["pid"] for each in found] == [1, 1, None]
    (node,) = psutil.Process(third.pid).children()
    node.terminate()
    assert (third.ends(), registered(own_server, shop.hive, "ticker.1")) == (0, None)


class Journal:
    """The socket on which systemd hears a service."""

    def __init__(self, path: Path) -> None:
        self.path, self.heard = path, ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(20)

    def hears(self, text: str) -> None:
        """Wait until the service has said ``text``."""
        while text not in self.heard.splitlines():
            self.heard += f"{self._socket.recv(4096).decode()}\n"

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def journal(own_server: RedisServer) -> Iterator[Journal]:
    made = Journal(own_server.folder / "notify")  # a short path
    yield made
    made.close()


def started(hive: Hive, command: list[str], environment: dict[str, str]) -> NodeProcess:
    path = {"PATH": os.environ["PATH"], "HOME": str(hive.folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    return NodeProcess(command, hive.folder, path | environment)


def test_what_a_unit_says_runs_is_heard_and_stops_in_time(hive: Hive, server: RedisServer, journal: Journal) -> None:
    exported, problems = read(hive.engine)
    unit = next(each for each in systemd(exported, sys.executable, "gotham", (), "") if "batman@" in each.name)
    service = parsed(unit.text)["Service"]
    assert (problems, service["WorkingDirectory"].replace("%%", "%")) == ([], str(hive.folder))
    command = [each.replace("%i", "0").replace("%%", "%") for each in shlex.split(service["ExecStart"])]
    node = started(hive, command, {"NOTIFY_SOCKET": str(journal.path)})
    try:
        journal.hears("READY=1")
        found = registered(server, exported.name, "batman.0")
        assert found is not None
        assert found["pid"] == node.pid
        assert "WATCHDOG=1" in journal.heard
        node.signal(signal.SIGTERM)
        journal.hears("STOPPING=1")
        assert node.ends(within=float(service["TimeoutStopSec"])) == 0
    finally:
        node.close()
    assert registered(server, exported.name, "batman.0") is None


def test_what_a_pod_runs_is_ready_by_its_own_probe(hive: Hive, server: RedisServer) -> None:
    exported, _ = read(hive.engine)
    (file,) = kubernetes(exported, "gotham")
    pods = [each["spec"]["template"]["spec"] for each in reader.safe_load_all(file.text)]
    container: dict[str, Any] = next(pod["containers"][0] for pod in pods if "batman" in pod["containers"][0]["args"])
    environment = {each["name"]: each.get("value", server.url) for each in container["env"]}
    environment |= {"HIVEMIND_HIVE": str(hive.folder), "HIVEMIND_PROBE": str(hive.folder / "probe"), **PATIENT}
    node = started(hive, [sys.executable, *container["args"]], environment)
    asked = [sys.executable, *container["readinessProbe"]["exec"]["command"][1:]]
    try:
        eventually(lambda: subprocess.run(asked, env=os.environ | environment, check=False).returncode == 0, within=20)
        assert registered(server, exported.name, "batman.0") is not None
        node.signal(signal.SIGTERM)
        assert (node.ends(), (hive.folder / "probe").exists()) == (0, False)
    finally:
        node.close()
