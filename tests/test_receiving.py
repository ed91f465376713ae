"""What a live subscription makes of bytes: the short way must see just what the long way sees."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.receiving import LiveSubscription
from hivemind.message import Message, encode_headers, encode_payload, head

pytestmark = pytest.mark.timeout(60)

TOPICS = {b"hm:t:t:x": "x", b"hm:t:t:y": "y"}
Item = list[bytes]


def body(sender: str, life: int, sequence: int, payload: Any, headers: dict[str, str] | None = None) -> bytes:
    more = encode_headers(headers) if headers else b""
    return head(sender, life) % (sequence, b"1.5") + encode_payload(payload) + more + b"}"


def item(channel: bytes, content: bytes) -> Item:
    return [b"message", channel, content]


def heard(items: list[Item], *, is_long: bool) -> tuple[list[Any], dict[str, int]]:
    """What handlers would see, and the counts; the long way forgets who spoke last before each message."""
    subscription = LiveSubscription("x")
    subscription.ledger.ready = 0
    for one in items:
        if is_long:
            subscription.ledger.latest_lines.clear()
        subscription.receive([one], TOPICS)
    seen = []
    while (entry := subscription.inbox.take()) is not None:
        topic, payload, source, size = entry
        message = Message(topic, source, payload)
        seen.append(
            (topic, payload, message.sender, message.incarnation, message.sequence, dict(message.headers), size)
        )
    ledger = subscription.ledger
    counts = {name: getattr(ledger, name) for name in ("received", "missed", "duplicate", "stale")}
    return seen, counts | {"malformed": subscription.malformed}


payloads = st.one_of(
    st.none(), st.integers(-5, 5), st.text(max_size=5), st.binary(max_size=5), st.just({"d": ',"d":'}), st.just([[]])
)
ours = st.builds(
    body,
    st.sampled_from(["a.0", "b.0", 'odd",".0']),
    st.integers(1, 2),
    st.integers(1, 4),
    payloads,
    st.sampled_from([None, {"reply": "here"}]),
)


def damage(whole: bytes, at: int, put: bytes) -> bytes:
    at %= len(whole)
    return whole[:at] + put + whole[at + 1 :]


damaged = st.builds(damage, ours, st.integers(0, 80), st.binary(max_size=2))
bodies = st.one_of(ours, ours, ours, damaged, st.sampled_from([b"1", b"{}", b"", b"null", b'{"v":1}']))
items = st.lists(st.builds(item, st.sampled_from(sorted(TOPICS)), bodies), max_size=30)


def in_order(sender: str, channel: bytes, count: int) -> list[Item]:
    return [item(channel, body(sender, 1, number, number)) for number in range(1, count + 1)]


@given(items)
def test_the_short_way_counts_and_delivers_what_the_long_way_does(pushed: list[Item]) -> None:
    short, long = heard(pushed, is_long=False), heard(pushed, is_long=True)
    assert [one[:2] for one in short[0]] == [one[:2] for one in long[0]]
    assert short[1] == long[1]


@given(st.lists(st.sampled_from([b"hm:t:t:x", b"hm:t:t:y"]), max_size=20), st.randoms())
def test_senders_that_take_turns_lose_nothing(channels: list[bytes], random: Any) -> None:
    lines = [in_order(sender, channel, 8) for sender in ("a.0", "b.0", "c.0") for channel in dict.fromkeys(channels)]
    mixed = []
    while any(lines):
        mixed.append(random.choice([line for line in lines if line]).pop(0))
    seen, counts = heard(mixed, is_long=False)
    assert counts == {"received": len(mixed), "missed": 0, "duplicate": 0, "stale": 0, "malformed": 0}
    assert [one[1] for one in seen] == [orjson.loads(content)["d"] for *_, content in mixed]


def test_what_lies_behind_a_right_beginning_is_read_before_it_is_believed() -> None:
    first, second = body("a.0", 1, 1, 0), body("a.0", 1, 2, 1)
    for wrong in (
        second[:-1],
        second + b"}",
        second.replace(b'"d":1', b'"d":'),
        second.replace(b'"d"', b'"x"'),
        second.replace(b"1.5", b"\xff"),
    ):
        seen, counts = heard([item(b"hm:t:t:x", first), item(b"hm:t:t:x", wrong)], is_long=False)
        assert (len(seen), counts["malformed"]) == (1, 1), wrong


def test_nesting_is_limited_on_the_short_way_too() -> None:
    deep = body("a.0", 1, 2, 0).replace(b'"d":0', b'"d":' + b"[" * 70 + b"]" * 70)
    _, counts = heard([item(b"hm:t:t:x", body("a.0", 1, 1, 0)), item(b"hm:t:t:x", deep)], is_long=False)
    assert counts["malformed"] == 1
