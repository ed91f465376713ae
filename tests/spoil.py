"""Spoils what is right: bytes, JSON and replies of Redis, as a stranger, a broken disk or another version might."""

from __future__ import annotations

import json
from random import Random
from typing import Any

DEEP = 1200  #: levels: more than Python's stack allows

#: what may stand in the place of any value of JSON
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 7, 0.5, -1e300, 1e300, 2**53, 2**63, 2**64 - 1),
    *("", "x", "²", "٣", "inf", "nan", "1", "9" * 5000, "0" * 400 + "1d", "\x00", "../..", "a.0", "*", "[", "hm:"),
    *([], {}, [[]], [None], {"": None}, {"a": {"b": []}}, ["x"] * 40, [1, 2], [[1, 2]]),
)  # fmt: skip

#: the same for a reply of Redis
REPLIES: tuple[Any, ...] = (
    *(None, 0, -1, 2**63 - 1, b"", b"x", b"\xff\xfe", b"-1", b"9" * 5000, b"0-0", "²".encode(), b"1:1"),
    *([], [b"x"], [[]], [None], [b"message"], {b"": b""}, [b"a", 1, [b"b"]]),
)  # fmt: skip

#: what may stand anywhere in a text
PIECES: tuple[bytes, ...] = (
    *(b"", b"\x00", b"\xff", b"\n", b"\r\n", b" ", b"{", b"}", b"[", b"]", b'"', b",", b":", b"%", b"@", b"#", b"/"),
    *(b"null", b"NaN", b"1e999", b"-0", b"9" * 30, b"9" * 5000, b'"\\ud800"', b"\\", b"[" * DEEP, b'{"a":' * DEEP),
    *("²".encode(), "٣".encode(), "\u2028".encode(), b"\xed\xa0\x80"),
)  # fmt: skip


def spoilt_value(rng: Random, value: Any, others: tuple[Any, ...] = VALUES) -> Any:
    """``value`` with one of its parts another, gone, or there twice."""
    if rng.random() < 0.2:
        return rng.choice(others)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        rest = {name: one for name, one in value.items() if name != key}
        return rest if rng.random() < 0.2 else value | {key: spoilt_value(rng, value[key], others)}
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        changed = [] if rng.random() < 0.2 else [spoilt_value(rng, value[at], others)] * rng.choice((1, 1, 1, 2))
        return [*value[:at], *changed, *value[at + 1 :]]
    return rng.choice(others)


def spoilt_bytes(rng: Random, text: bytes) -> bytes:
    """``text`` with a piece of it another, gone, or there twice; or cut off."""
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.choice((0, 0, 1, 2, 8, 64)))
    if rng.random() < 0.1:
        return text[:start]
    return text[:start] + rng.choice((rng.choice(PIECES), text[start:end] * 2, rng.randbytes(3))) + text[end:]


def spoilt(rng: Random, text: bytes, times: int = 3) -> bytes:
    """A right text, up to so many times spoilt: as JSON where it is some, else as bytes."""
    for _ in range(rng.randint(0, times)):
        if rng.random() < 0.7 and (value := _json(text)) is not None:
            text = json.dumps(spoilt_value(rng, value)).encode()
        else:
            text = spoilt_bytes(rng, text)
    return text


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
