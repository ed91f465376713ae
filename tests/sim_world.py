"""A world in which time passes only when nothing else happens: processes with loops of their own, a network, a Redis.

What runs in the processes is real, down to the bytes on their connections. Time, the network and the server are not,
and whatever chance there is comes from one seed: the same seed is the same run.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from enum import Enum
from typing import Any

from .hand_loop import HandLoop
from .sim_redis import Client, SimRedis

EPOCH = 1_800_000_000.0  # unix seconds when a world begins
GRAIN = 0.004  # seconds: what happens nearer together happens at one moment, in its order
SPINNING = 20_000  # callbacks of one process in one moment: it does not wait where it should
QUICK, SLOW = 0.0005, 0.05  # seconds that bytes travel


class Net(Enum):
    """What becomes of what a process sends, and of what is sent to it."""

    WELL = "it arrives"
    SILENT = "it waits in the kernel, and nobody is told"
    REFUSED = "connections are reset, and no new one is taken"


class World:
    """``now`` is the time since the world began, in seconds. ``wrong`` is what should not be."""

    def __init__(self, seed: int) -> None:
        self.seed, self.now, self.jump = seed, 0.0, 0.0
        self.rng = random.Random(seed)
        self.wrong: list[str] = []
        self.faults = _Faults(self.wrong)
        self.processes: list[Process] = []
        self.redis = SimRedis(lambda: EPOCH + self.now + self.jump)
        self.is_away = False  # the server does not run
        self.connects: list[tuple[float, str]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    @contextlib.contextmanager
    def running(self) -> Iterator[World]:
        """Its time is the time, its chance the chance."""
        before, log = random.getstate(), logging.getLogger("hivemind")
        really, wall = time.monotonic, time.time
        random.seed(self.seed)
        time.monotonic, time.time = (lambda: self.now), (lambda: EPOCH + self.now)
        log.addHandler(self.faults)
        try:
            yield self
        finally:
            log.removeHandler(self.faults)
            for process in self.processes:
                process.bury()
            time.monotonic, time.time = really, wall
            random.setstate(before)

    # -- what happens

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        """Let something happen in so many seconds."""
        moment = math.ceil((self.now + max(0.0, seconds)) / GRAIN) * GRAIN
        heapq.heappush(self._events, (moment, next(self._count), do))

    def run(self, seconds: float, look: Callable[[], None] = lambda: None) -> None:
        """Let so much time pass; ``look`` is called in each moment in which something happened."""
        end = self.now + seconds
        while True:
            for process in self.processes:
                process.turn()
            look()
            following = min([end, *(each[0] for each in self._events[:1]), *(one.due() for one in self.processes)])
            if following >= end or self.wrong:
                self.now = end
                return
            self.now = max(self.now, following)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()

    def until(self, check: Callable[[], bool], seconds: float, look: Callable[[], None] = lambda: None) -> bool:
        """Let time pass until something is so; False if it is not in so many seconds."""
        end = self.now + seconds
        while self.now < end and not check() and not self.wrong:
            self.run(0.25, look)
        return check()

    def stop_redis(self, *, is_lost: bool = False) -> None:
        """As kill -9 of the server."""
        self.is_away = True
        for process in self.processes:
            process.reset()
        self.redis.clients.clear()
        if is_lost:
            self.redis.forget()

    def start_redis(self) -> None:
        self.is_away = False


class _Faults(logging.Handler):
    """What is logged with a traceback is a fault of ours."""

    def __init__(self, wrong: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._wrong.append(logging.Formatter().format(record))


class Process:
    """One process: what it does is ``begin``-ned; it may be frozen, cut off and killed."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.loop = SimLoop(self)
        self.net = Net.WELL
        self.is_frozen = self.is_dead = False
        self.wires: list[Wire] = []
        self._tasks: list[asyncio.Task[Any]] = []
        world.processes.append(self)

    def begin(self, what: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let it do something."""
        with self.loop.current():
            task = self.loop.create_task(what)
        self._tasks.append(task)
        return task

    def turn(self) -> None:
        """Do all that can be done without time passing."""
        if self.is_frozen or self.is_dead or self.loop.due() > 0:
            return
        for _ in range(SPINNING):
            if not self.loop.step():
                break
        else:
            self.world.wrong.append(f"{self.name} spins at {self.world.now:.3f} s")
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.world.wrong.append(f"{self.name}: {error!r}")

    def due(self) -> float:
        """When it has something to do next."""
        return math.inf if self.is_frozen or self.is_dead else self.world.now + self.loop.due()

    def set_net(self, net: Net) -> None:
        """From now on the network does that to it."""
        self.net = net
        if net is Net.REFUSED:
            self.reset()
        for wire in self.wires:
            wire.move()

    def reset(self) -> None:
        """All its connections are gone, and it is told."""
        for wire in list(self.wires):
            wire.lost(ConnectionResetError("reset"))

    def kill(self) -> None:
        """As kill -9."""
        self.is_dead = True
        for wire in list(self.wires):
            wire.abort()

    def bury(self) -> None:
        """Leave nothing behind."""
        self.is_dead = True

        async def nothing() -> None:
            return

        self.loop.bury(nothing())


class SimLoop(HandLoop):
    """A loop whose unix sockets all lead to the world's Redis."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    def time(self) -> float:
        return self._process.world.now

    def due(self) -> float:
        """Seconds until it has something to do."""
        inside = self._inside
        return 0.0 if inside._ready else super().due()

    def _events(self) -> None:
        """There are no sockets."""

    async def create_unix_connection(  # type: ignore[override]  # of all that asyncio's takes, what is used
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str | None = None, **_: Any
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        process, world = self._process, self._process.world
        world.connects.append((world.now, process.name))
        await asyncio.sleep(world.rng.uniform(QUICK, SLOW))
        if world.is_away or process.net is Net.REFUSED:
            raise ConnectionRefusedError(f"cannot connect to {path}")
        while process.net is Net.SILENT:  # noqa: ASYNC110 - so do the tries of the kernel
            await asyncio.sleep(0.5)
        wire = Wire(process, protocol_factory())
        wire.protocol.connection_made(wire)
        return wire, wire.protocol


class Wire(asyncio.Transport):
    """One connection. What is under way on it arrives in its order, or not at all."""

    def __init__(self, process: Process, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.process, self.protocol = process, protocol
        self._is_closing, self._is_reading = False, True
        self._there: list[bytes] = []  # on the way to the server
        self._back: list[bytes] = []  # on the way from it
        self._client = Client(self._push)
        process.wires.append(self)
        process.world.redis.clients.append(self._client)

    # -- as a transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return self._is_reading

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self.move()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """All is taken at once."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closing and data:
            self._there.append(bytes(data))
            self.process.world.at(self._delay(), self._arrive)

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(None)

    # -- as a wire

    def lost(self, error: Exception) -> None:
        """It broke: what was on the way may have arrived."""
        if self.process.world.rng.random() < 0.5:
            self._there.clear()
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self.process.wires.remove(self)
        if self.process.net is Net.SILENT and self.process.world.rng.random() < 0.5:
            self._there.clear()  # what waited in the kernel; or else it comes late
        self.process.world.at(self._delay(), self._gone)
        if not self.process.is_dead:
            self.process.loop.call_soon(self.protocol.connection_lost, error)

    def _gone(self) -> None:
        """The server sees that it is closed, behind what was written before."""
        self._arrive(is_all=True)
        with contextlib.suppress(ValueError):
            self.process.world.redis.clients.remove(self._client)

    def _delay(self) -> float:
        return self.process.world.rng.uniform(QUICK, SLOW)

    def move(self) -> None:
        """What waited goes on."""
        world = self.process.world
        for waiting, go in ((self._there, self._arrive), (self._back, self._come)):
            for _ in waiting:
                world.at(self._delay(), go)

    def _arrive(self, *, is_all: bool = False) -> None:
        world = self.process.world
        is_held = self.process.net is Net.SILENT and not self._is_closing
        while self._there and not is_held and not world.is_away and self._client in world.redis.clients:
            world.redis.received(self._client, self._there.pop(0))
            if not is_all:
                break

    def _push(self, data: bytes) -> None:
        self._back.append(data)
        self.process.world.at(self._delay(), self._come)

    def _come(self) -> None:
        is_held = self.process.net is Net.SILENT or not self._is_reading or self._is_closing or self.process.is_dead
        if self._back and not is_held:
            self.process.loop.call_soon(self._hear, self._back.pop(0))

    def _hear(self, data: bytes) -> None:
        if not self._is_closing and isinstance(self.protocol, asyncio.Protocol):
            self.protocol.data_received(data)
