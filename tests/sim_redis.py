"""A Redis for simulations: as much of it as leases, messages and groups need, in memory, by a clock that is given.

The functions of the library are the real ones: their Lua runs here. What a client sends and gets are the real bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from lupa import lua51

from hivemind.bus.functions import LIBRARY, library
from hivemind.topics import matches

Words = Sequence[bytes]


class Refusal(Exception):
    """What a server says instead of doing it."""


class Status(str):
    """A reply that is a word, such as OK."""

    __slots__ = ()


class Group:
    """A group of a stream: how far it has read, its consumers, and who holds what."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.consumers: set[bytes] = set()
        self.pending: dict[int, tuple[bytes, int]] = {}  # number of the entry: by whom, how often


class Stream:
    """Entries by a number that only grows; an id is ``<number>-0``."""

    def __init__(self) -> None:
        self.entries: dict[int, list[bytes]] = {}
        self.groups: dict[bytes, Group] = {}
        self.last = 0


class Client:
    """One connection, as the server sees it. ``push`` hands bytes to the other side."""

    def __init__(self, push: Callable[[bytes], None]) -> None:
        self.push = push
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.reader = hiredis.Reader()


class SimRedis:
    """``clock`` is the time in seconds that it believes in. ``before`` is told of each function that is called; what it
    returns is called right behind it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.clients: list[Client] = []
        self.before: Callable[[str, list[bytes], list[bytes]], Callable[[], None] | None] = lambda *_: None
        self.has_library = False
        self.functions: dict[str, Any] = {}
        self._lua = lua51.LuaRuntime(encoding=None)
        self.forget()
        self._load()

    def forget(self) -> None:
        """Lose everything."""
        self.data: dict[bytes, Any] = {}
        self.expires: dict[bytes, int] = {}
        self.has_library = False

    # -- clients

    def received(self, client: Client, data: bytes) -> None:
        """Do what a client asks."""
        client.reader.feed(data)
        while (words := client.reader.gets()) is not False:
            try:
                reply = self._of_client(client, words)
            except Refusal as error:
                reply = error
            if reply is not Ellipsis:
                client.push(packed(reply))

    def _of_client(self, client: Client, words: list[bytes]) -> Any:
        name, rest = words[0].upper(), words[1:]
        if name in (b"SUBSCRIBE", b"PSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE"):
            wanted = client.patterns if b"PSUB" in name or b"PUNSUB" in name else client.channels
            for one in rest:
                wanted.pop(one, None) if b"UN" in name else wanted.setdefault(one)
                client.push(packed([name.lower(), one, len(client.channels) + len(client.patterns)]))
            return ...
        if name == b"PING" and (client.channels or client.patterns):
            return [b"pong", b""]
        return self.call(words)

    # -- commands

    def call(self, words: Sequence[Any]) -> Any:
        """One command. Raises Refusal."""
        name, *rest = [one if isinstance(one, bytes) else str(one).encode() for one in words]
        do = getattr(self, f"_{name.decode().lower()}", None)
        if do is None:
            raise Refusal(f"ERR unknown command '{name.decode()}'")
        now = int(self.clock() * 1000)
        for key in [key for key, at in self.expires.items() if at <= now]:
            self._del(key)
        return do(*rest)

    def _ping(self) -> Any:
        return Status("PONG")

    def _client(self, *_: bytes) -> Any:
        return Status("OK")

    def _time(self) -> Any:
        micros = int(self.clock() * 1e6)
        return [b"%d" % (micros // 1_000_000), b"%d" % (micros % 1_000_000)]

    def _publish(self, channel: bytes, body: bytes) -> int:
        heard = 0
        for client in self.clients:
            found = [[b"message", channel, body]] if channel in client.channels else []
            found += [
                [b"pmessage", pattern, channel, body]
                for pattern in client.patterns
                if matches(pattern.decode(), channel.decode())
            ]
            for one in found:
                client.push(packed(one))
            heard += len(found)
        return heard

    def _function(self, what: bytes, *_: bytes) -> Any:
        if what == b"LOAD":
            self.has_library = True
            return LIBRARY.encode()
        return [[b"library_name", LIBRARY.encode()]] if self.has_library else []

    def _fcall(self, name: bytes, count: bytes, *rest: bytes) -> Any:
        if not self.has_library:
            raise Refusal("ERR Function not found")
        short, keys, args = (
            name.decode().removeprefix(f"{LIBRARY}_"),
            list(rest[: int(count)]),
            list(rest[int(count) :]),
        )
        after = self.before(short, keys, args)
        table = self._lua.table_from
        reply = self._from_lua(self.functions[short](table(keys), table(args)))
        if after is not None:
            after()
        return reply

    # -- keys

    def _kind(self, key: bytes, kind: type[Any]) -> Any:
        found = self.data.get(key)
        if found is not None and not isinstance(found, kind):
            raise Refusal("WRONGTYPE Operation against a key holding the wrong kind of value")
        return found

    def _type(self, key: bytes) -> Status:
        kinds = {bytes: "string", dict: "hash", set: "set", Stream: "stream"}
        return Status(kinds[type(self.data[key])] if key in self.data else "none")

    def _del(self, *keys: bytes) -> int:
        gone = [key for key in keys if self.data.pop(key, None) is not None]
        for key in keys:
            self.expires.pop(key, None)
        return len(gone)

    def _exists(self, *keys: bytes) -> int:
        return sum(key in self.data for key in keys)

    def _get(self, key: bytes) -> Any:
        return self._kind(key, bytes)

    def _set(self, key: bytes, value: bytes, *options: bytes) -> Status:
        self._del(key)
        self.data[key] = value
        if options[:1] == (b"PX",):
            self._pexpire(key, options[1])
        return Status("OK")

    def _pexpire(self, key: bytes, ms: bytes) -> int:
        if key not in self.data:
            return 0
        self.expires[key] = int(self.clock() * 1000) + int(ms)
        return 1

    def _pttl(self, key: bytes) -> int:
        at = self._pexpiretime(key)
        return max(0, at - int(self.clock() * 1000)) if at >= 0 else at

    def _pexpiretime(self, key: bytes) -> int:
        return self.expires.get(key, -1) if key in self.data else -2

    def _hset(self, key: bytes, *pairs: bytes) -> int:
        fields = self._kind(key, dict)
        if fields is None:
            fields = self.data[key] = {}
        before = len(fields)
        fields.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(fields) - before

    def _hget(self, key: bytes, field: bytes) -> Any:
        return (self._kind(key, dict) or {}).get(field)

    def _hmget(self, key: bytes, *fields: bytes) -> Any:
        return [self._hget(key, field) for field in fields]

    def _hdel(self, key: bytes, *fields: bytes) -> int:
        found = self._kind(key, dict) or {}
        return sum(found.pop(field, None) is not None for field in fields)

    def _sadd(self, key: bytes, *members: bytes) -> int:
        self.data.setdefault(key, set()).update(members)
        return len(members)

    def _srem(self, key: bytes, *members: bytes) -> int:
        found = self.data.get(key, set())
        found.difference_update(members)
        return len(members)

    def _sismember(self, key: bytes, member: bytes) -> int:
        return int(member in self.data.get(key, ()))

    def _smembers(self, key: bytes) -> Any:
        return sorted(self.data.get(key, ()))

    def _srandmember(self, key: bytes, count: bytes) -> Any:
        return sorted(self.data.get(key, ()))[: int(count)]

    def _zscore(self, *_: bytes) -> Any:
        return None  # nothing is ever parked here

    # -- streams

    def _xadd(self, key: bytes, _: bytes, *fields: bytes) -> bytes:
        stream = self.data.setdefault(key, Stream())
        stream.last = max(stream.last + 1, int(self.clock() * 1000))  # none twice, though all was lost
        stream.entries[stream.last] = list(fields)
        return b"%d-0" % stream.last

    def _xgroup(self, what: bytes, key: bytes, name: bytes, *rest: bytes) -> Any:
        stream = self.data.get(key) or self.data.setdefault(key, Stream())
        if what == b"DELCONSUMER":
            stream.groups[name].consumers.discard(rest[0])
            return 0
        if name in stream.groups:
            raise Refusal("BUSYGROUP Consumer Group name already exists")
        stream.groups[name] = Group(0)
        return Status("OK")

    def group(self, key: bytes, name: bytes) -> Group:
        """One group. Raises Refusal."""
        stream = self._kind(key, Stream)
        if stream is None or name not in stream.groups:
            raise Refusal(f"NOGROUP No such consumer group '{name.decode()}' for key name '{key.decode()}'")
        found: Group = stream.groups[name]
        return found

    def _xreadgroup(self, *words: bytes) -> Any:
        name, consumer, count, key = words[1], words[2], int(words[4]), words[6]
        group, stream = self.group(key, name), self.data[key]
        group.consumers.add(consumer)
        new = [number for number in stream.entries if number > group.last][:count]
        for number in new:
            group.pending[number] = (consumer, 1)
            group.last = number
        return [[key, [[b"%d-0" % one, stream.entries[one]] for one in new]]] if new else None

    def _xack(self, key: bytes, name: bytes, *ids: bytes) -> int:
        try:
            group = self.group(key, name)
        except Refusal:
            return 0
        return sum(group.pending.pop(_number(one), None) is not None for one in ids)

    def _xpending(self, key: bytes, name: bytes, first: bytes, last: bytes, count: bytes, consumer: bytes) -> Any:
        least = 0 if first == b"-" else _number(first)
        group = self.group(key, name)
        most = self.data[key].last if last == b"+" else _number(last)
        held = [
            [b"%d-0" % number, who, 0, tries]
            for number, (who, tries) in sorted(group.pending.items())
            if who == consumer and least <= number <= most
        ]
        return held[: int(count)]

    def _xclaim(self, key: bytes, name: bytes, consumer: bytes, _: bytes, entry: bytes, *__: bytes) -> Any:
        group = self.group(key, name)
        group.consumers.add(consumer)
        group.pending[_number(entry)] = (consumer, group.pending[_number(entry)][1])
        return [entry]

    def _xinfo(self, what: bytes, key: bytes, name: bytes) -> Any:
        assert what == b"CONSUMERS"
        return [[b"name", one, b"idle", 0] for one in sorted(self.group(key, name).consumers)]

    # -- Lua

    def _load(self) -> None:
        """Let the real library register its functions."""

        def call(*words: Any) -> Any:
            return self._to_lua(self.call([_word(one) for one in words]))

        def pcall(*words: Any) -> Any:
            try:
                return call(*words)
            except Refusal as error:
                return self._lua.table_from({b"err": str(error).encode()})

        def register(about: Any) -> None:
            self.functions[about[b"function_name"].decode().removeprefix(f"{LIBRARY}_")] = about[b"callback"]

        def refuse(text: bytes) -> Any:
            return self._lua.table_from({b"err": text})

        doors = {b"call": call, b"pcall": pcall, b"register_function": register, b"error_reply": refuse}
        self._lua.globals()[b"redis"] = self._lua.table_from(doors)
        self._lua.execute(library().partition("\n")[2].encode())

    def _to_lua(self, reply: Any) -> Any:
        if reply is None:
            return False
        if isinstance(reply, Status):
            return self._lua.table_from({b"ok": reply.encode()})
        return self._lua.table_from([self._to_lua(one) for one in reply]) if isinstance(reply, list) else reply

    def _from_lua(self, found: Any) -> Any:
        if lua51.lua_type(found) != "table":
            return (
                (1 if found else None) if isinstance(found, bool) else int(found) if isinstance(found, float) else found
            )
        if found[b"err"] is not None:
            raise Refusal(found[b"err"].decode())
        if found[b"ok"] is not None:
            return Status(found[b"ok"].decode())
        reply: list[Any] = []
        while (one := found[len(reply) + 1]) is not None:
            reply.append(self._from_lua(one))
        return reply


def _word(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"%d" % value if isinstance(value, int) or value.is_integer() else repr(value).encode()


def _number(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])


def packed(reply: Any) -> bytes:
    """A reply as it travels."""
    if isinstance(reply, Refusal):
        return f"-{reply}\r\n".encode()
    if isinstance(reply, Status):
        return f"+{reply}\r\n".encode()
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, list):
        return b"*%d\r\n%b" % (len(reply), b"".join(map(packed, reply)))
    return b"$%d\r\n%b\r\n" % (len(reply), reply)
