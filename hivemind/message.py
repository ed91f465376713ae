"""The envelope: what travels on a topic, one JSON object that any language can read and write.

``{"v":1,"n":"batsignal.0","e":1795321510007,"s":42,"t":1795321514.224,"d":<payload>,"h":{...}}``

n sending instance · e incarnation · s sequence on this topic · t unix seconds · d payload (or ``b``: base64 for
bytes) · h headers, left out when empty. JSON without ``"v"`` is a foreign message: its whole value is the payload.
"""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from datetime import time as clock_time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import orjson
from orjson import dumps

from .errors import CannotSettle, PayloadError

MAX_PAYLOAD = 1024 * 1024  #: bytes of JSON (or of base64) that one payload may take
MAX_HEADERS = 64 * 1024  #: bytes of JSON that the headers may take
MAX_BODY = MAX_PAYLOAD + MAX_HEADERS + 1024  #: bytes of one envelope; what is longer is not even read
MAX_DEPTH = 64  #: levels of lists and objects in one payload
FLAT = 2 * MAX_DEPTH  #: bytes in which there is no room for too many levels
MAX_COUNT = 2**53 - 1  #: the largest incarnation or sequence: every language can read it from JSON
MAX_INTEGER = 2**64 - 1
MIN_INTEGER = -(2**63)

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS

_PLAIN: tuple[type[Any], ...] = (str, int, float, dict, list, tuple)  # whose subclasses are written as they are
_BYTES = (bytes, bytearray, memoryview)
_CONTAINERS, _NUMBERS = (dict, list), (float, int)
_HARMLESS = frozenset({str, bool, type(None)})  # what orjson has written once cannot be to blame


OTHER: Any = object()  #: in place of a payload: this is something else
Envelope = dict[str, Any]


class Malformed(ValueError):
    """Bytes on a topic that are no message; counted, never raised to a handler."""


def encode_payload(payload: Any) -> bytes:
    """Return ``payload`` as the end of an envelope: ``"d":...`` or, for bytes, ``"b":"..."``.

    Raises PayloadError with the path to the value that has no JSON form, or that is too large or too deep.
    """
    if payload.__class__ is not dict and isinstance(payload, _BYTES):
        body = b'"b":"' + base64.b64encode(bytes(payload)) + b'"'
        _check_size(body)
        return body
    try:
        body = b'"d":' + dumps(payload, _default, _OPTIONS)
    except (TypeError, ValueError) as error:
        reason = str(error.__cause__ or error)
    else:
        if len(body) > FLAT or body.count(b"null"):  # count: "in" takes twice its time
            _check(payload, body)
        return body
    _blame(payload, "$", 0)  # outside of the handling, so that the user's traceback is short
    raise PayloadError("$", reason)


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Return ``headers`` as a further member of an envelope. Raises PayloadError, as for a payload."""
    body = b',"h":' + encode_payload(dict(headers))[4:]
    if len(body) > MAX_HEADERS:
        raise PayloadError("$", f"{len(body):,} bytes of headers, at most {MAX_HEADERS:,} are allowed")
    return body


def _check_size(body: bytes) -> None:
    if len(body) > MAX_PAYLOAD + 4:
        raise PayloadError("$", f"{len(body):,} bytes of JSON, at most {MAX_PAYLOAD:,} are allowed")


def _check(payload: Any, body: bytes) -> None:
    """Look closer at what was written: it is long, or has a null, as which orjson writes NaN and infinity.

    A text can be neither: looking through it would take ten times as long as writing it.
    """
    if payload.__class__ is not str and (body.count(b"null") or _is_deep(body)):
        _blame(payload, "$", 0)
    _check_size(body)


def _is_deep(body: bytes) -> bool:
    return _may_be_deep(body) and _depth(orjson.loads(b"{%b}" % body)) > MAX_DEPTH + 1


def _default(value: Any) -> Any:
    """The one obvious JSON form of what orjson leaves to us."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError("a datetime needs its offset: use datetime.now(tz=...)")
        return value.isoformat()
    if isinstance(value, date | clock_time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if _is_model(value):
        return value.model_dump(mode="json")
    for plain in _PLAIN:
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _blame(value: Any, path: str, depth: int) -> None:
    """Find the value that cannot be sent and raise PayloadError with the path to it."""
    if type(value) in _HARMLESS:
        _blame_text(value, path)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PayloadError(path, f"{value} is not JSON")
    elif isinstance(value, (dict, list, tuple, Mapping)) or (is_dataclass(value) and not isinstance(value, type)):
        if depth >= MAX_DEPTH:
            raise PayloadError(path[:80], f"nested more than {MAX_DEPTH} deep")
        for step, entry in _members(value, path):
            _blame(entry, path + step, depth + 1)
    else:
        _blame_leaf(value, path, depth)


def _members(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What lies in a container, each with its step of the path."""
    if isinstance(value, (dict, Mapping)):
        for key, entry in value.items():
            if type(key) is not str:
                raise PayloadError(path, f"the key {key!r} is not a string")
            _blame_text(key, path)
            yield f".{key}", entry
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield f"[{index}]", entry
    else:
        for field in fields(value):
            yield f".{field.name}", getattr(value, field.name)


def _blame_text(value: Any, path: str) -> None:
    if type(value) is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise PayloadError(path, f"not to be written as UTF-8: {error.reason}") from error


def _blame_leaf(value: Any, path: str, depth: int) -> None:
    if isinstance(value, int) and not isinstance(value, bool | Enum) and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise PayloadError(path, "an integer of more than 64 bits")
    if isinstance(value, _BYTES):
        raise PayloadError(path, "bytes can be a payload, but not a part of one: use base64")
    try:
        if isinstance(value, Enum) or _is_model(value):
            _blame(_default(value), path, depth + 1)
        orjson.dumps(value, _default, _OPTIONS)
    except PayloadError:
        raise
    except (TypeError, ValueError) as error:
        raise PayloadError(path, str(error.__cause__ or error)) from None


def _is_model(value: Any) -> bool:
    return hasattr(value, "model_dump") and not isinstance(value, type)


def head(instance: str, incarnation: int) -> bytes:
    """The beginning of every envelope of one sender, to be completed with ``%`` (sequence, time as JSON)."""
    name = orjson.dumps(instance).replace(b"%", b"%%")
    return b'{"v":1,"n":' + name + b',"e":%d,"s":%%d,"t":%%b,' % incarnation


def decode(body: bytes) -> Any:
    """Return the JSON value in ``body``; raise Malformed if it is none, too long, or nested too deep."""
    if len(body) > MAX_BODY:
        raise Malformed(f"{len(body):,} bytes, at most {MAX_BODY:,} are read")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(str(error)) from error
    if len(body) > FLAT and _nests(value) and _may_be_deep(body) and _depth(value) > MAX_DEPTH + 1:
        raise Malformed(f"nested more than {MAX_DEPTH} deep")
    return value


def _nests(value: Any) -> bool:
    """Whether an object has anything in it that could nest; the many bytes of a text need not be counted then."""
    return value.__class__ is not dict or any(member.__class__ in _CONTAINERS for member in value.values())


def _may_be_deep(body: bytes) -> bool:
    """Whether there are brackets enough for too much depth: counting them is cheap, walking is not."""
    return body.count(b"[") + body.count(b"{") > MAX_DEPTH


def _depth(value: Any) -> int:
    """How many lists and objects lie in each other in a value that orjson made."""
    deepest, layer = 0, [value] if value.__class__ in (dict, list) else []
    while layer:
        deepest += 1
        layer = [
            child
            for entry in layer
            for child in (entry.values() if entry.__class__ is dict else entry)
            if child.__class__ is dict or child.__class__ is list
        ]
    return deepest


def is_count(value: Any) -> bool:
    """Whether a decoded value can be an incarnation or a sequence."""
    return value.__class__ is int and 0 <= value <= MAX_COUNT


def count_in(stored: bytes | None) -> int:
    """An incarnation or a sequence as Redis has it, in digits; 0 for what is none, as our functions there see it."""
    if stored is None or not stored.isdigit() or len(stored) > len(str(MAX_COUNT)):
        return 0
    return found if (found := int(stored)) <= MAX_COUNT else 0


def is_envelope(value: Any) -> bool:
    """Whether a decoded object is an envelope that can be trusted to have its fields and their types."""
    try:
        return (
            value["v"] == 1
            and value["n"].__class__ is str
            and value["e"].__class__ is int
            and value["s"].__class__ is int
            and 0 <= value["e"] <= MAX_COUNT
            and 0 <= value["s"] <= MAX_COUNT
            and isinstance(value.get("t", 0.0), _NUMBERS)
            and ("d" in value or value["b"].__class__ is str)
            and ("h" not in value or value["h"].__class__ is dict)
        )
    except (KeyError, TypeError):
        return False


def payload_of(envelope: Envelope) -> Any:
    """The payload in ``envelope``; raise Malformed when its base64 is none."""
    if "d" in envelope:
        return envelope["d"]
    try:
        return base64.b64decode(envelope["b"], validate=True)
    except (binascii.Error, ValueError, TypeError) as error:  # a reply's need not even be a text
        raise Malformed(f"field b is not base64: {error}") from error


def envelope_of(source: bytes | Envelope) -> Envelope:
    """An envelope that was found right, whether it was kept as it came or as it was read."""
    if isinstance(source, bytes):
        envelope: Envelope = orjson.loads(source)
        return envelope
    return source


def foreign(value: Any) -> Envelope:
    """An envelope around what somebody published who knows nothing of envelopes."""
    return {"n": "", "e": 0, "s": 0, "t": time.time(), "d": value}


class Message:
    """What came with a payload; read-only.

    ``sender`` is the sending instance ("" for a foreign message), ``incarnation`` its life, ``sequence`` counts
    its messages on this topic from 1, ``sent_at`` is unix seconds by the sender's clock. ``deliveries`` counts how
    often this message was delivered: always 1 on a live subscription. ``id`` is ``topic/sender/incarnation/sequence``.
    """

    __slots__ = ("_payload", "_source", "_topic")

    def __init__(self, topic: str, source: bytes | Envelope, payload: Any) -> None:
        self._topic, self._source, self._payload = topic, source, payload

    @property
    def _envelope(self) -> Envelope:
        if isinstance(self._source, bytes):  # few ask for more than the topic: it is read when somebody does
            self._source = envelope_of(self._source)
        return self._source

    @property
    def topic(self) -> str:
        """The topic it was sent on, never a pattern."""
        return self._topic

    @property
    def payload(self) -> Any:
        """The payload, validated if the handler's annotation asks for it."""
        return self._payload

    @property
    def sender(self) -> str:
        """The sending instance, such as ``batsignal.0``; "" for a foreign message."""
        return str(self._envelope["n"])

    @property
    def incarnation(self) -> int:
        """The sender's life: grows with every restart."""
        return int(self._envelope["e"])

    @property
    def sequence(self) -> int:
        """The how-manieth message of this sender's life on this topic, from 1."""
        return int(self._envelope["s"])

    @property
    def sent_at(self) -> float:
        """When it was sent: unix seconds by the sender's clock."""
        return float(self._envelope.get("t", 0.0))

    @property
    def headers(self) -> Mapping[str, str]:
        """What travels beside the payload; empty for most messages."""
        return {name: str(value) for name, value in self._envelope.get("h", {}).items()}

    @property
    def deliveries(self) -> int:
        """How often this message has been delivered, this time included."""
        return 1

    @property
    def id(self) -> str:
        """One name for this message in the whole hive."""
        return f"{self._topic}/{self.sender}/{self.incarnation}/{self.sequence}"

    def ack(self) -> None:
        """Say now that it is handled: only of a durable message. Raises CannotSettle."""
        raise self._is_live("ack()")

    def nack(self, delay: float | None = None) -> None:
        """Let it be tried again: only a durable message. Raises CannotSettle."""
        del delay
        raise self._is_live("nack()")

    def reject(self, reason: str) -> None:
        """Let it be a dead letter: only a durable message. Raises CannotSettle."""
        del reason
        raise self._is_live("reject()")

    def _is_live(self, what: str) -> CannotSettle:
        return CannotSettle(what, self.id, "it came live, and nobody keeps it; @subscription(..., durable=True) does")

    def __repr__(self) -> str:
        return f"Message({self.id})"
