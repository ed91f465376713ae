"""A hive in a simulated world: copies of a node that own a number, send, and read in a group, while all kinds of things
break; and what is promised of them.

    SEED=17 python -m tests.simulation        one run, told in full
    python -m tests.simulation 500            so many, from seed 0 on

A run ends with a calm time, in which everything has to become well again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.receiving import LiveSubscription
from hivemind.bus.streams import Reader
from hivemind.data.heartbeat import Heart
from hivemind.data.heirs import Heirs
from hivemind.data.records import About, Stats
from hivemind.data.registry import Registry
from hivemind.data.standby import Standby
from hivemind.errors import HivemindError, InstanceHeld, RedisError, TakenOver
from hivemind.identity import ProcessIdentity
from hivemind.message import envelope_of

from .sim_redis import Stream
from .sim_world import Net, Process, World

LEASE, BEAT = 6.0, 2.0
HIVE, TOPIC, ORDERS, GROUP = "sim", "signal", "order", "shop"
WILD, CALM = 45.0, 60.0  # seconds in which things break, and in which all has to become well
URL = f"unix:///sim?hive={HIVE}"
TRIES = 14  # connections that one process may try to make in a second: three, each with 0.125 s of back-off on average
MOST_TRIES = 4 * TRIES


def about(process: Process) -> About:
    who = ProcessIdentity(os.getpid(), float(len(process.world.processes)), "another boot", process.name)
    return About("batman", process.name, 1, 1.0, LEASE, who)


class Copy(Process):
    """A process that is to be ``instance``: the one that runs, or the next, or one that stands by."""

    def __init__(self, hive: Hive, instance: str) -> None:
        super().__init__(hive.world, f"{instance}/{len(hive.world.processes)}")
        self.hive, self.instance, self.incarnation = hive, instance, 0
        self.is_fenced = False
        self.heart: Heart | None = None
        self.begin(self._live())

    @property
    def owns(self) -> bool:
        """Whether it acts as its instance."""
        is_able = self.incarnation > 0 and not (self.is_dead or self.is_frozen or self.is_fenced)
        return is_able and self.heart is not None and self.heart.may_speak()

    async def _live(self) -> None:
        bus = Bus(Endpoint.parse(URL), HIVE, "batman")
        registry = Registry(bus.commands, bus.functions, bus.names, "server")
        standby, said = Standby(registry, LEASE), about(self)
        self.heart = heart = Heart(bus, registry, said, Stats, self._fenced, lambda: None)
        bus.start()
        while not self.incarnation:
            try:
                self.incarnation = await standby.register(self.instance, said, Stats())
            except InstanceHeld:
                await asyncio.sleep(1.0)
            except RedisError:
                await asyncio.sleep(0.25)
        bus.identify(self.instance, self.incarnation)
        heart.start(BEAT)
        await asyncio.gather(self._send(bus), self._read(bus))

    def _fenced(self, _: HivemindError) -> None:
        self.is_fenced = True

    async def _send(self, bus: Bus) -> None:
        while not self.is_fenced:
            bus.send(TOPIC, self.name)
            await asyncio.sleep(self.world.rng.uniform(0.2, 1.5))

    async def _read(self, bus: Bus) -> None:
        reader, heirs = Reader(GROUP, self.instance, self.incarnation), Heirs(bus.commands, bus.names, LEASE)
        held: list[bytes] = []
        gaps = 0
        while not self.is_fenced:
            if gaps != (gaps := bus.outbox.link.gaps):
                heirs.start_afresh()
            try:
                held += await self._inherited(bus, heirs, reader) or await self._new(bus, reader)
                while held:
                    await asyncio.sleep(self.world.rng.uniform(0.05, 1.0))
                    await bus.streams.acknowledge(ORDERS, reader, [held[0]])
                    held.pop(0)
            except TakenOver:  # it goes on as another reader
                held, heirs = [], Heirs(bus.commands, bus.names, LEASE)
                reader = Reader(GROUP, self.instance, reader.incarnation + 1)
            except RedisError:
                held = []
            await asyncio.sleep(self.world.rng.uniform(0.1, 0.6))

    async def _inherited(self, bus: Bus, heirs: Heirs, me: Reader) -> list[bytes]:
        """What the dead held, and what is ours without our knowing."""
        others = [one for one in await bus.streams.readers(ORDERS, GROUP) if one != me]
        found = [one.entry for one in await bus.streams.held(ORDERS, me)]
        for ended in await heirs.ended(me, others) if others else ():
            found += [one.entry for one in await bus.streams.take_over(ORDERS, me, ended)]
        return found

    async def _new(self, bus: Bus, me: Reader) -> list[bytes]:
        stream = bus.names.stream(ORDERS)
        words = ("XREADGROUP", "GROUP", me.group, me.consumer, "COUNT", 5, "STREAMS", stream, ">")
        found = await bus.commands.execute(*words)
        return [entry for entry, _ in found[0][1]] if found else []


class Ear(Process):
    """A process that receives what the copies send, and what it was given to handle."""

    def __init__(self, world: World) -> None:
        super().__init__(world, f"ear/{len(world.processes)}")
        self.subscription = LiveSubscription(TOPIC)
        self.newest: dict[str, int] = {}
        self.had: Counter[tuple[str, int, int]] = Counter()
        self.begin(self._listen())

    async def _listen(self) -> None:
        bus = Bus(Endpoint.parse(URL), HIVE, "ear.0")
        bus.start()
        while True:
            try:
                await bus.subscribe(self.subscription)
                break
            except RedisError:
                await asyncio.sleep(0.2)
        while await self.subscription.inbox.wait():
            while (entry := self.subscription.inbox.take()) is not None:
                said = envelope_of(entry[2])
                self._handle(said["n"], said["e"], said["s"])

    def _handle(self, name: str, incarnation: int, sequence: int) -> None:
        if incarnation < self.newest.get(name, 0):
            self.world.wrong.append(
                f"{self.name} got a message of {name} in life {incarnation} after one of its successor"
            )
        self.newest[name] = max(incarnation, self.newest.get(name, 0))
        self.had[name, incarnation, sequence] += 1
        if self.had[name, incarnation, sequence] > 1:
            self.world.wrong.append(f"{self.name} got {name}/{incarnation}/{sequence} twice")


@dataclass
class Hive:
    """All of it, and the promises."""

    world: World
    story: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    excused: float = -1.0  # until when two may own a number: Redis has lost what it knew
    missed: list[Copy] = field(default_factory=list)  # who stood still meanwhile
    refusals: int = 0  # acknowledgements of lives from which others took over

    def tell(self, what: str) -> None:
        self.story.append(f"{self.world.now:7.2f}  {what}")

    def copy(self, instance: str) -> Copy:
        self.tell(f"a copy of {instance} begins")
        self.copies.append(Copy(self, instance))
        return self.copies[-1]

    def set_up(self) -> None:
        """Two numbers with one copy each, one that stands by, and one who listens."""
        self.world.redis.before = self._judge
        for instance in ("batman.0", "batman.1", "batman.0"):
            self.copy(instance)
        self.ear = Ear(self.world)
        self._order()

    # -- orders

    @property
    def stream(self) -> bytes:
        return b"hm:%b:s:{%b}" % (HIVE.encode(), ORDERS.encode())

    def _order(self) -> None:
        """Somebody orders something, now and then; who lost everything begins anew."""
        if self.world.now < WILD and not self.world.is_away:
            if self.stream not in self.world.redis.data:
                self.world.redis.call([b"XGROUP", b"CREATE", self.stream, GROUP.encode(), b"0", b"MKSTREAM"])
            self.world.redis.call([b"XADD", self.stream, b"*", b"b", b"{}"])
        self.world.at(self.world.rng.uniform(0.1, 1.0), self._order)

    def left(self) -> int:
        """Orders that nobody has acknowledged."""
        stream: Stream | None = self.world.redis.data.get(self.stream)
        if stream is None:
            return 0
        group = stream.groups[GROUP.encode()]
        return len(group.pending) + sum(number > group.last for number in stream.entries)

    def _judge(self, function: str, keys: list[bytes], args: list[bytes]) -> Callable[[], None] | None:
        """Nobody acknowledges what another holds: look before it is done, and return what looks at once behind it."""
        if function != "ack" or keys[0] not in self.world.redis.data:
            return None
        me, fence = b"%b.e%b" % (args[1], args[2]), (self.world.redis.data.get(keys[1]) or {})
        if int(fence.get(b"taken:%b:%b" % (args[0], args[1]), b"0")) >= int(args[2]):
            self.refusals += 1  # it will be told
            return self._after(keys[0], args, me)
        for entry in args[3:]:
            held = self.world.redis.group(keys[0], args[0]).pending.get(int(entry.partition(b"-")[0]))
            if held is not None and held[0] != me:
                self.world.wrong.append(f"{me.decode()} acknowledges {entry.decode()}, which {held[0].decode()} holds")
        return None

    def _after(self, stream: bytes, args: list[bytes], me: bytes) -> Callable[[], None]:
        """What is refused has no effect."""
        group = self.world.redis.group(stream, args[0])
        before = dict(group.pending)

        def check() -> None:
            for entry in args[3:]:
                number = int(entry.partition(b"-")[0])
                if number in before and before[number][0] != me and number not in group.pending:
                    self.world.wrong.append(f"{me.decode()}, which is fenced, acknowledged {entry.decode()}")

        return check

    # -- owners

    def look(self) -> None:
        """One owner at a time."""
        if self.world.now < self.excused:
            return
        owners = [one for one in self.copies if one.owns]
        for instance, count in Counter(one.instance for one in owners).items():
            if count > 1:
                names = ", ".join(f"{one.name} in life {one.incarnation}" for one in owners if one.instance == instance)
                self.world.wrong.append(f"{count} own {instance}: {names}")

    # -- faults

    def break_things(self) -> None:
        """One fault after the other, as the seed says, and their end."""
        rng = self.world.rng
        if self.world.now >= WILD:
            return
        fault: Callable[[], None] = rng.choice(
            [self._freeze, self._freeze, self._kill, self._kill, self._cut, self._cut, self._cut_ear, self._restart,
             self._jump, self._another]
        )  # fmt: skip
        fault()
        self.world.at(rng.uniform(0.5, 9.0), self.break_things)

    def _one(self) -> Copy | None:
        living = [one for one in self.copies if not one.is_dead and not one.is_fenced]
        return self.world.rng.choice(living) if living else None

    def _freeze(self) -> None:
        if (one := self._one()) is not None and not one.is_frozen:
            self.tell(f"{one.name} stands still")
            one.is_frozen = True
            self.world.at(self.world.rng.choice((0.5, 3.0, 7.0, 20.0)), lambda: self._thaw(one))

    def _thaw(self, one: Copy) -> None:
        self.tell(f"{one.name} goes on")
        self._unfreeze(one)

    def _unfreeze(self, one: Process) -> None:
        """Who missed that Redis lost everything comes back as the life that he was, beside one that began anew."""
        if one.is_frozen and one in self.missed:
            self.missed.remove(one)
            self.excused = max(self.excused, self.world.now + BEAT * 1.5)
        one.is_frozen = False

    def _kill(self) -> None:
        if (one := self._one()) is not None:
            self.tell(f"{one.name} dies")
            one.kill()
            self.world.at(self.world.rng.uniform(0.2, 2.0), lambda: self._replace(one))

    def _replace(self, one: Copy) -> None:
        self.copy(one.instance)

    def _cut(self) -> None:
        if (one := self._one()) is not None:
            self._cut_off(one)

    def _cut_ear(self) -> None:
        self._cut_off(self.ear)

    def _cut_off(self, one: Process) -> None:
        net, seconds = self.world.rng.choice((Net.SILENT, Net.REFUSED)), self.world.rng.choice((0.0, 1.0, 8.0, 15.0))
        self.tell(f"{one.name} is cut off for {seconds:g} s: {net.value}")
        one.set_net(net)
        self.world.at(seconds, lambda: one.set_net(Net.WELL))

    def _restart(self) -> None:
        if self.world.is_away:
            return
        is_lost, seconds = self.world.rng.random() < 0.5, self.world.rng.choice((0.1, 2.0, 10.0))
        self.tell(f"Redis dies for {seconds:g} s" + (", and loses everything" if is_lost else ""))
        self.world.stop_redis(is_lost=is_lost)
        if is_lost:
            self.excused = self.world.now + seconds + LEASE + BEAT
            self.missed = [one for one in self.copies if one.is_frozen]
        self.world.at(seconds, self.world.start_redis)

    def _jump(self) -> None:
        by = self.world.rng.choice((-3600.0, -5.0, 5.0, 3600.0))
        self.tell(f"Redis's clock is set by {by:+g} s")
        self.world.jump += by

    def _another(self) -> None:
        if len(self.copies) < 12:
            self.copy(self.world.rng.choice(("batman.0", "batman.1")))

    # -- the end

    def calm(self) -> None:
        """Whatever was broken is mended."""
        self.tell("calm")
        self.world.start_redis()
        for process in self.world.processes:
            self._unfreeze(process)
            process.set_net(Net.WELL)
        for instance in {"batman.0", "batman.1"} - {one.instance for one in self.copies if not one.is_dead}:
            self.copy(instance)

    def is_well(self) -> bool:
        """Whether each number has its owner, and nothing is left."""
        owned = {one.instance for one in self.copies if one.owns}
        wanted = {one.instance for one in self.copies if not one.is_dead and not one.is_fenced}
        return owned == wanted and not self.left()

    def tries(self) -> None:
        """Back-off is bounded: nobody tries to connect without end."""
        counted = Counter((name, int(at)) for at, name in self.world.connects)
        for (name, second), count in counted.items():
            if count > MOST_TRIES:
                self.world.wrong.append(f"{name} tried to connect {count} times in second {second}")


def run(seed: int) -> Hive:
    """One run: ``world.wrong`` is empty if all is as promised."""
    with World(seed).running() as world:
        hive = Hive(world)
        hive.set_up()
        world.run(5.0, hive.look)
        hive.break_things()
        world.run(WILD - 5.0, hive.look)
        hive.calm()
        if not world.until(hive.is_well, CALM, hive.look) and not world.wrong:
            world.wrong.append(f"not well after {CALM:g} s: {hive.left()} orders left")
        hive.tries()
    return hive


def verdict(hive: Hive) -> str:
    """What went wrong, and how it came; "" if nothing did."""
    if not hive.world.wrong:
        return ""
    again = f"SEED={hive.world.seed} .venv/bin/python -m tests.simulation"
    return "\n".join([f"seed {hive.world.seed}; again: {again}", *hive.story, *hive.world.wrong])


def main() -> int:
    seed = os.environ.get("SEED")
    seeds = [int(seed)] if seed else range(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    for one in seeds:
        hive = run(one)
        if said := verdict(hive):
            print(said)
            return 1
        if seed:
            print("\n".join([*hive.story, f"all is as promised; {hive.refusals} acknowledgements refused"]))
    print(f"{len(seeds)} run(s), all as promised")
    return 0


if __name__ == "__main__":
    sys.exit(main())
