"""A hive inside a test: nodes run in this process, on a real Redis of the test's own.

::

    def test_batman_answers(hive):
        hive.start(Batman)
        hive.send("bat-signal-main", "Batman! We need help!")
        assert hive.expect("alert.*", timeout=2).payload == "saved"

The pytest plug-in that comes with the library gives the fixture ``hive``.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from .bus.bus import Bus
from .bus.embedded import Embedded, find_server
from .bus.endpoint import Endpoint
from .constants import Constants
from .errors import ConfigurationError
from .message import Message
from .node.base import BaseNode
from .node.client import Client, Messages
from .node.life import Life, Place
from .node.loading import node_in
from .node.requesting import RequestStream
from .settings import Settings
from .topics import matches

STOP_TIMEOUT = 5.0  #: seconds that nodes have to stop at the end of a test


class TestServer:
    """A Redis server for tests: the embedded one in a folder of its own, else fakeredis behind a socket."""

    __test__ = False  # for pytest: this is no test class

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hm-")
        self._embedded: Embedded | None = None
        self._fake: Any = None
        self.url = ""

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        if find_server({}) is not None:
            self._embedded = Embedded(folder=folder, socket=folder / "redis.sock")
            self.url = self._embedded.ensure()
        else:
            self.url = self._start_fake()
        return self

    def _start_fake(self) -> str:
        try:
            from fakeredis import TcpFakeServer  # noqa: PLC0415 - an extra, needed only where no server is installed
        except ImportError:
            raise ConfigurationError("no Redis server for tests: pip install 'hivemind-net[server]'") from None
        self._fake = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
        threading.Thread(target=self._fake.serve_forever, daemon=True).start()
        return f"redis://127.0.0.1:{self._fake.server_address[1]}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._embedded is not None:
            self._embedded.stop()
        if self._fake is not None:
            self._fake.shutdown()
        self._folder.cleanup()


class HiveTest:
    """A hive called ``name`` on the Redis at ``url``, whose nodes run on one loop in the background.

    It hears every message from the moment it is opened: ``expect`` finds those too that came before it was called.
    """

    def __init__(self, url: str, name: str = "test", constants: Mapping[str, Any] | None = None) -> None:
        values = {"HIVE_NAME": name, "REDIS_URL": url, "HEARTBEAT": 0.5, "LEASE": 1.5} | dict(constants or {})
        self.settings = Settings(Constants(**values), {}, None)
        self.seen: list[Message] = []
        self._endpoint = Endpoint.parse(url)
        self._client = Client(lambda: (self._endpoint, name))
        self._messages: Messages | None = None
        self._arrived = asyncio.Condition()
        self._taken: set[int] = set()
        self._lives: dict[int, Life] = {}
        self._listening: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._client.__enter__()
        self._client.call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for life in list(self._lives.values()):
                self.stop(life.node)
            self._client.call(self._close())
        finally:
            self._client.__exit__(kind, error, trace)

    # -- verbs of a test

    def start(self, node: type[BaseNode] | BaseNode | ModuleType) -> Any:
        """Build a node if it is a class (or a module of decorated functions), start it, and return it when it is
        registered and subscribed.
        """
        if isinstance(node, ModuleType):
            node = node_in(node, node.__name__).build()
        built = node() if isinstance(node, type) else node
        built.bind()
        life = Life(built, self.settings, Bus(self._endpoint, self.settings.name, built.name), Place(), "test")
        self._lives[id(built)] = life
        self._client.call(life.start())
        return built

    def stop(self, node: BaseNode) -> None:
        """Stop a node politely."""
        life = self._lives.pop(id(node))
        self._client.call(life.stop(STOP_TIMEOUT))

    def send(self, topic: str, payload: Any, *, headers: Mapping[str, str] | None = None) -> None:
        """Send a message as somebody who is no node, and wait until Redis has it."""
        self._client.send(topic, payload, headers=headers)
        self._client.flush()

    def request(self, name: str, payload: Any = None, *, timeout: float = 5.0) -> Any:
        """Ask a responder as somebody who is no node, and return its reply; see ``Node.request``."""
        return self._client.request(name, payload, timeout=timeout)

    def request_stream(self, name: str, payload: Any = None, *, timeout: float = 5.0) -> RequestStream:
        """Ask a responder with ``stream=True``, and iterate over its replies; see ``Node.request_stream``."""
        return self._client.request_stream(name, payload, timeout=timeout)

    def expect(self, pattern: str, timeout: float = 2.0) -> Message:
        """Return the first message matching ``pattern`` that no ``expect`` has returned yet.

        Raises AssertionError, with what was seen instead, after ``timeout`` seconds.
        """
        message: Message | None = self._client.call(self._expect(pattern, timeout))
        if message is None:
            topics = ", ".join(sorted({one.topic for one in self.seen})) or "nothing"
            raise AssertionError(f"no message matched {pattern!r} within {timeout:g} s; seen: {topics}")
        return message

    def expect_none(self, pattern: str, within: float = 0.3) -> None:
        """Raise AssertionError if a message matching ``pattern`` comes within ``within`` seconds."""
        message: Message | None = self._client.call(self._expect(pattern, within))
        if message is not None:
            raise AssertionError(f"nothing should match {pattern!r}, but {message!r} did: {message.payload!r}")

    # -- on the loop

    async def _listen(self) -> None:
        self._messages = self._client.subscribe("*")
        await self._messages.open()
        self._listening = asyncio.create_task(self._hear(self._messages))

    async def _hear(self, messages: Messages) -> None:
        inbox = messages.live.inbox
        while await inbox.wait():
            async with self._arrived:
                while (entry := inbox.take()) is not None:
                    self.seen.append(Message(entry[0], entry[2], entry[1]))
                self._arrived.notify_all()

    async def _expect(self, pattern: str, timeout: float) -> Message | None:
        deadline = time.monotonic() + timeout
        async with self._arrived:
            while True:
                for number, message in enumerate(self.seen):
                    if number not in self._taken and matches(pattern, message.topic):
                        self._taken.add(number)
                        return message
                try:
                    await asyncio.wait_for(self._arrived.wait(), deadline - time.monotonic())
                except TimeoutError:
                    return None

    async def _close(self) -> None:
        if self._messages is not None:
            await self._messages.aclose()
        if self._listening is not None:
            await self._listening
