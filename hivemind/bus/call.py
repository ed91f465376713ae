"""One request, as its responder has it: until it is answered, handed back, or nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..message import Envelope, encode_payload
from .requests_wire import ANY, LARGE, MANY, ONE, WINDOW, Key, failure

if TYPE_CHECKING:
    from .responding import Post

PATIENCE = 1.0  #: seconds for which a large reply waits for a caller that does not tell when it took others


class Call:
    """``deadline`` and ``heard``, when the caller last said something of it, are times of the loop; ``sent`` counts the
    replies of a stream. All methods belong to the loop.
    """

    __slots__ = (
        *("at", "budget", "deadline", "envelope", "heard", "is_over", "is_stream", "key", "post", "sent", "tried"),
        *("_allowed", "_heavy", "_room", "_weight", "work"),
    )

    def __init__(self, post: Post, key: Key, envelope: Envelope, tried: int) -> None:
        self.post, self.key, self.envelope, self.tried = post, key, envelope, tried
        self.at = self.budget = self.deadline = self.heard = 0.0
        self.is_over = self.is_stream = False
        self.sent = 0
        self.work: Any = None  # whoever handles it keeps here what it needs to end that
        self._allowed = WINDOW
        self._heavy: deque[tuple[int, int]] = deque()  # large replies that are not taken yet, as far as we know
        self._weight = 0  # bytes that they are
        self._room: asyncio.Event | None = None

    def wants(self, *, stream: bool) -> bool:
        """Whether the caller takes this kind of answer."""
        return self.envelope.get("m", ANY) in ((MANY, ANY) if stream else (ONE, ANY))

    # -- how it ends

    def reply(self, payload: bytes) -> None:
        """Answer, once, with an encoded payload."""
        self._finish(b"reply", payload)

    def fail(self, kind: str, text: str, traceback: str = "", *, is_invalid: bool = False) -> None:
        """Answer that it went wrong."""
        self._finish(b"error", failure(kind, text, traceback, is_invalid=is_invalid))

    def end(self) -> None:
        """All replies of the stream are sent."""
        self._finish(b"end", b"")

    def _finish(self, kind: bytes, payload: bytes) -> None:
        if not self.is_over:
            self.is_over = True
            part = self.sent if self.is_stream else -1
            self.post.finished(self, self.post.forms.reply(self.key[1], kind, payload, part))

    def drop(self) -> None:
        """Nobody waits any more, or its time is over: it is not answered, and its handler is ended."""
        if not self.is_over:
            self.is_over = True
            if self._room is not None:
                self._room.set()
            self.post.finished(self, b"")
            self.post.answerer.withdraw(self)

    def hand_back(self) -> None:
        """It was not begun, and is not going to be: somebody else may have it."""
        if not self.is_over:
            self.post.hand_back(self)

    # -- streams

    def stream(self) -> None:
        """It is answered with many replies."""
        self.is_stream = True
        self.heard = asyncio.get_running_loop().time()
        self._room = asyncio.Event()

    async def part(self, value: Any) -> None:
        """Send one reply as soon as the caller takes more. Raises PayloadError. Nothing when nobody waits any more."""
        payload = encode_payload(value)
        assert self._room is not None
        while self.sent >= self._allowed and not self.is_over:
            self._room.clear()
            await self._room.wait()
        if is_large := len(payload) >= LARGE:
            await self._lighten(self._room)
            self._heavy.append((self.sent, len(payload)))
            self._weight += len(payload)
        if not self.is_over:
            body = self.post.forms.reply(self.key[1], b"part", payload, self.sent, is_large=is_large)
            self.sent += 1
            self.post.calls.say(self.key[0], body)

    async def _lighten(self, room: asyncio.Event) -> None:
        """Return when few large replies are not taken: Redis cuts off whoever has too much to come. A caller of an
        older version does not tell soon enough: it has a while for each.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._weight >= LARGE * WINDOW and not self.is_over:
                    room.clear()
                    await room.wait()

    def still_wanted(self, allowed: Any) -> None:
        """The caller has said something of it, maybe how many replies it takes by now."""
        self.heard = asyncio.get_running_loop().time()
        if allowed.__class__ is int and self._allowed < allowed <= self.sent + 2 * WINDOW:
            self._allowed = allowed
            while self._heavy and self._heavy[0][0] < allowed - WINDOW:
                self._weight -= self._heavy.popleft()[1]
            if self._room is not None:
                self._room.set()
