"""Writes down, once for each release, what it writes: every key, message and file, from a hive that really runs.

``python -m tests.record_wire`` writes ``tests/recorded/<major>.<minor>/``; what is there is never written again, for it
is what that release wrote. ``tests/test_recorded.py`` lets today's readers read all of it, for ever.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from hivemind import __version__
from hivemind.bus.embedded import Embedded
from hivemind.bus.server_program import need_server
from hivemind.identity import this_boot
from hivemind.topics import Names

from .hive_kit import Hive, hive_in, kill, well
from .servers import Connection, RedisServer
from .waiting import eventually

RECORDED = Path(__file__).parent / "recorded"
SETTINGS = """PATTERNS = "resolved"
PROPAGATE = ["cape"]
NODES = {
    "batman": {"needs": ["batsignal"], "env": {"CAPE": "black"}, "tags": ["heroes"]},
    "robin": {"process": "small"},
    "joker": {"process": "small"},
}"""
BATSIGNAL = """
from hivemind import NoResponders, Node, service

class Batsignal(Node):
    @service("bat-signal-main", every=0.3)
    def light(self, service):
        service.send("help")
        self.send("bat-signal-bytes", b"help", headers={"cape": "black"})

    @service("orders", durable=True, every=0.1)
    def order(self, service):
        self.number = getattr(self, "number", 0) + 1
        if self.number <= 12:
            service.send({"customer": "ABC"[self.number % 3], "number": self.number})

    @service("orders-live", every=0.5)
    def order_live(self, service):
        service.send("by phone")

    @service("weather", keep=3, every=0.3)
    def tell(self, service):
        service.send({"rain": True})

    @service("asking", every=0.5)
    def ask(self, service):
        try:
            self.request("cape", 1, timeout=5.0)
            list(self.request_stream("capes", 2, timeout=5.0))
        except NoResponders:
            pass

    @service("broken", every=0.3)
    def fail(self, service):
        raise ValueError("no light")
"""
BATMAN = """
import asyncio
from hivemind import Node, Reject, Retry, responder, subscription

class Batman(Node):
    def metadata(self):
        return {"home": "cave"}

    @subscription("bat-signal-*")
    def come(self, payload):
        pass

    @subscription("weather", since=1)
    async def look(self, payload: dict):
        pass

    @subscription(
        "orders*", durable=True, since="all", group="shop", retries=3, order_by="customer", dedupe="10m", workers=4
    )
    async def pack(self, payload):
        number = payload["number"]
        if number == 2:
            raise Reject("nobody wants it")
        if number == 3:
            raise Retry(3600)
        if number == 4:
            await asyncio.sleep(3600)

    @responder("cape")
    async def lend(self, payload):
        return {"cape": payload}

    @responder("rip")
    async def rip(self, payload):
        raise ValueError("no cape")

    @responder("capes", stream=True)
    async def show(self, payload):
        for number in range(3):
            yield number
"""
SMALL = """
from hivemind import Node, subscription

class {name}(Node):
    @subscription("bat-signal-*")
    async def hear(self, payload):
        pass
"""
FILES = (
    *("enabled.json", "scale.json", "stopped.json", "settings.json", "root.json", "releases/*/*.json"),
    *("run/*.json", "run/*.pid", "run/*.lives", "run/supervisord.identity"),
)


class Listener:
    """Hears every channel of the server at ``path``, and keeps one body of each shape."""

    def __init__(self, path: Path) -> None:
        self._connection = Connection(path, timeout=3600.0)
        self._connection.ask("PSUBSCRIBE", "hm:*")
        self.heard: dict[str, dict[str, str]] = {}
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                _, _, channel, body = self._connection.read()
                with suppress(ValueError):
                    self.heard.setdefault(shape(channel, orjson.loads(body)), {"channel": channel, "body": body})


def shape(channel: str, said: Any) -> str:
    """What tells one kind of message from another: where it travels, its fields, and what it says that it is."""
    kind = ":".join(channel.split(":")[2:4] if channel.split(":")[2] == "c" else channel.split(":")[2:3])
    fields = (
        {name: said.get(name) for name in ("k", "event", "verb", "m", "done", "last")} if isinstance(said, dict) else {}
    )
    told = " ".join(f"{name}={'' if name == 'last' else value}" for name, value in fields.items() if value)
    inner = said.get("d") if isinstance(said, dict) and channel.split(":")[2] in "qi" else None
    parts = [
        re.sub("hived-[0-9a-f]+", "hived-ID", kind),
        ",".join(sorted(said)) if isinstance(said, dict) else "",
        told,
    ]
    return " / ".join([*parts, ",".join(sorted(inner)) if isinstance(inner, dict) else ""]).rstrip(" /")


def values(ask: Callable[..., Any]) -> Iterator[tuple[str, str, Any]]:
    """Every key of a server: its name, its type, and what is in it."""
    cursor, keys = "0", set[str]()
    while True:
        cursor, found = ask("SCAN", cursor, "MATCH", "hm:*", "COUNT", 1000)
        keys.update(found)
        if cursor == "0":
            break
    for key in sorted(keys):
        kind = ask("TYPE", key)
        if kind != "none":
            yield key, kind, READ[kind](ask, key)


def _pairs(flat: list[Any]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _stream(ask: Callable[..., Any], key: str) -> dict[str, Any]:
    groups = []
    for each in map(_pairs, ask("XINFO", "GROUPS", key)):
        pending = ask("XPENDING", key, each["name"], "-", "+", 1000)
        groups.append({"name": each["name"], "last": each["last-delivered-id"], "pending": pending})
    return {"entries": ask("XRANGE", key, "-", "+"), "groups": groups}


READ: Mapping[str, Callable[[Callable[..., Any], str], Any]] = {
    "string": lambda ask, key: ask("GET", key),
    "hash": lambda ask, key: _pairs(ask("HGETALL", key)),
    "set": lambda ask, key: sorted(ask("SMEMBERS", key)),
    "zset": lambda ask, key: _pairs(ask("ZRANGE", key, 0, -1, "WITHSCORES")),
    "stream": _stream,
}


def record() -> dict[str, Any]:
    """Run a hive in which there is something of everything; what it wrote, by file."""
    with tempfile.TemporaryDirectory() as folder, hive_in(Path(folder) / "gotham", more=SETTINGS) as hive:
        for name, code in (("batsignal", BATSIGNAL), ("batman", BATMAN), ("robin", SMALL), ("joker", SMALL)):
            hive.node(name, code)
        server = Embedded.of(hive.engine.settings)
        server.ensure()
        listener = Listener(server.socket)
        done = hive.run("hived", "start", timeout=120)
        assert done.returncode == 0, done.stderr
        with Connection(server.socket) as look:
            eventually(lambda: is_busy(look), within=60)
            ask_all(hive)
            keys = [{"key": key, "type": kind, "value": value} for key, kind, value in values(look.ask)]
            kill(hive.copies("batman")[0])
            gone = f"{Names('gotham').readers()}"
            eventually(lambda: look.ask("EXISTS", gone), within=30)
            keys += [{"key": gone, "type": "hash", "value": READ["hash"](look.ask, gone)}]
            steer(hive)
            keys += rolled(hive, look)
        eventually(lambda: any(hive.engine.paths.releases.glob("[0-9]*/release.json")), within=60)
        written = files(hive)
        servers = [RedisServer(need_server(), lines=("appendfsync everysec",)).start() for _ in range(2)]
        try:
            keys += moved(hive, servers)
        finally:
            for each in servers:
                each.close()
        found = {
            "keys": keys,
            "channels": [listener.heard[each] for each in sorted(listener.heard)],
            "files": written | files(hive, ("moved.json",)),
        }
        return dict(orjson.loads(told_of_no_machine(orjson.dumps(found).decode(), hive, servers)))


def is_busy(look: Connection) -> bool:
    """Whether there is something of all that durable delivery keeps."""
    kinds = "sprdkh"
    return all(look.ask("EXISTS", f"hm:gotham:{kind}:{{orders}}") for kind in kinds) and (
        look.ask("EXISTS", "hm:{gotham}:caretaker", "hm:{gotham}:past") == 2
    )


def ask_all(hive: Hive) -> None:
    """Requests of all kinds."""
    assert hive.run("hm", "request", "cape", '"black"').returncode == 0
    for name in ("rip", "capes", "nobody"):
        hive.run("hm", "request", name, "1")


def steer(hive: Hive) -> None:
    """Commands of all kinds, and a goodbye."""
    for words in (("restart", "robin"), ("stop", "batman"), ("start", "batman"), ("scale", "small", "2")):
        hive.run("hm", *words)
    hive.run("hm", "stop", "batsignal")
    eventually(lambda: well(hive), within=60)


def rolled(hive: Hive, look: Connection) -> list[dict[str, Any]]:
    """What is there while nodes are rolled."""
    key = Names("gotham").roll()
    with subprocess.Popen(hive.command("hm", "roll", "small"), cwd=hive.folder, env=hive.environ) as rolling:
        value = eventually(lambda: look.ask("GET", key), within=30)
        assert rolling.wait(120) == 0
    return [{"key": key, "type": "string", "value": value}]


def moved(hive: Hive, servers: Sequence[RedisServer]) -> list[dict[str, Any]]:
    """Move the hive to one server, and from that to another; what is left at the first of them."""
    for server in servers:
        done = hive.run("hm", "redis", "move", server.url, timeout=120)
        assert done.returncode == 0, done.stderr
    key = Names("gotham").move()
    return [{"key": key, "type": "string", "value": servers[0].command("GET", key)}]


def files(hive: Hive, names: Sequence[str] = FILES) -> dict[str, Any]:
    """What hived, keepers and the root wrote, by name below ``var``."""
    var = hive.folder / "var"
    paths = sorted({path for pattern in names for path in var.glob(pattern)})
    return {str(path.relative_to(var)): orjson.loads(path.read_bytes()) for path in paths}


def told_of_no_machine(text: str, hive: Hive, servers: Sequence[RedisServer]) -> str:
    """``text`` without what says where it was written."""
    boot = this_boot()
    for what, instead in (
        *((str(each.folder), f"/redis/{number}") for number, each in enumerate(servers)),
        (str(hive.folder), "/hives/gotham"),
        (sys.executable, "/venv/bin/python"),
        (str(Path(__file__).parent.parent), "/hivemind"),
        (boot, "boot"),
        (boot.replace("/", "\\/"), "boot"),
        (socket.gethostname(), "cave"),
    ):
        text = text.replace(what, instead)
    return text


def main() -> None:
    """Write what this release writes, unless that was done."""
    folder = RECORDED / ".".join(__version__.split(".")[:2])
    if folder.exists():
        sys.exit(f"{folder} is there: what a release wrote does not change")
    found = record()
    folder.mkdir(parents=True)
    for name, value in found.items():
        (folder / f"{name}.json").write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
