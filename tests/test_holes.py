"""Holes on kept topics: what the ledger takes for one, what fills it, and in which order all of it is handled."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus import ledger as module
from hivemind.bus.filling import Wanted
from hivemind.bus.holes import Hole
from hivemind.bus.ledger import Ledger
from hivemind.bus.receiving import LiveSubscription

pytestmark = pytest.mark.timeout(60)

NOW = 1000.0
Place = tuple[int, int]


def body(sender: str, place: Place) -> bytes:
    return orjson.dumps({"v": 1, "n": sender, "e": place[0], "s": place[1], "t": 1.5, "d": [sender, *place]})


class Reader:
    """A subscription to the kept topic ``x`` whose holes are filled when one says so, from a stream that one writes."""

    def __init__(self, ready: float = 0.0) -> None:
        self.live = LiveSubscription("x")
        self.live.ledger.ready = ready
        self.stream: list[bytes] = []
        self.holes: list[tuple[LiveSubscription, Hole]] = []
        self.live.begin([], [], lambda live, hole: self.holes.append((live, hole)), {"x"}, NOW)

    def send(self, sender: str, place: Place, *, is_heard: bool = True) -> None:
        self.stream.append(body(sender, place))
        if is_heard:
            self.live.receive([[b"message", b"c", self.stream[-1]]], {b"c": "x"})

    def fill(self) -> None:
        holes, self.holes = self.holes, []
        if holes:
            wanted = Wanted(holes)
            for one in reversed(self.stream):
                wanted.offer(one)
        for live, hole in holes:
            live.settle(hole)

    @property
    def handled(self) -> list[tuple[str, Place]]:
        """What is in the inbox, taken."""
        return [(entry[1][0], (entry[1][1], entry[1][2])) for entry in self.live.inbox.entries()]


def test_what_comes_behind_a_hole_waits_for_it_and_what_came_before_does_not() -> None:
    reader = Reader()
    for number in (1, 2, 5, 6):
        reader.send("a.0", (1, number))
    assert [place[1] for _, place in reader.handled] == [1, 2]
    reader.stream += [body("a.0", (1, 3)), body("a.0", (1, 4))]
    reader.stream.sort()
    reader.fill()
    assert [place[1] for _, place in reader.handled] == [3, 4, 5, 6]
    assert (reader.live.ledger.filled, reader.live.ledger.received, reader.live.ledger.missed) == (2, 6, 0)


def test_a_sender_that_was_forgotten_gets_its_gap_filled_and_nothing_twice() -> None:
    reader = Reader()
    for number in (1, 2, 3):
        reader.send("a.0", (1, number))
    reader.live.ledger.forget("a.0")
    reader.send("a.0", (1, 4), is_heard=False)
    reader.send("a.0", (1, 5))
    reader.fill()
    assert [place[1] for _, place in reader.handled] == [1, 2, 3, 4, 5]
    assert reader.live.ledger.filled == 1


def test_when_more_senders_were_forgotten_than_can_be_remembered_nothing_comes_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_PLACES", 3)
    reader = Reader()
    for number in range(10):
        for place in ((1, 1), (1, 2)):
            reader.send(f"{number}.0", place)
        reader.live.ledger.forget(f"{number}.0")
    for number in range(10):
        reader.send(f"{number}.0", (1, 4))
    reader.fill()
    handled = reader.handled
    assert len(handled) == len(set(handled)) == 30


def test_a_sender_that_began_before_us_and_was_never_heard_lost_what_it_kept_since() -> None:
    reader = Reader(ready=NOW)
    reader.send("a.0", (1, 1), is_heard=False)
    reader.send("a.0", (1, 2))
    reader.fill()
    assert [place[1] for _, place in reader.handled] == [1, 2]


def test_what_an_old_sender_had_sent_when_we_began_is_neither_wanted_nor_missed() -> None:
    reader = Reader(ready=NOW)
    reader.live.ledger.begin_after("x", "a.0", (1, 7))
    reader.send("a.0", (1, 9))
    assert [(hole.first, hole.last) for _, hole in reader.holes] == [((1, 8), (1, 8))]
    reader.fill()
    assert (reader.live.ledger.missed, reader.live.ledger.filled) == (1, 0)


def test_of_a_life_that_nobody_heard_the_end_of_nothing_is_missed_but_what_is_there_is_filled_in() -> None:
    reader = Reader()
    reader.send("a.0", (1, 1))
    reader.send("a.0", (1, 2), is_heard=False)
    reader.send("a.0", (2, 1), is_heard=False)
    reader.send("a.0", (3, 2))
    reader.fill()
    assert [place for _, place in reader.handled] == [(1, 1), (1, 2), (2, 1), (3, 2)]
    assert (reader.live.ledger.filled, reader.live.ledger.missed) == (2, 1)


def test_on_topics_that_are_not_kept_a_gap_is_missed_at_once() -> None:
    ledger = Ledger()
    ledger.ready = 0.0
    ledger.keep({"kept"}, NOW)
    for number in (1, 5):
        ledger.admit("x", {"n": "a.0", "e": 1, "s": number, "d": 0})
    assert ledger.missed == 3


history = st.lists(
    st.tuples(st.sampled_from(["a.0", "b.0"]), st.sampled_from(["heard", "lost", "lost", "never", "restart", "fill"])),
    max_size=60,
)


@given(history, st.booleans())
def test_whatever_is_lost_and_whenever_it_is_filled_each_message_is_handled_once_and_in_order(
    history: list[tuple[str, str]], is_forgetful: bool
) -> None:
    """Of each sender that was heard once: messages that come, that only the stream has, that not even it has; new
    lives; and fills.
    """
    reader = Reader()
    at: dict[str, Place] = {"a.0": (1, 0), "b.0": (1, 0)}
    sent: dict[str, list[Any]] = {"a.0": [], "b.0": []}
    never = 0
    both = [("a.0", "heard"), ("b.0", "heard")]
    for sender, what in [*both, *history, *both]:
        life, number = at[sender]
        if what == "fill":
            reader.fill()
            if is_forgetful:
                reader.live.ledger.forget(sender)
        elif what == "restart":  # its first message is heard, so that all of its lives are known
            at[sender] = (life + 1, 1)
            reader.send(sender, at[sender])
            sent[sender].append(at[sender])
        else:
            at[sender] = (life, number + 1)
            if what == "never":
                never += 1
            else:
                reader.send(sender, at[sender], is_heard=what == "heard")
                sent[sender].append(at[sender])
    reader.fill()
    handled = reader.handled
    for sender, places in sent.items():
        assert [place for name, place in handled if name == sender] == places
    ledger = reader.live.ledger
    assert ledger.received == len(handled)
    assert ledger.duplicate == 0
    assert ledger.missed <= never
