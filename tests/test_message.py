"""The envelope: what can be sent, what is refused and why, and that hostile bytes harm nobody."""

from __future__ import annotations

import base64
import math
from collections import namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from hivemind.errors import PayloadError
from hivemind.message import (
    MAX_BODY,
    MAX_COUNT,
    MAX_DEPTH,
    MAX_PAYLOAD,
    Malformed,
    Message,
    count_in,
    decode,
    encode_headers,
    encode_payload,
    foreign,
    head,
    is_envelope,
    payload_of,
)

pytestmark = pytest.mark.timeout(20)


class Colour(Enum):
    RED = "red"
    PAIR = ("a", 1)
    NOT_A_NUMBER = math.nan


class Level(IntEnum):
    HIGH = 3


class Mood(StrEnum):
    CALM = "calm"


class Reading(BaseModel):
    value: float
    at: datetime
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    tags: list[Any] = field(default_factory=list)


class Words(dict[str, str]):
    pass


class Metres(float):
    pass


Pair = namedtuple("Pair", "left right")

NOON = datetime(2026, 1, 2, 12, 0, 0, 500, tzinfo=UTC)


def round_trip(payload: Any) -> Any:
    """What a receiver gets."""
    body = head("batsignal.0", 7) % (1, b"0.5") + encode_payload(payload) + b"}"
    value = decode(body)
    assert is_envelope(value)
    return payload_of(value)


@pytest.mark.parametrize(
    ("payload", "received"),
    [
        ("Batman! We need help! 🦇", "Batman! We need help! 🦇"),
        (None, None),
        (True, True),
        (0, 0),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (1.5, 1.5),
        ([1, [2, {"a": None}]], [1, [2, {"a": None}]]),
        ((1, 2), [1, 2]),
        (Pair(1, "b"), [1, "b"]),
        ({}, {}),
        (Words(a="b"), {"a": "b"}),
        (Metres(2.5), 2.5),
        (Colour.RED, "red"),
        (Colour.PAIR, ["a", 1]),
        (Level.HIGH, 3),
        (Mood.CALM, "calm"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (NOON, "2026-01-02T12:00:00.000500+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2, 3), "01:02:03"),
        (Point(1.0, 2.0, ["p"]), {"x": 1.0, "y": 2.0, "tags": ["p"]}),
        (Reading(value=1.0, at=NOON), {"value": 1.0, "at": "2026-01-02T12:00:00.000500Z", "colour": "red"}),
        ({"deep": [Point(0.0, 0.0)]}, {"deep": [{"x": 0.0, "y": 0.0, "tags": []}]}),
        ("null", "null"),
        (b"", b""),
        (bytes(range(256)), bytes(range(256))),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcdef")[::2], b"ace"),
    ],
)
def test_what_has_one_obvious_form_arrives_in_that_form(payload: Any, received: Any) -> None:
    assert round_trip(payload) == received


@pytest.mark.parametrize(
    ("payload", "path", "says"),
    [
        (math.nan, "$", "nan is not JSON"),
        ({"speed": [1, 2, math.inf]}, "$.speed[2]", "inf is not JSON"),
        ({"a": None, "b": Metres("nan")}, "$.b", "nan is not JSON"),
        (Point(1.0, -math.inf), "$.y", "-inf is not JSON"),
        (Colour.NOT_A_NUMBER, "$", "nan is not JSON"),
        ({"at": Reading(value=math.nan, at=NOON)}, "$.at.value", "nan is not JSON"),
        (2**64, "$", "more than 64 bits"),
        ([-(2**63) - 1], "$[0]", "more than 64 bits"),
        ({"a": b"x"}, "$.a", "use base64"),
        ({"a": {1: 2}}, "$.a", "the key 1 is not a string"),
        ({"at": [NOON.replace(tzinfo=None)]}, "$.at[0]", "needs its offset"),
        ({"set": {1}}, "$.set", "set has no JSON form"),
        (object(), "$", "object has no JSON form"),
        (Reading, "$", "no JSON form"),
        (["\ud800"], "$[0]", "UTF-8"),
        ({"a": {"\ud800": 1}}, "$.a", "UTF-8"),
        ([1j], "$[0]", "complex has no JSON form"),
    ],
)
def test_what_has_no_form_is_refused_with_the_path_to_it(payload: Any, path: str, says: str) -> None:
    with pytest.raises(PayloadError, match=says) as caught:
        encode_payload(payload)
    assert caught.value.path == path


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_sixty_four_levels_pass_both_ways_and_sixty_five_do_not() -> None:
    assert round_trip(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    with pytest.raises(PayloadError, match="nested more than 64 deep"):
        encode_payload(nested(MAX_DEPTH + 1))


def test_a_value_that_contains_itself_is_too_deep() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(PayloadError, match="nested more than 64 deep"):
        encode_payload({"circle": circle})


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert round_trip([{"i": [i]} for i in range(500)])[-1] == {"i": [499]}
    assert round_trip("[" * 500) == "[" * 500


def test_a_payload_may_take_a_mebibyte_and_no_more() -> None:
    assert len(round_trip("x" * (MAX_PAYLOAD - 2))) == MAX_PAYLOAD - 2
    with pytest.raises(PayloadError, match="at most 1,048,576 are allowed"):
        encode_payload("x" * MAX_PAYLOAD)
    with pytest.raises(PayloadError, match="at most"):
        encode_payload(bytes(MAX_PAYLOAD))


def test_headers_travel_beside_the_payload() -> None:
    body = head("a.0", 7) % (3, b"1.25") + encode_payload(1) + encode_headers({"traceparent": "00-1"}) + b"}"
    message = Message("t", decode(body), 1)
    assert message.headers == {"traceparent": "00-1"}
    with pytest.raises(PayloadError, match="bytes of headers"):
        encode_headers({"x": "y" * 100_000})


def test_a_message_knows_where_it_comes_from() -> None:
    message = Message("bat.signal", decode(head("a%d.0", 7) % (3, b"1.25") + b'"d":null}'), None)
    assert (message.sender, message.incarnation, message.sequence, message.sent_at) == ("a%d.0", 7, 3, 1.25)
    assert (message.id, message.deliveries) == ("bat.signal/a%d.0/7/3", 1)
    with pytest.raises(AttributeError):
        message.topic = "other"  # type: ignore[misc]  # what is tested


def test_a_foreign_value_is_a_message_of_nobody() -> None:
    message = Message("t", foreign({"a": 1}), {"a": 1})
    assert (message.sender, message.sequence, message.headers) == ("", 0, {})


GOOD: dict[str, Any] = {"v": 1, "n": "a.0", "e": 1, "s": 1, "t": 1.0, "d": 0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"v": 2},
        {"v": None},
        {"n": 1},
        {"n": None},
        {"e": -1},
        {"e": "1"},
        {"e": True},
        {"s": 1.0},
        {"s": None},
        {"t": "now"},
        {"t": None},
        {"h": []},
        {"h": None},
    ],
)
def test_an_envelope_with_a_wrong_field_is_none(wrong: dict[str, Any]) -> None:
    assert is_envelope(GOOD)
    assert not is_envelope(GOOD | wrong)


@pytest.mark.parametrize("missing", ["n", "e", "s", "d"])
def test_an_envelope_without_a_field_is_none(missing: str) -> None:
    assert not is_envelope({key: value for key, value in GOOD.items() if key != missing})


@pytest.mark.parametrize("text", ["?", "YQ", "YQ==\n", "é", "YQ==YQ=="])
def test_base64_that_is_none_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        payload_of({"b": text})


CORPUS = [
    b"",
    b"\x00",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    b"[" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b"[" * 66 + b"]" * 66,
    b"NaN",
    b"Infinity",
    b"1e999",
    b"9" * 5_000,
    b'"\\ud800"',
    b'{"v":1',
    b"{'v':1}",
    b"\x80abc",
    b'"' + b"x" * MAX_BODY + b'"',
]


@pytest.mark.parametrize("body", CORPUS, ids=range(len(CORPUS)))
def test_hostile_bytes_are_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode(body)


@given(st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]":,0v1nesdbt\\u-', max_size=200).map(str.encode)))
def test_decoding_raises_nothing_but_malformed(body: bytes) -> None:
    try:
        value = decode(body)
        if type(value) is dict and is_envelope(value):
            payload_of(value)
    except Malformed:
        pass


fields_of_envelopes = st.dictionaries(
    st.sampled_from("vnestdbhx"),
    st.one_of(st.none(), st.booleans(), st.integers(-1, 3), st.floats(allow_nan=False), st.text(max_size=3),
              st.lists(st.none(), max_size=1), st.dictionaries(st.text(max_size=2), st.none(), max_size=1)),
)  # fmt: skip


@given(fields_of_envelopes)
def test_any_object_is_an_envelope_or_not_and_then_all_of_a_message_can_be_read(value: dict[str, Any]) -> None:
    if is_envelope(value):
        message = Message("t", value, None)
        assert isinstance(message.headers, dict)
        assert isinstance(message.sent_at, float)
        assert message.id.startswith("t/")


text = st.text(st.characters(exclude_categories=["Cs"]))  # lone surrogates have no form
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | text | st.floats(-1e300, 1e300),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(text, children, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_every_json_value_arrives_as_it_was_sent(value: Any) -> None:
    assert round_trip(value) == value


@given(st.binary(max_size=300))
def test_all_bytes_arrive_as_they_were_sent(payload: bytes) -> None:
    assert round_trip(payload) == payload
    assert encode_payload(payload) == b'"b":' + orjson.dumps(base64.b64encode(payload).decode())


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        *((b"17", 17), (b"%d" % MAX_COUNT, MAX_COUNT), (b"%d" % (MAX_COUNT + 1), 0), (b"9" * 10_000, 0)),
        *((None, 0), (b"", 0), (b"-1", 0), (b"1.5", 0), ("\u0667".encode(), 0)),
    ],
)
def test_a_count_in_redis_is_what_our_functions_there_take_for_one(stored: bytes | None, found: int) -> None:
    assert count_in(stored) == found
