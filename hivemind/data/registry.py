"""The registry: which instances there are, what they do, and until when their lease runs.

One hash an instance, which expires with the lease; one set of all instances. Whoever reads derives the state: nobody
has to clean up for the picture to be right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import groupby, islice
from typing import Any

import orjson

from ..bus.cluster import is_halted
from ..bus.commands import Commands, checked
from ..bus.functions import Functions
from ..errors import Fenced, InstanceHeld, LayoutMismatch, RedisRefused
from ..message import count_in
from ..patterns import SERVER
from ..topics import Names, is_instance
from .layout import LAYOUT
from .records import About, Instance, Stats, about_from, json_object, stats_from

NOTICES = "node"  #: the kind of notice that tells who came and who went
TOPICS = "topics"  #: the kind of notice that tells of new topics, and of how patterns are kept
NOBODY = "nobody"  #: no instance is called so: it has no number
CHUNK = 500  #: instances read in one round trip
NOT_THERE = -2  #: what Redis says of when a key expires that is not there
MOST_OF_NODE = 10_000  #: instances of one node that are read


class Abouts:
    """What instances said when they registered, which seldom changes: it is read anew where it has."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes | None, About]] = {}

    def of(self, instance: str, raw: bytes | None) -> About:
        """What ``raw`` says."""
        known = self._known.get(instance)
        if known is None or known[0] != raw:
            known = self._known[instance] = raw, about_from(json_object(raw), instance)
        return known[1]

    def keep(self, instances: Collection[str]) -> None:
        """Forget all others."""
        self._known = {name: self._known[name] for name in instances if name in self._known}


class Registry:
    """Reads and writes the registry of one hive. All methods raise RedisError when Redis does not do its part; whoever
    registers LayoutMismatch, too, where another version wrote what is there.

    ``patterns`` says how patterns are to be kept if nobody else lives; after ``register``, how we keep them.
    ``kept`` is how the hive does: what Redis said last. ``strays`` stood in the list when all were read last, though
    nobody had these names for a day: any node may write there.
    """

    def __init__(self, commands: Commands, functions: Functions, names: Names, patterns: str = SERVER) -> None:
        self._commands, self._functions, self._names = commands, functions, names
        self.patterns = self.kept = patterns
        self.strays: list[str] = []

    # -- being in it

    async def register(
        self, instance: str, about: About, stats: Stats, over: InstanceHeld | None = None, before: int = 0
    ) -> int:
        """Enter ``instance`` in a new life and return its incarnation.

        Raises InstanceHeld while another process has it, or may have it; a holder on this machine that is gone is
        replaced, and so is the one of ``over``, if it gave no sign since. ``before`` is the life that
        held it when we looked before: it comes back if Redis lost its data. ``Standby`` calls this for who waits.
        """
        reply = await self._register(instance, about, stats, 0, _over(over), str(before or ""))
        if reply[0] == 0:
            holder = about_from(json_object(reply[1]), instance)
            if holder.process is None or not holder.process.has_ended():
                raise _held(instance, holder, reply)
            reply = await self._register(instance, about, stats, 0, (reply[2], ""))
            if reply[0] == 0:
                raise _held(instance, about_from(json_object(reply[1]), instance), reply)
        self.patterns = self.kept
        return int(reply[2])

    async def register_again(self, instance: str, incarnation: int, about: About, stats: Stats) -> None:
        """Enter the same life again, after Redis lost its data. Raises Fenced when a newer one is known."""
        reply = await self._register(instance, about, stats, incarnation, ("", ""))
        if reply[0] == -1:
            raise Fenced(instance, incarnation, int(reply[2]))

    async def renew(self, instance: str, incarnation: int, lease: float, stats: Stats) -> bool:
        """Let the lease last for ``lease`` seconds from now on, and write what the instance did so far; False, and
        nothing is written, when the registry knows nothing of this life.

        Raises Fenced when a newer life is registered.
        """
        names = self._names
        keys = (names.node(instance), names.epoch(instance), names.whose(instance))
        reply = await self._functions.call("renew", keys, (incarnation, int(lease * 1000), _json(stats)))
        if isinstance(reply, bytes):
            raise Fenced(instance, incarnation, int(reply))
        return bool(reply)

    async def is_halted(self) -> bool:
        """Whether this is a Cluster that serves nothing, because a part of it failed: then nobody can register."""
        return is_halted(await self._commands.execute("CLUSTER", "INFO"))

    async def newest(self, instance: str) -> int:
        """The newest incarnation that the registry knows; 0 if none. Only reads: works when Redis writes nothing."""
        held, stored = await self._commands.pipeline(
            [("HGET", self._names.node(instance), "incarnation"), ("GET", self._names.epoch(instance))]
        )
        return max(count_in(checked(held)), count_in(checked(stored)))

    async def deregister(self, instance: str, incarnation: int) -> None:
        """Leave, if it is still ours."""
        await self._functions.call("deregister", self._traces(instance), (instance, incarnation))

    async def _register(
        self, instance: str, about: About, stats: Stats, incarnation: int, over: tuple[str, str], before: str = ""
    ) -> Any:
        names, lease = self._names, int(about.lease * 1000)
        keys: tuple[str, ...] = (names.node(instance), names.nodes(), names.epoch(instance), names.patterns())
        said = (_json(about), _json(stats))
        whose, sign = over
        arguments = (instance, lease, *said, incarnation, whose, self.patterns, names.control(TOPICS), sign)
        more = (before, LAYOUT)
        keys += (names.resolvers(), names.resolved(), names.readers(), names.layout(), names.whose(instance))
        reply = await self._functions.call("register", keys, (*arguments, *more))
        reply = [entry.decode(errors="replace") if isinstance(entry, bytes) else entry for entry in reply]
        if reply[0] == -2:
            raise LayoutMismatch(names.hive, int(reply[2]), LAYOUT)
        if reply[0] == 1:
            self.kept = reply[3]
        return reply

    def _traces(self, instance: str) -> tuple[str, ...]:
        """The keys in which an instance stands while it lives."""
        names = self._names
        return names.node(instance), names.nodes(), names.resolvers(), names.resolved(), names.whose(instance)

    # -- reading it

    async def instances(self, nodes: Collection[str] | None = None, known: Abouts | None = None) -> list[Instance]:
        """All instances, or those of ``nodes``, sorted by node and number; those whose lease ended are ``lost``. Who
        asks again and again keeps what is ``known`` already.
        """
        members = await self._commands.execute("SMEMBERS", self._names.nodes())
        names = sorted(filter(is_instance, (member.decode(errors="replace") for member in members)), key=_order)
        if nodes is not None:
            names = [name for name in names if name.rpartition(".")[0] in nodes]
        else:
            names = [name for _, own in groupby(names, _node) for name in islice(own, MOST_OF_NODE)]
        found = []
        for start in range(0, len(names), CHUNK):
            found += await self._read(names[start : start + CHUNK], known)
        if nodes is None:
            self.strays = sorted(set(names) - {one.instance for one in found})
        if known is not None:
            known.keep([one.instance for one in found])
        return found

    async def instance(self, instance: str) -> Instance | None:
        """One instance; None when the registry does not know it."""
        return next(iter(await self.those([instance])), None)

    async def those(self, instances: Collection[str]) -> list[Instance]:
        """Of ``instances`` those that the registry knows, sorted as all are."""
        names = sorted(filter(is_instance, instances), key=_order)
        known = await self._commands.pipeline([("SISMEMBER", self._names.nodes(), name) for name in names])
        return await self._read([name for name, is_known in zip(names, known, strict=True) if checked(is_known)])

    async def last(self, instances: list[str]) -> list[Instance]:
        """Who had each of these last and did not give it back, whether its lease has ended or not; that is known for a
        day after its last beat. Of each there is what it said when it registered, and no more.
        """
        replies = await self._commands.pipeline([("GET", self._names.whose(name)) for name in instances])
        told = [json_object(reply if isinstance(reply, bytes) else None) for reply in replies]
        return [
            Instance(name, 0, None, about_from(said, name), stats_from({}))
            for name, said in zip(instances, told, strict=True)
        ]

    async def forget(self, instance: str) -> bool:
        """Remove an instance whose lease has ended; False if it lives or is not known."""
        return bool(await self._functions.call("forget", self._traces(instance), (instance,)))

    async def forget_strays(self) -> None:
        """Remove the ``strays``, unless somebody has such a name by now."""
        words = await self._functions.ready("forget") if self.strays else ()
        for start in range(0, len(self.strays), CHUNK):
            each = ((name, self._traces(name)) for name in self.strays[start : start + CHUNK])
            await self._commands.pipeline([(*words, len(traces), *traces, name) for name, traces in each])
        self.strays = []

    async def late(self, leases: Mapping[str, float]) -> tuple[float, dict[str, int]]:
        """Redis's time in unix seconds; and who of these, by instance and lease in seconds, has not beaten for half of
        that: when its lease ends, in unix milliseconds by Redis's clock, negative when it has ended.

        Redis's clock may be set: whether one is late is a guess, and only that its end moves proves something. Raises
        RedisError, also where Redis would refuse a beat.
        """
        keys = [self._names.node(NOBODY), *map(self._names.node, leases)]
        reply = await self._functions.call("late", keys, [int(lease * 1000) for lease in leases.values()])
        told = iter(reply)
        time, instances = next(told) / 1000, list(leases)
        return time, {instances[at - 1]: ends for at, ends in zip(told, told, strict=True)}

    async def _read(self, names: list[str], known: Abouts | None = None) -> list[Instance]:
        read = await self._entries(names)
        gone, back = await self._missing([name for name, (_, expires) in read.items() if expires == NOT_THERE])
        if back:
            read |= await self._entries(back)
        abouts = known or Abouts()
        return [_instance(name, _fields(said), at, abouts) for name, (said, at) in read.items() if name not in gone]

    async def _entries(self, names: list[str]) -> dict[str, tuple[Any, int]]:
        """What there is of each, and when its lease ends."""
        commands: list[tuple[str, ...]] = []
        for name in names:
            key = self._names.node(name)
            commands += [("HMGET", key, "incarnation", "about", "stats"), ("PEXPIRETIME", key)]
        replies = await self._commands.pipeline(commands)
        return dict(zip(names, zip(replies[::2], map(checked, replies[1::2]), strict=True), strict=True))

    async def _missing(self, lost: list[str]) -> tuple[set[str], list[str]]:
        """Of those who were listed and had no entry a moment later, who is not lost: who said goodbye meanwhile, and
        strays, of whom no incarnation is known (their last beat was a day ago, or there never was one); and who is
        back, in a life that began just now.
        """
        gone, back = set[str](), list[str]()
        names = self._names
        asked = [
            [("EXISTS", names.epoch(one)), ("SISMEMBER", names.nodes(), one), ("EXISTS", names.node(one))]
            for one in lost
        ]
        replies = iter(await self._commands.pipeline([each for three in asked for each in three]) if lost else [])
        for name, known, listed, there in zip(lost, replies, replies, replies, strict=True):
            if checked(there):
                back.append(name)
            elif not (checked(known) and checked(listed)):
                gone.add(name)
        return gone, back


def told_of(notice: bytes) -> str:
    """Whom a notice of comings and goings is about; "" for what is none: anybody may publish there."""
    name = json_object(notice).get("instance")
    return name if isinstance(name, str) and is_instance(name) else ""


def _over(held: InstanceHeld | None) -> tuple[str, str]:
    """Whom one may take over from, and what its last sign has to be then."""
    return ("", "") if held is None else (str(held.incarnation), str(held.sign))


def _held(instance: str, holder: About, reply: Any) -> InstanceHeld:
    expires = int(reply[3])
    who = f"process {holder.pid} on {holder.host or 'an unknown host'}"
    if not expires:
        who = f"{who if holder.pid else 'a process'} that did not say goodbye, and may live"
    return InstanceHeld(instance, who, count_in(str(reply[2]).encode()), expires, holder.lease, int(reply[4]))


def _json(record: About | Stats) -> bytes:
    return orjson.dumps(record)  # it reads dataclasses by itself: twenty times faster than by asdict


def _fields(reply: Any) -> list[bytes | None]:
    if isinstance(reply, RedisRefused):  # somebody wrote something else in its place
        return [None, None, None]
    found: list[bytes | None] = checked(reply)
    return found


def _instance(name: str, fields: list[bytes | None], expires: int, abouts: Abouts) -> Instance:
    incarnation, about, stats = fields
    return Instance(
        instance=name,
        incarnation=count_in(incarnation),
        expires=expires / 1000 if expires > 0 and incarnation else None,
        about=abouts.of(name, about),
        stats=stats_from(json_object(stats)),
    )


def _node(instance: str) -> str:
    return instance.rpartition(".")[0]


def _order(instance: str) -> tuple[str, int]:
    node, _, number = instance.rpartition(".")
    return node, int(number)
