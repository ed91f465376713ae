"""A real Redis Cluster for tests: three primaries, and replicas where they are wanted, all on the loopback."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from redis.crc import key_slot

from .servers import RedisServer
from .waiting import eventually

SLOTS = 16384
TIMEOUT = 1000  #: milliseconds after which a node that does not answer has failed


class ClusterNode(RedisServer):
    """One server of a cluster."""

    def __init__(self, binary: Path) -> None:
        lines = ("cluster-enabled yes", f"cluster-node-timeout {TIMEOUT}", "cluster-config-file nodes.conf")
        super().__init__(binary, lines=(*lines, "cluster-replica-validity-factor 0", "repl-diskless-sync-delay 0"))
        self.port = _free_port()

    @property
    def id(self) -> str:
        """What the others call it."""
        return str(self.command("CLUSTER", "MYID"))

    @property
    def is_ok(self) -> bool:
        """Whether it finds that every slot is served."""
        return "cluster_state:ok" in self.command("CLUSTER", "INFO")

    def primary(self, key: str) -> int:
        """The port of the primary that has the slot of ``key``, as this one sees it."""
        slot = key_slot(key.encode())
        owners = (port for first, last, (_, port, *_), *_ in self.command("CLUSTER", "SLOTS") if first <= slot <= last)
        return int(next(owners, 0))

    @property
    def is_primary(self) -> bool:
        return bool(self.command("ROLE")[0] == "master")


class Cluster:
    """Three primaries with a third of the slots each; ``replicas`` further servers follow the first ones."""

    def __init__(self, binary: Path, replicas: int = 0) -> None:
        self.nodes = [ClusterNode(binary) for _ in range(3 + replicas)]

    def start(self) -> Self:
        """Start all, let them meet, and return when each of them finds the cluster whole."""
        for node in self.nodes:
            node.start()
        for at, node in enumerate(self.primaries):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            node.command("CLUSTER", "ADDSLOTSRANGE", at * SLOTS // 3, (at + 1) * SLOTS // 3 - 1)
        for node in self.nodes[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        eventually(lambda: all(node.is_ok and self._knows_all(node) for node in self.nodes), within=20)
        for primary, replica in zip(self.nodes, self.nodes[3:], strict=False):
            replica.command("CLUSTER", "REPLICATE", primary.id)
            eventually(lambda replica=replica: replica.command("ROLE")[3] == "connected", within=20)  # type: ignore[misc]
        return self

    def _knows_all(self, node: ClusterNode) -> bool:
        return f"cluster_known_nodes:{len(self.nodes)}" in node.command("CLUSTER", "INFO")

    @property
    def primaries(self) -> Sequence[ClusterNode]:
        """Those that had slots when it began."""
        return self.nodes[:3]

    @property
    def url(self) -> str:
        """How a hive names it."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def owner(self, key: str) -> ClusterNode:
        """The primary that has the slot of ``key``, when all that run agree."""

        def agreed() -> ClusterNode | None:
            said = {node.primary(key) for node in self.nodes if node.process is not None}
            return next((node for node in self.nodes if said == {node.port}), None)

        found = eventually(agreed, within=20)
        assert found is not None
        return found

    def others(self, key: str) -> list[ClusterNode]:
        """The primaries that do not have the slot of ``key``."""
        owner = self.owner(key)
        return [node for node in self.primaries if node is not owner]

    def move(self, key: str, to: ClusterNode) -> None:
        """Give the slot of ``key``, with the keys that it holds, to another primary. Others hear of it in time.

        Not to one after the other in quick succession: Redis itself may then never agree again on whose the slots are.
        """
        slot, source, target = key_slot(key.encode()), self.owner(key), to
        self.begin_to_move(key, to)
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def begin_to_move(self, key: str, to: ClusterNode) -> None:
        """Let the slot of ``key`` be on its way to another primary, which has none of its keys yet."""
        slot, source = key_slot(key.encode()), self.owner(key)
        to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for node in self.nodes:
            node.close()


def _free_port() -> int:
    """A port on which nobody listens, nor 10,000 above it, where a cluster's nodes speak with each other."""
    while True:
        port = random.randrange(11_000, 22_000)
        try:
            for number in (port, port + 10_000):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port
