"""How long to measure, where files go, and the one measurement that most scenarios are made of."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hivemind.patterns import SERVER, PatternMode

from . import machine
from .processes import Processes
from .servers import Kind, RedisServer, nats
from .task import Payload, Task
from .window import Window

TOPIC = "bench"
READY = 30.0  #: seconds until all subscribers have heard a hello
STANDSTILL = 3.0  #: seconds in which nothing more is handled, after which what is missing is lost

Readings = dict[str, float]


class Lost(Exception):
    """Something did not arrive, such as a message that was sent and never handled: what was measured does not count."""


@dataclass(frozen=True, slots=True)
class Bench:
    """How long things are measured; ``is_quick`` is for a first look."""

    warmup: float = 0.5
    seconds: float = 2.0
    is_quick: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """Measures once. ``labels`` are all the readings that it gives; it is left out where what it needs is not here."""

    measure: Callable[[Bench], Readings]
    labels: tuple[str, ...]
    is_here: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """A process beside the publisher: its command, how many of something it has, in how many slots it counts."""

    command: Sequence[str]
    count: int = 1
    slots: int = 1


@dataclass(frozen=True, slots=True)
class Setup:
    """Who takes part. Those ``beside`` only have to be there; they say in a window of their own when they are.
    ``unsettled(url)`` is how many messages the server still waits for, though they may be handled.
    """

    publisher: Sequence[str]
    subscribers: Sequence[Part]
    server: Kind = "redis"
    payload: Payload = "small"
    pattern: str = TOPIC
    limit: int = 20_000
    beside: Sequence[Part] = ()
    patterns: PatternMode = SERVER
    durable: bool = False
    unsettled: Callable[[str], int] = lambda _: 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measurement found: CPU in seconds, of the first subscriber and of the server."""

    seconds: float
    handled: list[int]
    samples: list[int] = field(repr=False)
    subscriber_cpu: float = 0.0
    server_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Messages handled a second, by the average subscriber."""
        return sum(self.handled) / len(self.handled) / self.seconds


@contextmanager
def stage() -> Iterator[tuple[RedisServer, Processes]]:
    """A fresh Redis, and processes in a folder of their own."""
    with (
        tempfile.TemporaryDirectory(prefix="hm-bench-") as folder,
        RedisServer() as server,
        Processes(Path(folder)) as processes,
    ):
        yield server, processes


@contextmanager
def at_server(kind: Kind, folder: Path) -> Iterator[tuple[str, int]]:
    """URL and pid (0: not known) of a fresh server."""
    with ExitStack() as stack:
        if kind in ("redis", "always"):
            server = stack.enter_context(RedisServer())
            if kind == "always":
                server.configure(appendfsync="always")
            yield server.url, server.pid
        elif kind in ("nats", "jetstream"):
            yield stack.enter_context(nats(folder if kind == "jetstream" else None)), 0
        else:
            yield f"ipc://{folder}/zmq.sock", 0


def measure(bench: Bench, setup: Setup) -> Measured:
    """Run ``setup`` on a fresh server for warm-up and measurement. Raises Lost, Crashed or TimeoutError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hm-bench-")))
        return measure_at(bench, setup, stack.enter_context(at_server(setup.server, folder)), folder)


def measure_at(
    bench: Bench, setup: Setup, at: tuple[str, int], folder: Path, begin: Callable[[], None] = lambda: None
) -> Measured:
    """The same on a server that is there, whose URL and pid are ``at``; ``begin`` is called after the warm-up."""
    url, server = at
    with Processes(folder) as processes:
        for number, part in enumerate(setup.beside):
            hold(processes, part, Task(url, str(folder / f"beside-{number}"), slot=number, patterns=setup.patterns))
        window = Window.create(folder / "window", sum(part.slots for part in setup.subscribers), setup.limit)
        task = Task(url, str(folder / "window"), setup.payload, TOPIC, patterns=setup.patterns, durable=setup.durable)
        first = subscribe(processes, setup, task)
        processes.start(setup.publisher, task)
        processes.wait_until("every subscriber has heard a hello", lambda: window.has_begun, READY)
        time.sleep(bench.warmup)
        begin()
        measured = observe(window, bench.seconds, first, server)
        processes.check()
        finish(window)
        settle(url, setup)
        return measured


def subscribe(processes: Processes, setup: Setup, task: Task) -> int:
    """Start all subscribers, and return the pid of the first one's process."""
    slot, pids = 0, []
    for part in setup.subscribers:
        pids.append(processes.start(part.command, replace(task, topic=setup.pattern, slot=slot, count=part.count)))
        slot += part.slots
    return pids[0]


def hold(processes: Processes, part: Part, task: Task) -> None:
    """Start one who is only there, and wait until it is."""
    handled = Window.create(Path(task.window)).handled
    processes.start(part.command, replace(task, count=part.count))
    processes.wait_until("it is there", lambda: handled[0] > 0, READY * 2)


def observe(window: Window, seconds: float, subscriber: int, server: int) -> Measured:
    """Look, wait, look again."""
    first = window.sampled
    cpu = machine.cpu_seconds(subscriber), machine.cpu_seconds(server) if server else 0.0
    before, began = window.counts(), time.perf_counter()
    time.sleep(seconds)
    after, ended = window.counts(), time.perf_counter()
    return Measured(
        seconds=ended - began,
        handled=[later - earlier for earlier, later in zip(before, after, strict=True)],
        samples=window.samples(first),
        subscriber_cpu=machine.cpu_seconds(subscriber) - cpu[0],
        server_cpu=machine.cpu_seconds(server) - cpu[1] if server else 0.0,
    )


def settle(url: str, setup: Setup) -> None:
    """See that the server waits for nothing any more. Raises Lost."""
    deadline = time.monotonic() + STANDSTILL
    while (missing := setup.unsettled(url)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if missing:
        raise Lost(f"{missing:,} messages were not acknowledged")


def finish(window: Window) -> None:
    """Stop the sender, and see that all that was sent is handled, however slowly, as long as it goes on."""
    window.end()
    time.sleep(0.05)  # what it had taken before it saw the end
    handled, deadline = -1, 0.0
    while (missing := window.sent * window.readers - sum(window.counts())) != 0:
        if handled != (handled := sum(window.counts())):
            deadline = time.monotonic() + STANDSTILL
        if time.monotonic() > deadline:
            raise Lost(f"{missing:,} of {window.sent * window.readers:,} messages were not handled")
        time.sleep(0.005)
