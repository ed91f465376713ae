"""What stands for a process in a test: a loop on a thread of its own, which can be cut off, frozen and killed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from ..cancelling import end
from ..clock import Clock
from ..errors import HivemindError
from ..node.base import BaseNode
from ..node.durable import DurableSubscription
from ..node.responder import Responder
from ..node.subscription import Subscription
from .clock import TurnedClock

T = TypeVar("T")
Address = tuple[str, int] | str  #: host and port, or the path of a socket

PATIENCE = 5.0  #: seconds until a loop that does not answer is told to be stuck


def address_of(url: str) -> Address:
    """Where the Redis at ``url`` listens."""
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "unix" else (parts.hostname or "localhost", parts.port or 6379)


class HostClock(Clock):
    """The hive's clock, as one host sees it: while that is frozen its threads stay where they wait."""

    def __init__(self, turned: TurnedClock) -> None:
        self.turned = turned
        self.running = threading.Event()
        self.running.set()

    def now(self) -> float:
        """Seconds since some moment."""
        return self.turned.now()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait on a thread until ``event`` is set, ``seconds`` at most; whether it is."""
        return self.turned.wait(event, seconds, lambda: not self.running.is_set())


class HostLoop(asyncio.SelectorEventLoop):
    """A loop whose time a test turns, and whose connections it cuts.

    ``refused`` are addresses that cannot be reached; with ``is_cut`` none can.
    """

    def __init__(self, clock: HostClock) -> None:
        super().__init__()
        self.clock = clock
        self.refused: set[Address] = set()
        self.is_cut = False
        self._open: list[tuple[Address, asyncio.BaseTransport]] = []
        self._unheard: list[asyncio.Handle] = []

    def time(self) -> float:
        """As all timers of this loop go."""
        return self.clock.now()

    @property
    def next(self) -> float:
        """When the next timer is due; infinity if there is none."""
        timers: list[asyncio.TimerHandle] = getattr(self, "_scheduled", [])
        return min((one.when() for one in list(timers) if not one.cancelled()), default=float("inf"))

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        """As every loop; what a thread says that is left when the loop has ended nobody hears."""
        if self.is_closed():
            self._unheard.append(asyncio.Handle(callback, args, self, context))
            return self._unheard[-1]
        return super().call_soon_threadsafe(callback, *args, context=context)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **words: Any) -> Any:
        """As every loop, but for what is cut off."""
        address = (host, port)
        self._check(address)
        return self._keep(address, await super().create_connection(protocol_factory, host, port, **words))

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **words: Any) -> Any:
        """As every loop, but for what is cut off."""
        self._check(path)
        return self._keep(path, await super().create_unix_connection(protocol_factory, path, **words))

    def cut(self, address: Address | None = None) -> None:
        """End the connections to ``address``, or all. On the loop."""
        for where, transport in self._open:
            if address in (None, where) and isinstance(transport, asyncio.WriteTransport):
                transport.abort()

    def _check(self, address: Address) -> None:
        if self.is_cut or address in self.refused:
            raise ConnectionRefusedError(f"the test has cut off {address}")

    def _keep(self, address: Address, made: tuple[asyncio.BaseTransport, Any]) -> Any:
        self._open = [(where, one) for where, one in self._open if not one.is_closing()]
        self._open.append((address, made[0]))
        if self.is_cut or address in self.refused:  # while it was made
            self.cut(address)
        return made


async def _nothing() -> None:
    """Nothing is left."""


class Host:
    """One process of a test, called ``name``. What is left when it ends, ``at_end`` closes."""

    def __init__(self, name: str, clock: TurnedClock) -> None:
        self.at_end: Callable[[], Coroutine[Any, Any, None]] = _nothing
        self.clock = HostClock(clock)
        self.loop = HostLoop(self.clock)
        self.is_dead = self._is_dying = False
        self._frozen = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"host {name}", daemon=True)
        self._thread.start()

    @property
    def is_frozen(self) -> bool:
        """Whether nothing on it runs until ``thaw``."""
        return not self.clock.running.is_set()

    @property
    def is_running(self) -> bool:
        """Whether it is neither frozen nor dead."""
        return not self.is_dead and not self.is_frozen

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run ``coroutine`` on the loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def settled(self) -> None:
        """Return when the loop has had a turn."""
        if self.is_running:
            turned = threading.Event()
            self.loop.call_soon_threadsafe(lambda: self.loop.call_soon(turned.set))
            turned.wait(PATIENCE)

    def freeze(self) -> None:
        """Let nothing on it run any more, as SIGSTOP does. Raises HivemindError where its loop does not turn."""
        self.clock.running.clear()
        self.loop.call_soon_threadsafe(self._stand)
        if not self._frozen.wait(PATIENCE):
            self.clock.running.set()
            raise HivemindError(f"{self._thread.name} cannot be frozen: something blocks its loop")

    def thaw(self) -> None:
        """Go on."""
        self._frozen.clear()
        self.clock.running.set()

    def refuse(self, address: Address) -> None:
        """Cut off one address."""
        self.loop.refused.add(address)
        if self.is_frozen:  # it notices when it thaws
            self.loop.call_soon_threadsafe(self.loop.cut, address)
        else:
            self._on_loop(lambda: self.loop.cut(address))

    def allow(self, address: Address) -> None:
        """Let it be reached again."""
        self.loop.refused.discard(address)

    def kill(self) -> None:
        """End it now, as SIGKILL does: no connection stands any more, and no task runs on."""
        if self.is_dead:
            return
        self.is_dead = self.loop.is_cut = True
        if self.is_frozen:
            self.thaw()  # the loop stands in _stand, which looks whether it is dead
        self.loop.call_soon_threadsafe(self._die)
        self._thread.join(PATIENCE)

    def hold_handlers(self, node: BaseNode) -> None:
        """Let handlers on threads begin nothing while this is frozen, and never again when it is dead."""
        bound: list[Subscription | DurableSubscription | Responder] = [*node.bound_subscriptions, *node.bound_durables]
        bound += node.bound_responders
        for one in bound:
            if not one.handler.is_async:
                one.caller.handler = one.handler = replace(one.handler, function=self._held(one.handler.function))

    def _held(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            self.clock.running.wait()
            if self.is_dead:
                raise SystemExit
            return function(*arguments, **named)

        return call

    def let_go(self, node: BaseNode) -> None:
        """Let the threads of a node that was killed end, as soon as they ask for more."""
        for service in node.bound_services:
            service.ask_to_stop()
        for one in node.bound_subscriptions:
            one.live.inbox.close()
        for durable in node.bound_durables:
            durable.begin_to_stop()
        for responder in node.bound_responders:
            responder.end_threads()

    def close(self) -> None:
        """End it when all is done. May be called twice."""
        if not self.is_dead:
            self.is_dead = True
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._end_tasks())
        finally:
            self.loop.close()

    async def _end_tasks(self) -> None:
        """End what is left, where nobody sees it any more."""
        mine = asyncio.current_task()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(end(task) for task in asyncio.all_tasks() if task is not mine))
                await self.at_end()
        await self.loop.shutdown_asyncgens()

    def _stand(self) -> None:
        self._frozen.set()
        self.clock.running.wait()
        if self.is_dead:
            self._die()

    def _die(self) -> None:
        if not self._is_dying:
            self._is_dying = True
            self.loop.cut()
            self.loop.stop()

    def _on_loop(self, action: Any) -> None:
        async def act() -> None:
            action()

        self.call(act())
