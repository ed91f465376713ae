"""A disk for logs that is full: nodes go on, who dies comes back, and what could not be logged is counted and told."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hivemind.supervisor.engine import Engine
from hivemind.supervisor.status import registered

from .hive_kit import Hive, hive_in, well
from .waiting import eventually

pytestmark = [pytest.mark.root_only, pytest.mark.drill, pytest.mark.timeout(150)]

CHATTY = """
from hivemind import Node, service

class {name}(Node):
    @service("{topic}", every=0.05)
    def tick(self, service):
        service.send("tick")
        self.log_info("x" * 300)
"""


class Disk:
    """A small disk mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._filler = folder, folder / "filler"

    def fill(self) -> None:
        """Leave no byte."""
        with self._filler.open("wb", buffering=0) as file:
            for size in (65536, 4096):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Let there be room again."""
        self._filler.unlink()


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[Disk]]:
    """Small disks in the places where the hive ``gotham`` logs, and keeps what it knows of processes."""
    folders = [tmp_path / "gotham" / name for name in ("log", "var/log", "var/run")]
    with ExitStack() as stack:
        for folder in folders:
            folder.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "hivemind", folder], check=True)
            stack.callback(_unmount, folder)
        yield [Disk(folder) for folder in folders]


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", folder], check=True)


def lost_lines(engine: Engine, name: str) -> int:
    """How many lines the registry says that a node could not log."""
    found = asyncio.run(registered(engine))
    return next((one.stats.log_lost for one in found or () if one.instance == name), 0)


def test_nodes_go_on_who_dies_comes_back_and_lost_lines_are_counted(disks: list[Disk], tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        hive.node("batman", CHATTY)
        hive.node("robin")
        hive.start()
        eventually(lambda: well(hive), within=30)
        before, supervisord, listener = hive.pids(), hive.supervisord(), hive.listener().pid
        for disk in disks:
            disk.fill()
        eventually(lambda: lost_lines(hive.engine, "batman.0"), within=20)
        for _ in range(2):
            kill_and_wait(hive, "robin.0")
        assert {**hive.pids(), "robin.0": None} == {**before, "robin.0": None}
        assert (hive.supervisord(), hive.listener().pid) == (supervisord, listener)
        assert "of its log could not be written" in hive.program("batman.0").detail
        assert "of its log could not be written" in hive.run("hm", "why", "batman").stdout
        for disk in disks:
            disk.free()
        eventually(lambda: "lines were lost" in hive.log("batman") or "dropped" in hive.log("batman"), within=20)
        assert hive.run("hived", "stop").returncode == 0
        assert hive.processes() == []


def kill_and_wait(hive: Hive, name: str) -> None:
    """Kill a node, and wait until another process of it runs."""
    pid = hive.program(name).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: hive.program(name).pid not in (None, pid), within=20)
    eventually(lambda: hive.program(name).state == "running", within=20)
