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
from collections.abc import Mapping
from datetime import date, datetime
from datetime import time as clock_time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

from .errors import PayloadError

MAX_PAYLOAD = 1024 * 1024  #: bytes of JSON (or of base64) that one payload may take
MAX_DEPTH = 64  #: levels of lists and objects in one payload
MAX_INTEGER = 2**64 - 1
MIN_INTEGER = -(2**63)

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS

_PLAIN: tuple[type[Any], ...] = (str, int, dict, list, tuple)  # whose subclasses are written as they are

Envelope = dict[str, Any]


class Malformed(ValueError):
    """Bytes on a topic that are no message; counted, never raised to a handler."""


def encode_payload(payload: Any) -> bytes:
    """Return ``payload`` as the end of an envelope: ``"d":...`` or, for bytes, ``"b":"..."``.

    Raises PayloadError with the path to the value that has no JSON form, or that is too large or too deep.
    """
    if isinstance(payload, bytes | bytearray | memoryview):
        body = b'"b":"' + base64.b64encode(payload) + b'"'
    else:
        body = b'"d":' + _dumps(payload)
    if len(body) > MAX_PAYLOAD + 4:
        raise PayloadError("$", f"{len(body):,} bytes of JSON, at most {MAX_PAYLOAD:,} are allowed")
    return body


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Return ``headers`` as a further member of an envelope."""
    return b',"h":' + _dumps(dict(headers))


def _dumps(payload: Any) -> bytes:
    try:
        body = orjson.dumps(payload, _default, _OPTIONS)
    except (TypeError, orjson.JSONEncodeError) as error:
        _blame(payload, "$", 0)
        raise PayloadError("$", str(error)) from error
    # orjson writes NaN and infinity as null, and only much nesting can be too much: look closer only then.
    if b"null" in body or body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _blame(payload, "$", 0)
    return body


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
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    for plain in _PLAIN:
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _blame(value: Any, path: str, depth: int) -> None:
    """Find the value that cannot be sent and raise PayloadError with the path to it."""
    if depth > MAX_DEPTH:
        raise PayloadError(path[:80], f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise PayloadError(path, f"{value} is not JSON")
    if isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise PayloadError(path, "an integer of more than 64 bits")
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if not isinstance(key, str):
                raise PayloadError(path, f"the key {key!r} is not a string")
            _blame(entry, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            _blame(entry, f"{path}[{index}]", depth + 1)
    elif hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        for name in value.__dataclass_fields__:
            _blame(getattr(value, name), f"{path}.{name}", depth + 1)
    else:
        _blame_leaf(value, path)


def _blame_leaf(value: Any, path: str) -> None:
    if isinstance(value, bytes | bytearray | memoryview):
        raise PayloadError(path, "bytes can be a payload, but not a part of one: use base64")
    try:
        orjson.dumps(value, _default, _OPTIONS)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise PayloadError(path, str(error.__cause__ or error)) from error


def head(instance: str, incarnation: int) -> bytes:
    """The beginning of every envelope of one sender, to be completed with ``%`` (sequence, time)."""
    name = orjson.dumps(instance).replace(b"%", b"%%")
    return b'{"v":1,"n":' + name + b',"e":%d,"s":%%d,"t":%%.6f,' % incarnation


def decode(body: bytes) -> Any:
    """Return the JSON value in ``body``; raise Malformed if it is none, or nested too deep."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(str(error)) from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH + 1:
        raise Malformed(f"nested more than {MAX_DEPTH} deep")
    return value


def _depth(value: Any) -> int:
    deepest, layer = 0, [value]
    while layer:
        deepest += 1
        layer = [
            child
            for entry in layer
            if isinstance(entry, dict | list)
            for child in (entry.values() if isinstance(entry, dict) else entry)
        ]
    return deepest - 1


def is_envelope(value: Any) -> bool:
    """Whether a decoded value is an envelope that can be trusted to have its fields and their types."""
    return (
        type(value) is dict
        and value.get("v") == 1
        and isinstance(value.get("n"), str)
        and _is_count(value.get("e"))
        and _is_count(value.get("s"))
        and isinstance(value.get("t", 0.0), int | float)
        and isinstance(value.get("h", {}), dict)
        and ("d" in value or isinstance(value.get("b"), str))
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def payload_of(envelope: Envelope) -> Any:
    """The payload in ``envelope``; raise Malformed when its base64 is none."""
    if "d" in envelope:
        return envelope["d"]
    try:
        return base64.b64decode(envelope["b"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"field b is not base64: {error}") from error


def foreign(value: Any) -> Envelope:
    """An envelope around what somebody published who knows nothing of envelopes."""
    return {"n": "", "e": 0, "s": 0, "t": time.time(), "d": value}


class Message:
    """What came with a payload; read-only.

    ``sender`` is the sending instance ("" for a foreign message), ``incarnation`` its life, ``sequence`` counts
    its messages on this topic from 1, ``sent_at`` is unix seconds by the sender's clock. ``deliveries`` counts how
    often this message was delivered: always 1 on a live subscription. ``id`` is ``topic/sender/incarnation/sequence``.
    """

    __slots__ = ("_envelope", "_payload", "_topic")

    def __init__(self, topic: str, envelope: Envelope, payload: Any) -> None:
        self._topic, self._envelope, self._payload = topic, envelope, payload

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
        return dict(self._envelope.get("h", {}))

    @property
    def deliveries(self) -> int:
        """How often this message has been delivered, this time included."""
        return 1

    @property
    def id(self) -> str:
        """One name for this message in the whole hive."""
        return f"{self._topic}/{self.sender}/{self.incarnation}/{self.sequence}"

    def __repr__(self) -> str:
        return f"Message({self.id})"
