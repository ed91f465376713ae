"""The bodies of requests: read whole, bounded in size, time and number, and looked at as fields."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from .problems import TODO

MAX_BODY = 256 * 1024
"""Bytes of a request's body, unless a hive's controller says otherwise."""
BODY_TIME = 10.0
"""Seconds in which a body has to be there."""
AT_ONCE = 32
"""Bodies that are read at the same time; who comes then waits, for BODY_TIME at the most."""
MAX_FIELDS = 100

FORM, JSON, FILES = "application/x-www-form-urlencoded", "application/json", "multipart/form-data"
KINDS = frozenset({FORM, JSON, FILES})


class RequestRefused(Exception):
    """What is asked is not done; ``status`` and the text say why, ``todo`` what to do where the status does not."""

    def __init__(self, status: int, text: str, todo: str = "") -> None:
        super().__init__(text)
        self.status, self.todo = status, todo


class Bodies:
    """Reads the bodies of one application's requests."""

    def __init__(self, most: int = MAX_BODY, at_once: int = AT_ONCE) -> None:
        self._most = most
        self._turns = asyncio.Semaphore(at_once)

    def check(self, headers: Headers) -> None:
        """Raise RequestRefused for what need not be read to be refused."""
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._most:
            raise self._too_large()
        is_empty = length == "0" and "transfer-encoding" not in headers
        if kind_of(headers) not in KINDS and not (is_empty and "content-type" not in headers):
            raise RequestRefused(415, f"no Content-Type that is known: it is one of {', '.join(sorted(KINDS))}")

    async def read(self, receive: Receive) -> bytes:
        """The whole body. Raises RequestRefused, and ClientDisconnect if they left."""
        try:
            async with asyncio.timeout(BODY_TIME), self._turns:
                return await self._read(receive)
        except TimeoutError:
            raise RequestRefused(408, f"the body was not there within {BODY_TIME:g} s") from None

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > self._most:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> RequestRefused:
        return RequestRefused(413, f"a body has at most {self._most:,} bytes")


def again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` for who comes later: gives the body once more, then what else there is."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def kind_of(headers: Headers) -> str:
    """The content type, without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def form_fields(headers: Headers, body: bytes) -> dict[str, str]:
    """The fields of a form, of each name the first; none where it is no form. Raises RequestRefused."""
    if kind_of(headers) != FORM:
        return {}
    if body.lstrip()[:1] == b"{":  # some programs call all that they send a form, unless they are told otherwise
        raise RequestRefused(400, "the body is JSON, and its Content-Type says that it is a form", TODO[415])
    try:
        found = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:  # a UnicodeDecodeError is one, too
        raise RequestRefused(400, "this is no form that we can read") from None
    return dict(reversed(found))


def is_form(request: Request) -> bool:
    """Whether a change comes from a form, in which everything is text."""
    return kind_of(request.headers) == FORM


def wants_page(request: Request) -> bool:
    """Whether a change comes from a form without a script: then the answer is a page."""
    return is_form(request) and "text/html" in request.headers.get("accept", "")


def is_ticked(fields: Mapping[str, Any], name: str) -> bool:
    """Whether a box of a form is ticked, or a program said true."""
    return fields.get(name) in (True, "on", "true")


async def fields_of(request: Request) -> Mapping[str, Any]:
    """What a change says, for its route: the fields of its form, or the object in its JSON; nothing for no body.

    Raises RequestRefused where it is neither.
    """
    body = await request.body()
    if not body:
        return {}
    if kind_of(request.headers) == FORM:
        return form_fields(request.headers, body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestRefused(400, "this is no JSON") from None
    if not isinstance(value, dict):
        raise RequestRefused(400, "write a JSON object")
    return value
