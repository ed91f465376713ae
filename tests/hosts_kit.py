"""Several hosts on this one machine: each with a network, a process table and a name of its own; one more for Redis.

Between a host and Redis lies a wire that the test holds in its hands: it is cut, cut one way, slow, or loses packets.
Everything is below one process a host and ends with it: nothing is made in the machine's own network.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from .conftest import may_make_namespaces
from .node_kit import NodeProcess, Workshop
from .servers import RedisServer
from .waiting import eventually

End = TypeVar("End", "Host", "Wire")

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
TUN_SETTINGS, TUN_PLAIN = 0x400454CA, 0x1001  # TUNSETIFF; IFF_TUN | IFF_NO_PI
WAIT = 0.05  # seconds after which the pump looks whether it is to end


class Host:
    """One host: what is run by ``inside`` sees its network, its processes and its name, and this machine's files."""

    def __init__(self, name: str) -> None:
        self.name = name
        dies = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        alone = ["unshare", "-n", "-u", "-p", "-m", "--fork", "--kill-child", "--mount-proc"]
        command = [*dies, *alone, "sh", "-c", f"hostname {name} && ip link set lo up && exec sleep 600"]
        self._unshare = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.pid = eventually(self._sleeper)

    def _sleeper(self) -> int:
        found = psutil.Process(self._unshare.pid).children()
        return next((each.pid for each in found if each.name() == "sleep"), 0)

    def inside(self, *command: str) -> list[str]:
        """A command line that runs ``command`` there."""
        return ["nsenter", "-t", str(self.pid), "-n", "-u", "-p", "-m", "--", *command]

    def in_network(self, *command: str) -> list[str]:
        """A command line that runs ``command`` in its network, but among our processes."""
        return ["nsenter", "-t", str(self.pid), "-n", "--", *command]

    def configure(self, *words: str) -> None:
        """Run ``ip`` there."""
        subprocess.run(self.in_network("ip", *words), check=True, timeout=10)

    def tunnel(self, name: str) -> int:
        """Make a network interface there whose packets are read and written here; return the file."""
        made: list[int] = []

        def make() -> None:  # a thread may be in another network than its process
            with Path(f"/proc/{self.pid}/ns/net").open("rb") as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), NEW_NETWORK) != 0:
                    return
            file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(file, TUN_SETTINGS, struct.pack("16sH22x", name.encode(), TUN_PLAIN))
            made.append(file)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        assert made, f"no interface {name} could be made in the network of {self.name}"
        return made[0]

    def close(self) -> None:
        """End everything there."""
        for process in psutil.Process(self._unshare.pid).children():
            process.kill()
        self._unshare.kill()
        self._unshare.wait(10)


@dataclass
class Wire:
    """Carries packets between the interfaces ``here`` (a host's) and ``there`` (Redis's).

    ``is_cut``: none arrives; ``is_deaf``: none arrives at the host, though its own do. ``latency`` is in seconds each
    way; ``loss`` the share that is lost, by ``seed``.
    """

    here: int
    there: int
    seed: int = 0
    is_cut: bool = False
    is_deaf: bool = False
    latency: float = 0.0
    loss: float = 0.0
    carried: int = 0
    lost: int = 0
    _is_closing: bool = False
    _due: list[tuple[float, int, int, bytes]] = field(default_factory=list)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._pump, name="wire")
        self._thread.start()

    def close(self) -> None:
        self._is_closing = True
        self._thread.join()
        os.close(self.here)
        os.close(self.there)

    def _pump(self) -> None:
        chance = random.Random(self.seed)
        while not self._is_closing:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _, _, to, packet = heapq.heappop(self._due)
                self._write(to, packet)
            wait = min(WAIT, self._due[0][0] - now) if self._due else WAIT
            for file in select.select([self.here, self.there], [], [], max(0.0, wait))[0]:
                packet = os.read(file, 65536)
                to = self.there if file == self.here else self.here
                if self.is_cut or (self.is_deaf and to == self.here) or chance.random() < self.loss:
                    self.lost += 1
                    continue
                self.carried += 1
                heapq.heappush(self._due, (time.monotonic() + self.latency, self.carried, to, packet))

    def _write(self, to: int, packet: bytes) -> None:
        try:
            os.write(to, packet)
        except OSError:
            self.lost += 1  # its queue is full, or it goes down


@dataclass
class Hosts:
    """Two hosts, the wires from them to Redis, and Redis."""

    server: RedisServer
    folder: Path
    hosts: dict[str, Host]
    wires: dict[str, Wire]
    running: list[NodeProcess] = field(default_factory=list)

    def address(self, name: str) -> str:
        """Where Redis is for a host."""
        return f"redis://10.9.{list(self.hosts).index(name)}.1:{self.server.port}"

    def run(self, name: str, *arguments: str, **environment: str) -> NodeProcess:
        """``python -m hivemind.node ARGUMENTS`` on a host."""
        shop = Workshop(self.folder, self.address(name), "t")
        command = self.hosts[name].inside(*_python(*arguments))
        self.running.append(NodeProcess(command, self.folder, shop.environment(**environment)))
        return self.running[-1]

    def close(self) -> None:
        for each in self.running:
            each.close()


def _python(*arguments: str) -> Sequence[str]:
    return psutil.Process().exe(), "-m", "hivemind.node", *arguments


@contextmanager
def two_hosts(program: Path, folder: Path) -> Iterator[Hosts]:
    """alfa and beta, and Redis, which each reaches by a wire of its own. Skips where that cannot be made."""
    if not may_make_namespaces() or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("not root, or no right to make namespaces, or no /dev/net/tun")
    with ExitStack() as stack:
        names = ("alfa", "beta")
        hosts = {name: _closed(stack, Host(name)) for name in (*names, "hub")}
        hub, wires = hosts.pop("hub"), {}
        for number, name in enumerate(names):
            wire = Wire(hosts[name].tunnel("wire"), hub.tunnel(f"wire{number}"), seed=number)
            for host, interface, ours, theirs in ((hosts[name], "wire", 2, 1), (hub, f"wire{number}", 1, 2)):
                host.configure(
                    "addr", "add", f"10.9.{number}.{ours}", "peer", f"10.9.{number}.{theirs}", "dev", interface
                )
                host.configure("link", "set", interface, "up")
            wire.start()
            wires[name] = _closed(stack, wire)
        lines = ("bind 127.0.0.1 10.9.0.1 10.9.1.1", "protected-mode no")
        server = RedisServer(program, tcp=True, lines=lines, inside=hub.in_network())
        made = Hosts(stack.enter_context(server), folder, hosts, wires)
        stack.callback(made.close)
        yield made


def _closed(stack: ExitStack, made: End) -> End:
    stack.callback(made.close)
    return made
