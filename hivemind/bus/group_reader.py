"""Reads what is new for one group of readers, over a connection of its own: many messages in one answer.

A read is never cancelled: what Redis gave out in an answer that nobody read would be nobody's. So it is woken instead,
and after every lost connection the reader asks first for what it was given and may not have got.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ..bell import Bell
from ..cancelling import end
from ..errors import RedisError, RedisRefused
from .commands import Argument
from .conversation import Conversation
from .link import DENIED_DELAY
from .outage import Trouble, trouble_of
from .pace import Pace
from .ranges import GOAL
from .streams import Given, Home, Owned, Reader, Streams

BLOCK = 10.0  #: seconds that Redis lets a read wait for messages
LATE = 5.0  #: seconds more after which an answer will not come
AGAIN = 0.05  #: seconds between two tries to wake a read
FIRST, COUNT = 20, 500  #: messages of one topic in the first answer, and in each of the others at the most
IDLE = 60.0  #: seconds between two looks of a reader that has nothing to read
REFUSED = 1.0  #: seconds until what Redis refused is tried again
SOON = 0.02  #: seconds between two looks whether our lease is renewed
_GONE = ("NOGROUP", "ERR The XGROUP subcommand requires the key")  # the stream, or its group, was removed: so fakeredis


class Taker(Protocol):
    """Who is given what is read, on the loop."""

    def came(self, topic: str, given: Sequence[Given]) -> None:
        """Redis has given these to us."""

    def found(self, topic: str, owned: Sequence[Owned]) -> None:
        """These are ours, and an answer that said so may never have come; some may be known."""


class GroupReader:
    """Gives ``taker`` what is new on its topics, in order: no more than ``spare()`` messages at once, or one of each
    topic; ring ``room`` when there is more.

    ``on_gone()`` is awaited when streams or groups have been removed, and has to make them anew.
    While ``speaks()`` says no, nothing is asked for: who was cut off for a lease may have a successor, that would have
    to take it over.
    """

    def __init__(self, home: Home, streams: Streams, reader: Reader, taker: Taker) -> None:
        self.reader = reader
        self.room = Bell()
        self.spare: Callable[[], int] = lambda: COUNT
        self.speaks: Callable[[], bool] = lambda: True
        self.on_gone: Callable[[], Awaitable[None]] | None = None
        self._home, self._streams, self._taker = home, streams, taker
        self._topics: dict[str, bytes] = {}  # with what is the last entry that we were given
        self._keys: dict[bytes, str] = {}
        self._busy: list[str] = []  # topics, of several, that had more than we asked for
        self._client = 0
        self.mean = GOAL // FIRST  # bytes of a message, as they were in the last answer; none is known yet
        self._is_reading = self._closing = False
        self._is_behind = False  # whether Redis may have given us what never came
        self._is_refused = self._is_resting = False
        self._outage = home.endpoint.outage
        self._pace = Pace()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read; may be called twice."""
        self._task = self._task or asyncio.create_task(self._run(), name=f"reader {self.reader.group}")

    async def add(self, topics: Iterable[str]) -> None:
        """Read these topics, too; their groups are there."""
        for topic in topics:
            self._topics.setdefault(topic, b"0")
            self._keys[self._home.names.stream(topic).encode()] = topic
        await self._wake()

    def passed(self, topic: str) -> bytes:
        """The last entry that we were given."""
        return self._topics.get(topic, b"0")

    async def aclose(self) -> None:
        """Read no more. What was given to us and is not acknowledged stays ours, until somebody takes over."""
        self._closing = True
        try:
            if self._task is not None and not self._is_resting:
                await self._wake()
                await asyncio.wait((self._task,))
        finally:
            self._outage.forget(self)
            await end(self._task)  # we are out of time, and others take over

    async def _wake(self) -> None:
        """Let a read that waits in Redis end."""
        self.room.ring()
        while self._is_reading:
            with suppress(RedisError):
                await self._streams.commands.execute("CLIENT", "UNBLOCK", self._client)
            await asyncio.sleep(AGAIN)

    async def _run(self) -> None:
        while not self._closing:
            began = asyncio.get_running_loop().time()
            try:
                conversation = await Conversation.open(self._home.endpoint, self._home.name)
            except RedisError as error:
                await self._rest(asyncio.get_running_loop().time() - began, error)
                continue
            try:
                await self._read_on(conversation)
            except RedisError as error:
                self._is_behind = True
                await self._rest(0.0, error)
            finally:
                await conversation.aclose()

    async def _rest(self, took: float, error: RedisError) -> None:
        """Wait a while until the next connection, after a try that ``took`` so many seconds in vain."""
        self._failed(error)
        trouble = trouble_of(error)
        pause = self._pace.pause(took, is_full=trouble is Trouble.FULL)
        self._is_resting = True
        await self._outage.rest(DENIED_DELAY if trouble is Trouble.DENIED else pause)
        self._is_resting = False

    async def _read_on(self, conversation: Conversation) -> None:
        """Read until the connection is lost: what we were given and never got, then what is new."""
        self._client = int(await conversation.ask("CLIENT", "ID", timeout=LATE))
        self._outage.back(self)
        while not self._closing:
            if not (spare := await self._room()):
                continue
            asked, self._busy = self._busy or list(self._topics), []
            is_all, most = len(asked) == len(self._topics), self._most(spare // len(asked))
            try:
                await self._catch_up(conversation)
                found = await self._read(conversation, asked, most, may_wait=is_all and not self._is_refused)
            except RedisRefused as error:
                await self._refused(error)
                continue
            self._well()
            if found:
                self.mean = conversation.size // sum(len(given) for _, given in found)
            for topic, given in found:
                self._topics[topic] = given[-1][0]
                if is_all and len(given) == most < COUNT:
                    self._busy.append(topic)
                self._taker.came(topic, given)

    async def _room(self) -> int:
        """How many messages to ask for; 0: for none, and it has waited for that to change."""
        if not self.speaks():
            await asyncio.sleep(SOON)
            return 0
        if not self._topics or (spare := self.spare()) <= 0:
            await self.room.wait(IDLE)
            return 0
        return spare

    async def _catch_up(self, conversation: Conversation) -> None:
        """Ask for what Redis gave us in answers that never came: nobody can have begun it, so that it counts once."""
        if not self._is_behind:
            return
        words = await self._home.functions.ready("reread")

        async def ask(_: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
            return await conversation.ask(*words, len(keys), *keys, *arguments, timeout=LATE)

        for topic in list(self._topics):
            while owned := await self._streams.owned(topic, self.reader, self._topics[topic], self._most(COUNT), ask):
                self._topics[topic] = owned[-1].held.entry
                self._taker.found(topic, owned)
        self._is_behind = False

    def _most(self, spare: int) -> int:
        """How many of a topic fit into one answer: large messages come a few at a time."""
        return max(1, min(COUNT, spare, GOAL // max(1, self.mean)))

    async def _read(
        self, conversation: Conversation, topics: Sequence[str], most: int, *, may_wait: bool
    ) -> list[tuple[str, Sequence[Given]]]:
        who = ("XREADGROUP", "GROUP", self.reader.group, self.reader.consumer, "COUNT", most)
        wait = ("BLOCK", int(BLOCK * 1000)) if may_wait else ()
        keys = [self._home.names.stream(topic) for topic in topics]
        self._is_reading = may_wait
        try:
            reply = await conversation.ask(*who, *wait, "STREAMS", *keys, *(b">" for _ in keys), timeout=BLOCK + LATE)
        finally:
            self._is_reading = False
        pairs = reply.items() if isinstance(reply, dict) else reply or ()
        return [(self._keys[key], given) for key, given in pairs if given]

    async def _refused(self, error: RedisRefused) -> None:
        if str(error).startswith(_GONE) and self.on_gone is not None:
            await self.on_gone()
        else:
            self._is_refused = True  # the next read does not wait for messages: it is to tell whether it is over
            self._failed(RedisRefused(f"group {self.reader.group} cannot read: {error}"))
            await asyncio.sleep(REFUSED)

    def _well(self) -> None:
        self._is_refused = False
        self._pace.reset()
        self._outage.back(self)

    def _failed(self, error: RedisError) -> None:
        if not self._closing:
            self._outage.failed(self, error)
