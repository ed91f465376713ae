"""Ten thousand instances on one Redis: ``python -m tests.crowd --instances 10000``, which is `make crowd`.

They register at once, beat, lose Redis (killed, and started again with its data) and come back; four processes simulate
them, each with a connection of its own (crowd_members.py). It prints what docs/scale.md shows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.data.registry import Registry
from hivemind.topics import Names

from .crowd_members import HIVE, Tally
from .servers import Connection, Kind, RedisServer, find_server
from .waiting import eventually

SPARE = 200  # connections beside those of the members
STEP = 0.25  # seconds between two looks at Redis
MOST = 90.0  # seconds for all to come back


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured; times in seconds."""

    instances: int
    alive: float  # until all had registered
    beats: float  # a second, as heard
    redis: float  # share of a core that Redis used for them
    listed: float  # reading the whole registry once
    back: float  # from the restart on, until all had renewed their leases
    connects: int  # connections that Redis got after its restart, over and above one for each
    busiest: int  # the most connections in one second of those


class Part:
    """One process with some of the members, and the last that it told."""

    def __init__(self, url: str, first: int, count: int) -> None:
        command = [sys.executable, "-m", "tests.crowd_members", url, str(first), str(count)]
        self.process = subprocess.Popen(
            command, cwd=Path(__file__).parent.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.is_ready = threading.Event()
        self.last = Tally()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        with self.process:  # which closes its pipes
            self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if "ready" in told:
                self.is_ready.set()
            else:
                self.last = Tally(**told)


class Crowd:
    """``instances`` members in ``processes``, on ``server``."""

    def __init__(self, server: RedisServer, instances: int, processes: int = 4) -> None:
        self.server, self.instances = server, instances
        each = instances // processes
        self._parts = [Part(server.url, number * each, each) for number in range(processes)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.end()

    @property
    def confirmed(self) -> float:
        """When the lease was last confirmed of the one who waits for that longest."""
        return min(part.last.confirmed for part in self._parts)

    @property
    def heard(self) -> int:
        """How many beats were heard so far."""
        return sum(part.last.heard for part in self._parts)

    def measure(self, seconds: float) -> Figures:
        """Let them come, beat for so long, lose Redis, and come back."""
        alive = self.come()
        beats, redis = self._beat(seconds)
        listed = self._list()
        self.server.restart(keep_data=True, kill=True)
        back, connects = self._come_back()
        more = sum(connects) - self.instances - len(self._parts)
        return Figures(self.instances, alive, beats, redis, listed, back, max(0, more), _busiest(connects))

    def come(self) -> float:
        """Let all register; return how long that took."""
        for part in self._parts:
            assert part.is_ready.wait(60)
        asyncio.run(_load_functions(self.server.url))
        began = time.monotonic()
        for part in self._parts:
            part.begin()
        eventually(lambda: self.confirmed > began, within=60)
        return time.monotonic() - began

    def _beat(self, seconds: float) -> tuple[float, float]:
        with Connection(self.server.socket) as door:
            began, heard, used = time.monotonic(), self.heard, _cpu(door)
            eventually(lambda: time.monotonic() - began > seconds, within=seconds + 5)
            took = time.monotonic() - began
            return (self.heard - heard) / took, (_cpu(door) - used) / took

    def _list(self) -> float:
        async def look() -> float:
            async with Commands(Endpoint.parse(self.server.url)) as commands:
                began = time.monotonic()
                found = await Registry(commands, Functions(commands), Names(HIVE)).instances()
                took = time.monotonic() - began
                assert sum(not one.is_lost for one in found) == self.instances
                return took

        return asyncio.run(look())

    def _come_back(self) -> tuple[float, list[int]]:
        """How long it takes until all have renewed their leases, and how many connections came in each STEP."""
        began, counts = time.monotonic(), [0]
        with Connection(self.server.socket, timeout=30.0) as door:
            while self.confirmed < began:
                assert time.monotonic() - began < MOST, f"nobody renewed all leases within {MOST:g} s"
                eventually(lambda: time.monotonic() - began > STEP * len(counts), within=STEP + 5)
                counts.append(_number(door, "stats", "total_connections_received"))
        return self.confirmed - began, [later - earlier for earlier, later in pairwise(counts)]


def _busiest(connects: Sequence[int]) -> int:
    """The most in any second."""
    second = round(1 / STEP)
    return max(sum(connects[at : at + second]) for at in range(len(connects)))


def _number(door: Connection, section: str, name: str) -> int:
    found = re.search(rf"^{name}:(\d+)", str(door.ask("INFO", section)), re.MULTILINE)
    assert found, name
    return int(found[1])


def _cpu(door: Connection) -> float:
    """Seconds of CPU that the server has used."""
    told = str(door.ask("INFO", "cpu"))
    return sum(float(used) for used in re.findall(r"^used_cpu_(?:user|sys):([0-9.]+)", told, re.MULTILINE))


async def _load_functions(url: str) -> None:
    async with Commands(Endpoint.parse(url)) as commands:
        await Functions(commands).ready("register")


@contextmanager
def crowd(instances: int, processes: int = 4, kind: Kind | None = None) -> Iterator[Crowd]:
    """A crowd on a server of its own, with room for it."""
    binary = next(found for one in ([kind] if kind else Kind) if (found := find_server(one)))
    server = RedisServer(binary, lines=[f"maxclients {instances + SPARE}"])
    try:
        with Crowd(server.start(), instances, processes) as made:
            yield made
    finally:
        server.close()


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.crowd", description=__doc__)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="for how long they only beat")
    parser.add_argument("--server", choices=[*Kind], default=None)
    chosen = parser.parse_args()
    with crowd(chosen.instances, kind=chosen.server and Kind(chosen.server)) as made:
        for name, value in asdict(made.measure(chosen.seconds)).items():
            print(f"{name:10} {value:,.3f}" if isinstance(value, float) else f"{name:10} {value:,}")


if __name__ == "__main__":
    main()
