"""The hive of a test: its nodes, each on a host of its own, and somebody outside who sends and listens."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType, TracebackType
from typing import Any, Self, TypeVar, overload

from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..client.client import Client
from ..client.session import Where
from ..constants import Constants
from ..data.letters import Letter
from ..errors import HivemindError, check_seconds
from ..message import Message
from ..node.base import BaseNode
from ..node.life import Life, Place
from ..node.loading import node_in
from ..node.requesting import RequestStream
from ..settings import Settings
from ..topics import check_pattern
from .clock import TurnedClock
from .ears import Ears
from .host import Host, address_of
from .redis import Harm

N = TypeVar("N", bound=BaseNode)

STOP_TIMEOUT = 5.0  #: seconds that nodes have to stop at the end of a test
SHORTEST = 0.002  #: seconds that the clock is turned where something is due that does not happen
TICK = 1e-6  #: seconds by which it is turned beyond a moment, so that this has surely come
ROUNDS = 2  #: how often everybody has a turn after that


class HiveTest:
    """A hive called ``name`` on the Redis at ``url``, whose nodes run in this process, each as if it had its own.

    It hears every message from the moment it is opened: ``expect`` finds those too that came before it was called.
    What it sends and hears itself goes by the real clock and passes by all faults. Where it ``owns_server``, that
    writes to its disk before it answers, as soon as a node wants ``confirm="disk"``, until the test ends.
    """

    def __init__(
        self, url: str, name: str = "test", constants: Mapping[str, Any] | None = None, *, owns_server: bool = False
    ) -> None:
        values = {"HIVE_NAME": name, "REDIS_URL": url, "HEARTBEAT": 0.5, "LEASE": 1.5} | dict(constants or {})
        self.settings = Settings(Constants(**values), {}, None)
        self.clock = TurnedClock()
        self._endpoint = Endpoint.parse(url)
        self._client = Client(lambda: Where(self._endpoint, name))
        self._ears = Ears(self._client)
        self._redis = address_of(url)
        self._owns_server, self._is_safe = owns_server, False
        self._is_away = False
        self._running: dict[int, tuple[Life, Host]] = {}
        self._dead: dict[int, BaseNode] = {}

    def __enter__(self) -> Self:
        self._client.__enter__()
        self._client.call(self._ears.listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.restore_redis()
            for life, host in list(self._running.values()):
                if host.is_frozen:
                    self.kill(life.node)
                else:
                    self.stop(life.node)
            if self._is_safe:
                self._client.call(self._harm.write_at_once(False))
            self._client.call(self._ears.close())
        finally:
            self._client.__exit__(kind, error, trace)

    # -- nodes

    @overload
    def start(self, node: type[N] | N) -> N: ...

    @overload
    def start(self, node: ModuleType) -> BaseNode: ...

    @overload
    def start(self, node: type[N] | ModuleType, *, replicas: int) -> list[N]: ...

    def start(self, node: type[BaseNode] | BaseNode | ModuleType, *, replicas: int | None = None) -> Any:
        """Build a node if it is a class (or a module of decorated functions), start it, and return it when it is
        registered and subscribed. With ``replicas`` that many are started, and returned in a list: of a
        node that is built already HivemindError is raised.
        """
        if replicas is not None:
            if isinstance(node, BaseNode):
                raise HivemindError(f"{node.name}: replicas={replicas} needs a class, or a module, to build them from")
            return [self._start(node) for _ in range(replicas)]
        return self._start(node)

    def _start(self, node: type[BaseNode] | BaseNode | ModuleType) -> BaseNode:
        if isinstance(node, ModuleType):
            node = node_in(node, node.__name__).build()
        built = node() if isinstance(node, type) and issubclass(node, BaseNode) else node
        if not isinstance(built, BaseNode):
            raise HivemindError(f"start({node!r}): give it a class that derives from Node, a node, or a module")
        built._hm.bind()
        if self._owns_server and not self._is_safe and "disk" in self._tiers(built):
            self._is_safe = True
            self._client.call(self._harm.write_at_once(True))
        host = Host(built.name, self.clock)
        if self._is_away:
            host.refuse(self._redis)
        life = host.call(self._life(built))
        host.at_end = life.bus.aclose
        self._running[id(built)] = life, host
        host.hold_handlers(built)
        try:
            host.call(life.start())
        except BaseException:
            self.stop(built)
            raise
        return built

    def _tiers(self, node: BaseNode) -> set[str]:
        """At what a node's messages are confirmed."""
        usual = self.settings.constants.CONFIRM
        return {one.declaration.confirm or usual for one in node.bound_services if one.declaration.is_kept}

    async def _life(self, node: BaseNode) -> Life:
        return Life(node, self.settings, Bus(self._endpoint, self.settings.name, node.name), Place(), "test")

    def stop(self, node: BaseNode | str) -> None:
        """Stop a node politely."""
        life, host = self._take(node)
        try:
            host.call(life.stop(STOP_TIMEOUT))
        finally:
            host.close()

    def _of(self, node: BaseNode | str) -> tuple[Life, Host]:
        """The running node that is meant, by itself or by its instance."""
        for life, host in self._running.values():
            if node is life.node or node == life.bus.instance:
                return life, host
        there = ", ".join(sorted(life.bus.instance for life, _ in self._running.values())) or "nobody"
        name = node if isinstance(node, str) else node.name
        raise HivemindError(f"{name} does not run here; {there} does")

    def _take(self, node: BaseNode | str) -> tuple[Life, Host]:
        found = self._of(node)
        del self._running[id(found[0].node)]
        return found

    # -- messages

    def send(
        self, topic: str, payload: Any, *, durable: bool = False, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a message as somebody who is no node, and wait until Redis has it; see ``Client.send``."""
        self._client.send(topic, payload, durable=durable, headers=headers)
        self._client.flush()

    def request(self, name: str, payload: Any = None, *, timeout: float = 5.0) -> Any:
        """Ask a responder as somebody who is no node, and return its reply; see ``Node.request``."""
        return self._client.request(name, payload, timeout=timeout)

    def request_stream(self, name: str, payload: Any = None, *, timeout: float = 5.0) -> RequestStream:
        """Ask a responder with ``stream=True``, and iterate over its replies; see ``Node.request_stream``."""
        return self._client.request_stream(name, payload, timeout=timeout)

    @property
    def seen(self) -> list[Message]:
        """Every message so far."""
        return self._ears.seen

    def expect(self, pattern: str, timeout: float = 2.0) -> Message:
        """Return the first message matching ``pattern`` that no ``expect`` has returned yet.

        Raises AssertionError, with what was seen instead, after ``timeout`` seconds.
        """
        message: Message | None = self._client.call(self._ears.expect(pattern, timeout))
        if message is None:
            topics = ", ".join(sorted({one.topic for one in self.seen})) or "nothing"
            raise AssertionError(f"no message matched {pattern!r} within {timeout:g} s; seen: {topics}")
        return message

    def expect_none(self, pattern: str, within: float = 0.3) -> None:
        """Raise AssertionError if a message matching ``pattern`` comes within ``within`` seconds."""
        message: Message | None = self._client.call(self._ears.expect(pattern, within))
        if message is not None:
            raise AssertionError(f"nothing should match {pattern!r}, but {message!r} did: {message.payload!r}")

    def dead_letters(self, pattern: str = "*") -> list[Letter]:
        """The dead letters of the topics that match, oldest first: each with ``payload``, ``group``, ``tries``,
        ``reason``.
        """
        found: list[Letter] = self._client.call(self._harm.letters(check_pattern(pattern)))
        return found

    # -- time

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass for the nodes, at once: what is due meanwhile happens in its order, beats too.

        Redis's own clock goes on as ever. Raises ValueError for what is no number of seconds from 0.
        """
        check_seconds(seconds, "advance")
        with self.clock.held():
            until = self.clock.now() + seconds
            while (left := until - self.clock.now()) > 0:
                self._settle()
                due = min([self.clock.next, *(host.loop.next for _, host in self._hosts())]) - self.clock.now()
                self.clock.turn(min(left, self.settings.constants.HEARTBEAT / 2, due + TICK if due > 0 else SHORTEST))
            self._settle()

    def _settle(self) -> None:
        """Let everybody do what is to be done now, also what takes Redis a moment."""
        for _ in range(ROUNDS):
            self.clock.settled()
            for _, host in self._hosts():
                host.settled()
            self._client.call(self._client.bus.commands.execute("PING"))

    def _hosts(self) -> list[tuple[Life, Host]]:
        """Those that run."""
        return [(life, host) for life, host in self._running.values() if host.is_running]

    # -- faults

    def kill(self, node: BaseNode | str) -> None:
        """End a node now, as ``kill -9`` does: it says no goodbye, its tasks end, its connections are cut, and what it
        held is taken over by others when its lease has ended, or by its next life.
        """
        life, host = self._take(node)
        host.kill()
        host.let_go(life.node)
        self._client.call(self._harm.bury(life.bus.instance))

    def freeze(self, node: BaseNode | str) -> None:
        """Let nothing of a node run until ``thaw``: others take over when its lease has ended."""
        self._of(node)[1].freeze()

    def thaw(self, node: BaseNode | str) -> None:
        """Let a frozen node go on."""
        self._of(node)[1].thaw()

    def drop_redis(self) -> None:
        """Cut all nodes off from Redis, until ``restore_redis``."""
        self._is_away = True
        for _, host in self._running.values():
            host.refuse(self._redis)

    def restore_redis(self) -> None:
        """Let nodes reach Redis again. May be called twice."""
        self._is_away = False
        for _, host in self._running.values():
            host.allow(self._redis)

    def amnesia(self) -> None:
        """Let Redis lose all that it knows of this hive."""
        self._client.call(self._harm.forget())

    def redeliver(self, message: Message) -> None:
        """Deliver a durable message, which has been acknowledged, once more: as after a crash between the end of a
        handler and the acknowledgement. Every group that has handled it gets it, as a further try.

        Raises HivemindError where it is not in a stream, or nobody has acknowledged it.
        """
        if not isinstance(message, Message):
            raise HivemindError(f"redeliver({message!r}): give it a message, such as hive.expect() returns")
        self._client.call(self._harm.redeliver(message))

    @property
    def _harm(self) -> Harm:
        return Harm(self._client.bus)
