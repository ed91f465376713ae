"""Messages as the pages show them: one line each, and the payload as a tree. Pure."""

from __future__ import annotations

from typing import Any

from ...english import size_of
from ...message import Envelope, Malformed, decode, foreign, is_envelope, payload_of
from .. import wording
from .page import Item, item
from .payloads import MOST, brief, tree_of

LONGEST_NAME = 80  #: characters of a sender's name: anybody may write anything there


def message_item(topic: str, envelope: Envelope, payload: Any, size: int, number: str = "", most: int = MOST) -> Item:
    """One message; ``number`` tells those apart that have no number of their own, because no node sent them.
    Its tree has ``most`` values.
    """
    sender = str(envelope["n"])[:LONGEST_NAME]
    fields = {
        "time": clock(envelope.get("t", 0.0)),
        "topic": topic,
        "sender": sender or "no node",
        "size": size_of(size),
        "brief": brief(payload),
    }
    key = f"{topic}/{sender}/{envelope['e']}/{envelope['s'] or number}"
    return item(key, "", fields, {"payload": tree_of(payload, most)})


def message_of(topic: str, entry: str, body: bytes, most: int = MOST) -> Item:
    """One message as it lies in a stream; what is none is shown as its bytes."""
    since = int(entry.partition("-")[0]) / 1000  # a foreign message does not say when it was sent
    try:
        value = decode(body)
        if not isinstance(value, dict) or "v" not in value:
            return message_item(topic, foreign(value) | {"t": since}, value, len(body), entry, most)
        if not is_envelope(value):
            raise Malformed("it is no envelope")
        return message_item(topic, value, payload_of(value), len(body), entry, most)
    except Malformed:
        return message_item(topic, foreign(None) | {"t": since}, body, len(body), entry, most)


def clock(at: float) -> str:
    """A moment of a day with its milliseconds, as this machine's wall clock shows it; a dash for what is none."""
    shown = wording.clock(at)
    return shown if shown == "–" else f"{shown}.{int(at % 1 * 1000):03d}"
