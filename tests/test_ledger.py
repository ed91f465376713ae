"""The loss ledger: what is counted, and what reaches a handler."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus import ledger as module
from hivemind.bus.ledger import Ledger

pytestmark = pytest.mark.timeout(20)

READY = 1000  #: when the subscription was ready: senders with a greater incarnation began afterwards


def ledger() -> Ledger:
    made = Ledger()
    made.ready = READY
    return made


def admit(book: Ledger, *sequences: int, life: int = 1, sender: str = "a.0", topic: str = "t") -> list[int]:
    """Enter messages and return the sequences of those that a handler sees."""
    return [s for s in sequences if book.admit(topic, {"n": sender, "e": life, "s": s})]


def counts(book: Ledger) -> dict[str, int]:
    every = {name: getattr(book, name) for name in ("received", "missed", "duplicate", "stale")}
    return {name: count for name, count in every.items() if count}


OLD, NEW = READY - 1, READY + 1  # a life that began before the subscription was ready, and one after


@pytest.mark.parametrize(
    ("life", "sequences", "seen", "counted"),
    [
        pytest.param(OLD, [7, 8, 9], [7, 8, 9], {"received": 3}, id="of an old sender the first seen is the baseline"),
        pytest.param(NEW, [1, 2], [1, 2], {"received": 2}, id="a new sender begins with one"),
        pytest.param(NEW, [3], [3], {"received": 1, "missed": 2}, id="what a new sender sent before is missed"),
        pytest.param(OLD, [7, 10], [7, 10], {"received": 2, "missed": 2}, id="a gap is missed"),
        pytest.param(OLD, [7, 7], [7], {"received": 1, "duplicate": 1}, id="the same again is a duplicate"),
        pytest.param(OLD, [7, 8, 7, 8, 9], [7, 8, 9], {"received": 3, "duplicate": 2}, id="a resend is dropped"),
        pytest.param(OLD, [7, 6], [7], {"received": 1, "duplicate": 1}, id="what came before the baseline is dropped"),
        pytest.param(NEW, [2, 1], [2], {"received": 1, "missed": 1, "duplicate": 1}, id="order is never broken"),
    ],
)
def test_each_message_is_counted_once(
    life: int, sequences: list[int], seen: list[int], counted: dict[str, int]
) -> None:
    book = ledger()
    assert admit(book, *sequences, life=life) == seen
    assert counts(book) == counted


def test_before_the_subscription_is_ready_every_sender_is_an_old_one() -> None:
    book = Ledger()
    assert admit(book, 5, life=NEW) == [5]
    assert counts(book) == {"received": 1}


def test_topics_and_senders_are_counted_apart() -> None:
    book = ledger()
    for topic, sender in (("t", "a.0"), ("u", "a.0"), ("t", "b.0")):
        assert admit(book, 1, 2, life=NEW, topic=topic, sender=sender) == [1, 2]
    assert counts(book) == {"received": 6}


def test_a_new_life_begins_again_with_one_and_the_old_one_reaches_nobody() -> None:
    book = ledger()
    assert admit(book, 5, 6, life=1) == [5, 6]
    assert admit(book, 1, 2, life=2) == [1, 2]
    assert admit(book, 7, 8, life=1) == []
    assert counts(book) == {"received": 4, "stale": 2}


def test_what_a_new_life_sent_unheard_is_missed() -> None:
    book = ledger()
    admit(book, 5, life=1)
    assert admit(book, 4, life=2) == [4]
    assert counts(book) == {"received": 2, "missed": 3}


def test_a_lost_tail_is_missed_as_soon_as_the_sender_says_what_was_last() -> None:
    book = ledger()
    admit(book, 1, 2, life=NEW)
    book.tail("a.0", NEW, {"t": 5, "never-heard": 2})
    assert counts(book) == {"received": 2, "missed": 5}
    book.tail("a.0", NEW, {"t": 5, "never-heard": 2})
    assert counts(book) == {"received": 2, "missed": 5}
    assert admit(book, 6, life=NEW) == [6]


def test_what_an_old_sender_said_before_we_listened_is_not_missed() -> None:
    book = ledger()
    book.tail("a.0", OLD, {"t": 5})
    assert counts(book) == {}
    assert admit(book, 7, life=OLD) == [7]
    assert counts(book) == {"received": 1, "missed": 1}


def test_on_a_topic_that_is_newer_than_the_subscription_everybody_begins_with_one() -> None:
    book = ledger()
    book.new_topics.add("t")
    assert admit(book, 4, life=OLD) == [4]
    book.tail("b.0", OLD, {"t": 2, "u": 9})
    assert counts(book) == {"received": 1, "missed": 5}


def test_the_tail_of_an_older_life_says_nothing() -> None:
    book = ledger()
    admit(book, 1, life=NEW + 1)
    book.tail("a.0", NEW, {"t": 99})
    assert counts(book) == {"received": 1}


def test_a_tail_may_be_late_and_say_less_than_has_come() -> None:
    book = ledger()
    admit(book, 1, 2, 3, life=NEW)
    book.tail("a.0", NEW, {"t": 2})
    assert admit(book, 4, life=NEW) == [4]
    assert counts(book) == {"received": 4}


def test_a_sender_that_was_forgotten_and_comes_back_has_missed_nothing() -> None:
    book = ledger()
    admit(book, 1, 2, 3, life=NEW)
    book.forget("a.0")
    book.forget("nobody")
    assert admit(book, 1000, life=NEW) == [1000]
    assert counts(book) == {"received": 4}


def test_a_sender_that_begins_after_another_was_forgotten_still_begins_with_one() -> None:
    book = ledger()
    admit(book, 1, life=NEW)
    book.forget("a.0")
    admit(book, 3, life=NEW + 1, sender="b.0")
    assert counts(book) == {"received": 2, "missed": 2}


def test_forgetting_a_sender_changes_nothing_for_the_others() -> None:
    book = ledger()
    admit(book, 1, life=NEW + 5)
    book.forget("a.0")
    admit(book, 3, life=NEW + 1, sender="b.0")
    assert counts(book) == {"received": 2, "missed": 2}
    admit(book, 7, life=NEW + 5)
    assert counts(book) == {"received": 3, "missed": 2}


def test_invented_senders_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SENDERS", 10)
    book = ledger()
    for number in range(50):
        admit(book, 1, life=OLD, sender=f"x{number}.0")
    assert len(book._senders) == 10


def test_gaps_and_new_senders_are_told() -> None:
    told: list[Any] = []
    book = ledger()
    book.on_gap = lambda *gap: told.append(gap)
    book.on_sender = told.append
    admit(book, 1, 4, life=NEW)
    book.tail("a.0", NEW, {"t": 6})
    assert told == ["a.0", ("t", "a.0", 2, 3), ("t", "a.0", 5, 6)]


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), max_size=6))
def test_however_often_a_link_is_lost_each_sequence_is_seen_once_and_in_order(
    sent: int, cuts: list[tuple[int, int]]
) -> None:
    """A sender sends 1 to ``sent``; at each cut it goes back by some and sends those again, in order."""
    wire: list[int] = []
    position = 1
    for at, back in cuts:
        end = min(sent, max(position, at))
        wire += range(position, end + 1)
        position = max(1, end + 1 - back)
    wire += range(position, sent + 1)
    book = ledger()
    assert admit(book, *wire, life=NEW) == list(range(1, sent + 1))
    assert book.missed == 0
    assert book.duplicate == len(wire) - sent


@given(st.lists(st.integers(1, 40), unique=True).map(sorted), st.integers(0, 5))
def test_whatever_is_lost_on_the_way_received_and_missed_add_up_to_what_was_sent(arrived: list[int], more: int) -> None:
    book = ledger()
    assert admit(book, *arrived, life=NEW) == arrived
    sent = (arrived[-1] if arrived else 0) + more
    book.tail("a.0", NEW, {"t": sent})
    assert book.received + book.missed == sent


@given(
    st.lists(st.tuples(st.sampled_from(["m", "t"]), st.integers(1, 3), st.integers(1, 8)), max_size=60), st.booleans()
)
def test_any_history_keeps_order_within_a_life_and_never_goes_back_to_an_older_one(
    history: list[tuple[str, int, int]], is_early: bool
) -> None:
    book = Ledger()
    book.ready = float("inf") if is_early else 0
    seen: list[tuple[int, int]] = []
    for kind, life, sequence in history:
        if kind == "t":
            book.tail("a.0", life, {"t": sequence})
        elif admit(book, sequence, life=life):
            seen.append((life, sequence))
    assert seen == sorted(set(seen))
    assert book.received == len(seen)
    assert book.received + book.duplicate + book.stale == sum(kind == "m" for kind, _, _ in history)


def test_an_incarnation_from_the_future_is_forged_and_silences_nobody() -> None:
    ledger = Ledger()
    ledger.ready, ledger.latest = 1000.0, 2000.0
    assert ledger.admit("t", {"n": "a.0", "e": 1500, "s": 1, "d": 0})
    assert not ledger.admit("t", {"n": "a.0", "e": 2**50, "s": 1, "d": 0})
    assert ledger.admit("t", {"n": "a.0", "e": 1500, "s": 2, "d": 0})
    assert (ledger.received, ledger.stale) == (2, 1)


def test_invented_sequences_make_no_number_that_json_cannot_hold() -> None:
    ledger = Ledger()
    for name in ("x.0", "y.0", "z.0"):
        ledger.admit("t", {"n": name, "e": 1, "s": 0, "d": 0})
        ledger.admit("t", {"n": name, "e": 1, "s": 2**53 - 1, "d": 0})
    assert ledger.missed == 2**53 - 1
