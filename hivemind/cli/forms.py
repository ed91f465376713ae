"""How a message is shown: a line of JSON for programs, a line of text for people, or its payload alone."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

from ..message import Envelope
from . import output

MOST_HEX = 64  #: bytes of a payload of bytes that a line of text shows

#: topic, envelope, payload -> one line with its end
Show = Callable[[str, Envelope, Any], bytes]


class Form(StrEnum):
    """How messages are printed."""

    TEXT = "text"
    RAW = "raw"
    JSON = "json"


def shower(form: Form) -> Show:
    """The function that makes lines of this form, for standard output as it is now."""
    is_terminal = sys.stdout.isatty()
    if form is Form.JSON:
        return _json_for_people if is_terminal else _json
    if form is Form.RAW:
        return _raw_for_people if is_terminal else _raw
    return _coloured if output.coloured(sys.stdout) else _text


def text_of(payload: Any) -> str:
    """A payload as text: a string as it is, bytes as their number and hexadecimal, all else as JSON."""
    if payload.__class__ is str:
        return str(payload)
    if payload.__class__ is bytes:
        rest = "…" if len(payload) > MOST_HEX else ""
        return f"{len(payload)} bytes {payload[:MOST_HEX].hex()}{rest}"
    return orjson.dumps(payload).decode()


def _json(topic: str, envelope: Envelope, payload: Any) -> bytes:
    if payload.__class__ is bytes:
        payload = {"base64": base64.b64encode(payload).decode()}
    return (
        orjson.dumps(
            {
                "topic": topic,
                "payload": payload,
                "sender": envelope["n"],
                "incarnation": envelope["e"],
                "sequence": envelope["s"],
                "sent_at": envelope.get("t"),
            }
        )
        + b"\n"
    )


def _json_for_people(topic: str, envelope: Envelope, payload: Any) -> bytes:
    return output.printable_json(_json(topic, envelope, payload).decode()).encode()


def _raw(_: str, __: Envelope, payload: Any) -> bytes:
    return f"{text_of(payload)}\n".encode(errors="backslashreplace")


def _raw_for_people(_: str, __: Envelope, payload: Any) -> bytes:
    return f"{output.printable(text_of(payload))}\n".encode()


def _text(topic: str, envelope: Envelope, payload: Any) -> bytes:
    return f"{_clock(envelope)}  {_line(topic)}  {_sender(envelope)}  {_line(text_of(payload))}\n".encode()


def _coloured(topic: str, envelope: Envelope, payload: Any) -> bytes:
    parts = (
        output.styled(_clock(envelope), "dim"),
        output.styled(_line(topic), "cyan"),
        output.styled(_sender(envelope), "dim"),
        _line(text_of(payload)),
    )
    return f"{'  '.join(parts)}\n".encode()


def _line(text: str) -> str:
    return text if text.isprintable() else output.printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _sender(envelope: Envelope) -> str:
    return _line(envelope["n"]) or "-"


def _clock(envelope: Envelope) -> str:
    at = envelope.get("t", 0.0)
    try:
        return f"{_second(int(at))}.{int(at % 1 * 1000):03d}"
    except (OverflowError, ValueError, OSError):  # anybody may write anything there
        return "--:--:--.---"


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
