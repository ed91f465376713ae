"""What can befall the Redis of a hive: each as a context that does it, sees that it was done, and ends it."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import hiredis
import orjson

from hivemind.bus.embedded import Embedded
from hivemind.identity import ProcessIdentity
from hivemind.topics import Names

from .disk_kit import Disk
from .hive_kit import Hive, kill
from .servers import Connection
from .waiting import eventually

Trouble = Callable[["Store"], AbstractContextManager[None]]
TILL = """
import pathlib
from hivemind import Node, service

class Till(Node):
    def on_start(self):
        self.numbers = {"tick": 0, "order": 0}

    def next(self, service):
        if pathlib.Path("enough").exists():
            return 1
        self.numbers[service.name] += 1
        service.send(self.numbers[service.name])
        with open(f"sent-{service.name}", "a") as file:
            print(self.numbers[service.name], file=file)

    @service("tick", every=0.05)
    def tick(self, service):
        return self.next(service)

    @service("order", every=0.05, durable=True)
    def sell(self, service):
        return self.next(service)
"""
SHOP = """
from hivemind import Node, subscription

def note(file, number):
    with open(file, "a") as diary:
        print(number, file=diary)

class Shop(Node):
    @subscription("tick")
    def hear(self, payload: int):
        note("got-tick", payload)

    @subscription("order", durable=True, since="all")
    def pack(self, payload: int):
        note("got-order", payload)
"""


class Store:
    """A hive with a node that sends live and durably without end, and one that notes what it gets."""

    def __init__(self, hive: Hive) -> None:
        self.hive = hive
        self.names = Names("gotham")

    def open(self) -> None:
        """Start it, and wait until both kinds of messages flow."""
        self.hive.node("till", TILL)
        self.hive.node("shop", SHOP)
        self.hive.start()
        self.flows()

    @property
    def redis(self) -> Embedded:
        return Embedded.of(self.hive.engine.settings)

    @property
    def pids(self) -> dict[str, int | None]:
        """Every process but Redis's own."""
        pids = {name: pid for name, pid in self.hive.pids().items() if name != "redis"}
        return pids | {"supervisord": self.hive.supervisord().pid, "hived": self.hive.listener().pid}

    def ask(self, *words: str | bytes | float) -> str:
        """What Redis says, over a connection of its own."""
        with Connection(self.redis.socket, 1.0) as connection:
            return str(connection.ask(*words))

    def fact(self, name: str) -> str:
        """One line of INFO; "" while Redis does not answer."""
        try:
            return fact(self.ask("INFO"), name)
        except (OSError, hiredis.HiredisError):
            return ""

    def noted(self, file: str) -> list[int]:
        """The numbers in a diary."""
        path = Path(self.hive.folder) / file
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def flows(self, within: float = 20.0) -> None:
        """Wait until what is sent from now on is handled, live and durable."""
        for topic in ("tick", "order"):
            mark = max(self.noted(f"sent-{topic}"), default=0)
            eventually(lambda topic=topic, mark=mark: max(self.noted(f"got-{topic}"), default=0) > mark, within)  # type: ignore[misc]

    def close(self) -> None:
        """Send nothing more, and wait until all that was kept is handled."""
        (self.hive.folder / "enough").touch()
        for topic in ("tick", "order"):
            eventually(lambda topic=topic: self.noted(f"sent-{topic}")[-1] == max(self.noted(f"got-{topic}")), 20.0)  # type: ignore[misc]

    def stats(self, instance: str) -> dict[str, object]:
        """What an instance says of itself, once it is registered."""
        said = self.ask("HGET", self.names.node(instance), "stats")
        assert said != "None", f"{instance} is not registered"
        found = orjson.loads(said)
        assert isinstance(found, dict)
        return found


def fact(info: str, name: str) -> str:
    return next((line.partition(":")[2] for line in info.splitlines() if line.startswith(f"{name}:")), "")


# -- what befalls it


@contextmanager
def restarted(store: Store) -> Iterator[None]:
    """Killed with -9; it comes back with its data."""
    before = store.fact("run_id")
    kill(running(store))
    eventually(lambda: store.fact("run_id") not in ("", before), 20.0)
    yield


@contextmanager
def restarted_empty(store: Store) -> Iterator[None]:
    """Killed with -9, and what it had is gone."""
    shutil.rmtree(store.redis.folder / "appendonlydir")
    with restarted(store):
        yield


@contextmanager
def flushed(store: Store) -> Iterator[None]:
    """Emptied while it goes on."""
    assert store.ask("FLUSHALL") == "OK"
    yield


@contextmanager
def out_of_memory(store: Store) -> Iterator[None]:
    """It takes nothing more that needs memory, until who sends durably says so."""
    eventually(lambda: store.stats("till.0"))  # anew, where Redis lost its data: without memory it takes nobody
    with Connection(store.redis.socket) as door:
        door.ask("CONFIG", "SET", "maxmemory", 1)
        eventually(lambda: "OOM" in str(store.stats("till.0")["outage"]), 20.0)
        yield
        door.ask("CONFIG", "SET", "maxmemory", 0)


@contextmanager
def full(store: Store) -> Iterator[None]:
    """Everybody is thrown out, and nobody let in, until many have tried."""
    with Connection(store.redis.socket) as door:
        before = int(fact(door.ask("INFO", "stats"), "rejected_connections"))
        door.ask("CONFIG", "SET", "maxclients", 1)
        throw_out(door)
        eventually(lambda: int(fact(door.ask("INFO", "stats"), "rejected_connections")) > before + 20, 30.0)
        yield
        door.ask("CONFIG", "SET", "maxclients", 10_000)


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """The password is changed, and everybody thrown out, until many have tried."""
    with Connection(store.redis.socket) as door:
        before = int(fact(door.ask("INFO", "stats"), "total_connections_received"))
        door.ask("CONFIG", "SET", "requirepass", "changed")
        throw_out(door)
        eventually(lambda: int(fact(door.ask("INFO", "stats"), "total_connections_received")) > before + 10, 30.0)
        yield
        door.ask("CONFIG", "SET", "requirepass", "")


@contextmanager
def blocked(store: Store) -> Iterator[None]:
    """A script holds it up for 10 s: at first it says nothing at all, then that it is busy."""
    with Connection(store.redis.socket, 30.0) as busy:
        begun = time.monotonic()
        busy.send("EVAL", "while true do end", 0)
        eventually(lambda: is_busy(store), 20.0)
        eventually(lambda: time.monotonic() > begun + 10, 20.0)
        assert store.ask("SCRIPT", "KILL") == "OK"
        yield


@contextmanager
def slow(store: Store) -> Iterator[None]:
    """For 8 s it stands still four fifths of the time."""
    redis, begun = running(store), time.monotonic()
    try:
        while time.monotonic() < begun + 8:
            for number, seconds in ((signal.SIGSTOP, 0.2), (signal.SIGCONT, 0.05)):
                kill(redis, number)
                since = time.monotonic()
                eventually(lambda since=since, seconds=seconds: time.monotonic() > since + seconds)  # type: ignore[misc]
    finally:
        kill(redis, signal.SIGCONT)
    yield


@contextmanager
def frozen(store: Store) -> Iterator[None]:
    """It stands still until nobody takes it for alive."""
    redis, begun = running(store), time.monotonic()
    kill(redis, signal.SIGSTOP)
    try:
        eventually(lambda: time.monotonic() > begun + 8, 20.0)
    finally:
        kill(redis, signal.SIGCONT)
    yield


def running(store: Store) -> ProcessIdentity:
    """Its process."""
    identity = store.redis.pidfile.living()
    assert identity is not None
    return identity


def is_busy(store: Store) -> bool:
    try:
        store.ask("PING")
    except TimeoutError:
        return False
    except hiredis.HiredisError as error:
        return str(error).startswith("BUSY")
    return False


def throw_out(door: Connection) -> None:
    """Close everybody's connections but one's own."""
    for kind in ("pubsub", "normal"):
        door.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def disk_full(disk: Disk) -> Trouble:
    """There is no room on its disk, until it says that it takes nothing more."""

    @contextmanager
    def full_disk(store: Store) -> Iterator[None]:
        disk.fill()
        eventually(lambda: answer(store, "SET", "hm-room", "1").startswith("MISCONF"), 20.0)
        disk.clear()
        yield

    return full_disk


def redis_ends(disk: Disk) -> Trouble:
    """There is no room on its disk, and it ends, because it promised to write at once."""

    @contextmanager
    def ends(store: Store) -> Iterator[None]:
        before = running(store)
        disk.fill()
        eventually(lambda: not before.is_alive(), 20.0)
        disk.clear()
        yield

    return ends


def answer(store: Store, *words: str) -> str:
    """What Redis says, errors too; "" where it says nothing."""
    try:
        return store.ask(*words)
    except hiredis.HiredisError as error:
        return str(error)
    except OSError:
        return ""
