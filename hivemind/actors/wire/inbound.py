"""A connection on which others send: requests in any form that a libprocess ever wrote, answered in their order."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import unquote

import httptools

from ..pid import PID
from .encoding import response, sender_in

log = logging.getLogger(__name__)

MAX_HEAD = 64 * 1024
"""Bytes of a request's first line and headers."""
CALM = 0.01
"""Seconds that the answer to a message waits for others. A peer may close behind its last byte: what is written to it
then, and fails, ends the connection before all was read; and no libprocess waits for that answer.
"""
MAX_WAITING = 1000
"""Requests of one connection that may wait for an answer; then it is not read until some have theirs."""


@dataclass(slots=True)
class Asked:
    """A request that came, whole."""

    verb: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes
    is_old: bool  # HTTP/1.0
    stays: bool  # whether the connection does
    sender: PID | None = None
    is_message: bool = False
    answered: bytes | None = field(default=None)


class Receiver(Protocol):
    """Whom requests are for."""

    max_body: int
    is_strict: bool  # whether a sender's ip has to be that of its connection

    def message(self, asked: Asked) -> bytes:
        """Take a message; the answer."""

    def request(self, asked: Asked, inbound: Inbound) -> None:
        """Take a request for a route; ``inbound.answer`` it some time."""


class Inbound(asyncio.Protocol):
    """One connection. It is never closed for being silent: to a libprocess that would be the end of a link."""

    def __init__(self, receiver: Receiver, open_: set[Inbound]) -> None:
        self._receiver, self._open = receiver, open_
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._waiting: deque[Asked] = deque()
        self._out: list[bytes] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._is_over = self._ends = False
        self._reset()

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody came."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self._peer = (transport.get_extra_info("peername") or ("",))[0]
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._is_over:
            return
        self._ends = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "no other protocol is spoken here")
        except httptools.HttpParserError as error:
            if not self._is_over:  # a callback of ours that refused ends the parser so
                self._refuse(400, str(error.__context__ or error))
        if not (self._headers_done or self._ends or self._is_over):
            self._head += len(data)  # a line that does not end is not told of
            if self._head > MAX_HEAD:
                self._refuse(431, "the headers are too long")
        if self._out and self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(CALM, self._flush)

    def connection_lost(self, _: Exception | None) -> None:
        """It is gone; what came whole counts."""
        self._is_over = True
        self._out.clear()
        self._flush()
        self._open.discard(self)
        self._transport = None

    def close(self) -> None:
        """Hang up."""
        self._is_over = True
        if self._transport is not None:
            self._transport.close()

    # -- httptools

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reset()

    def on_url(self, url: bytes) -> None:
        """A part of its first line."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._headers[name.lower()] = value
        self._head += len(name) + len(value)
        if self._head > MAX_HEAD:
            self._refuse(431, "the headers are too long")

    def on_headers_complete(self) -> None:
        """Its body follows."""
        self._headers_done = True

    def on_body(self, body: bytes) -> None:
        """A part of that."""
        self._size += len(body)
        if self._size > self._receiver.max_body:
            self._refuse(413, f"a body may have {self._receiver.max_body} bytes")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """It is there."""
        self._ends = True
        if self._is_over:
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        parser = self._parser
        is_old, stays = parser.get_http_version() == "1.0", parser.should_keep_alive()
        asked = Asked(
            parser.get_method().decode(), path, query, self._headers, b"".join(self._body), is_old, stays
        )  # fmt: skip
        self._waiting.append(asked)
        claims, asked.sender = sender_in(self._headers) if asked.verb == "POST" else (False, None)
        asked.is_message = claims
        if not claims:
            self._receiver.request(asked, self)
        elif asked.sender is None:
            self.answer(asked, response(400, b"Libprocess-From: write name@ip:port\n", "text/plain"))
        elif self._receiver.is_strict and not same_ip(asked.sender.ip, self._peer):
            self.answer(asked, response(400, b"Libprocess-From: not the address of this connection\n", "text/plain"))
        else:
            self.answer(asked, self._receiver.message(asked))
        if len(self._waiting) > MAX_WAITING and self._transport is not None:
            self._transport.pause_reading()

    def answer(self, asked: Asked, with_: bytes) -> None:
        """Answer it, when those before it are answered. On the loop."""
        asked.answered = with_
        while self._waiting and self._waiting[0].answered is not None:
            first = self._waiting.popleft()
            assert first.answered is not None
            self._out.append(first.answered)
            if not first.stays:
                self._flush()
                self.close()
                return
        if len(self._waiting) <= MAX_WAITING and self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()

    def send_out(self) -> None:
        """Write what was answered since. On the loop."""
        self._flush()

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _refuse(self, status: int, why: str) -> None:
        if not self._is_over:
            self._out.append(response(status, f"{why}\n".encode(), "text/plain", headers="Connection: close\r\n"))
            self._flush()
            self.close()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._headers_done = False
        self._body: list[bytes] = []
        self._head = self._size = 0


def same_ip(one: str, other: str) -> bool:
    """Whether two texts are the same address."""
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other.partition("%")[0])
    except ValueError:
        return False


def parts_of(path: str) -> tuple[str, str]:
    """The actor's name, decoded, and the rest as it stands: a mailbox may have slashes and is not encoded."""
    name, _, rest = path.removeprefix("/").partition("/")
    return unquote(name), rest
