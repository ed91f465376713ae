"""Two hosts and a network between them and Redis that is cut, half open, slow, or loses packets."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .bus_kit import passes
from .hosts_kit import Hosts, two_hosts
from .node_kit import NodeProcess, registered
from .waiting import eventually

pytestmark = [pytest.mark.root_only, pytest.mark.timeout(240)]
LEASE = 3.0
TIMES = {"HIVEMIND_HEARTBEAT": "1", "HIVEMIND_LEASE": "3"}
TILL = """
    import socket
    from hivemind import Node, service

    class Till(Node):
        count = 0

        @service("sale", durable=True, every=0.05)
        async def sell(self, service):
            service.send([socket.gethostname(), self.count])
            self.count += 1
            if self.count % 20 == 0:
                print("sold", self.count, flush=True)
"""
SHOP = """
    import asyncio, socket, time
    from hivemind import Node, subscription

    class Shop(Node):
        @subscription("sale", durable=True, since="all")
        async def pack(self, payload, message):
            host, number = payload
            begun = time.monotonic()
            await asyncio.sleep(0.002)
            print("packed", socket.gethostname(), host, number, message.deliveries, begun, time.monotonic(), flush=True)
"""
PACKED = re.compile(r"^packed (\w+) (\w+) (\d+) (\d+) ([\d.]+) ([\d.]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Packed:
    """One message, handled once: where, from whom, which, the how many-th try, from when to when."""

    where: str
    sender: str
    number: int
    tries: int
    begun: float
    ended: float


@dataclass
class Town:
    """A till on each host; shop.0 on one of them, and the other stands by."""

    hosts: Hosts
    tills: dict[str, NodeProcess]
    shops: dict[str, NodeProcess]

    def books(self) -> list[Packed]:
        """All that was handled, in the order in which it was begun."""
        lines = (line for shop in self.shops.values() for line in PACKED.findall(shop.output))
        found = (Packed(where, of, int(n), int(tries), float(a), float(b)) for where, of, n, tries, a, b in lines)
        return sorted(found, key=lambda one: one.begun)

    def sold(self, host: str) -> int:
        return max([0, *map(int, re.findall(r"sold (\d+)", self.tills[host].output))])

    def first(self, host: str) -> list[Packed]:
        """What a till sent, in the order in which it was handled first."""
        found: dict[int, Packed] = {}
        for one in self.books():
            if one.sender == host:
                found.setdefault(one.number, one)
        return list(found.values())

    def late(self, host: str) -> list[Packed]:
        """What a till sent and was handled after what it sent later."""
        found, greatest = [], -1
        for one in self.first(host):
            found += [one] if one.number < greatest else []
            greatest = max(greatest, one.number)
        return found

    def catches_up(self, within: float = 60.0) -> None:
        """Return when all that was sold until now is handled, and nothing is lost."""
        for host in self.tills:
            sold = set(range(self.sold(host)))
            eventually(lambda host=host, sold=sold: sold <= {one.number for one in self.first(host)}, within)  # type: ignore[misc]

    def life(self) -> int:
        found = registered(self.hosts.server, "t", "shop.0")
        return found["incarnation"] if found else 0


@pytest.fixture
def town(server_program: Path, tmp_path: Path) -> Iterator[Town]:
    (tmp_path / "till.py").write_text(TILL.replace("\n    ", "\n"))
    (tmp_path / "shop.py").write_text(SHOP.replace("\n    ", "\n"))
    with two_hosts(server_program, tmp_path) as hosts:
        shops = {"alfa": hosts.run("alfa", str(tmp_path / "shop.py"), "--number", "0", **TIMES)}
        shops["alfa"].says("running", within=40)
        shops["beta"] = hosts.run("beta", str(tmp_path / "shop.py"), "--number", "0", **TIMES)
        shops["beta"].says("standing by: shop.0 is held by process", within=40)
        tills = {
            host: hosts.run(host, str(tmp_path / "till.py"), "--number", str(number), **TIMES)
            for number, host in enumerate(shops)
        }
        made = Town(hosts, tills, shops)
        eventually(lambda: all(made.sold(host) >= 20 for host in tills), within=40)
        made.catches_up()
        yield made


async def is_apart(town: Town, seconds: float) -> float:
    """Let alfa be cut off for a while; return when that began. Both sides go on with what they can."""
    begun = time.monotonic()
    before = {host: town.sold(host) for host in town.tills}
    town.shops["beta"].says("running", within=LEASE + 20)
    await passes(max(0.0, seconds - (time.monotonic() - begun)))
    assert all(town.sold(host) > before[host] + 20 * LEASE / 2 for host in town.tills)
    return begun


def is_replaced(town: Town, cut: float) -> None:
    """Nobody acted in two lives: alfa's ended with its lease, beta's began after that, and alfa's never came back."""
    there = [one for one in town.books() if one.where == "alfa"]
    here = [one for one in town.books() if one.where == "beta"]
    assert max(one.ended for one in there) < cut + LEASE + 0.5
    assert max(one.ended for one in there) < min(one.begun for one in here)
    town.shops["alfa"].says("this left-over stops", within=30)
    assert town.shops["alfa"].ends(30) is not None


@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        ("is_cut", 9.0),
        pytest.param("is_cut", 15.0, marks=pytest.mark.drill),
        pytest.param("is_deaf", 15.0, marks=pytest.mark.drill),
    ],
)
async def test_who_is_cut_off_is_replaced_and_both_sides_go_on(town: Town, how: str, seconds: float) -> None:
    wire, life, sold = town.hosts.wires["alfa"], town.life(), town.sold("alfa")
    setattr(wire, how, True)
    cut = await is_apart(town, seconds)
    setattr(wire, how, False)
    healed = time.monotonic()
    town.catches_up()
    is_replaced(town, cut)
    late = [one for host in town.tills for one in town.late(host)]
    assert all(cut < one.begun < healed + 10 for one in late), late  # Redis had given it to who was cut off
    assert len(late) < 20
    assert all(one.number < sold + 20 for one in town.late("alfa"))  # what waited there came in order
    assert town.life() > life
    assert wire.lost


@pytest.mark.drill
@pytest.mark.parametrize(("latency", "loss"), [(0.15, 0.0), (0.0, 0.3)], ids=["300 ms", "30 percent"])
async def test_a_slow_network_or_one_that_loses_packets_costs_no_message(
    town: Town, latency: float, loss: float
) -> None:
    wire, life = town.hosts.wires["alfa"], town.life()
    wire.latency, wire.loss = latency, loss
    await passes(20.0)
    wire.latency, wire.loss = 0.0, 0.0
    town.catches_up()
    assert loss or not any(map(town.late, town.tills))
    by_life = [[one for one in town.books() if one.where == host] for host in town.shops]
    assert town.life() >= life
    if all(by_life):  # with so much loss a lease may end; then the other began after it
        assert loss
        assert max(one.ended for one in by_life[0]) < min(one.begun for one in by_life[1])
