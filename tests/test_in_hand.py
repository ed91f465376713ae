"""The requests that a responder has in hand: how many there are, whatever becomes of them."""

from __future__ import annotations

from typing import cast

from hivemind.bus.call import Call
from hivemind.node.in_hand import InHand


class Asked:
    """A request, as far as it is counted."""

    def __init__(self, hand: InHand, deadline: float = 10.0) -> None:
        self.hand, self.deadline = hand, deadline
        self.is_over = self.is_stream = False

    def drop(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.hand.withdraw(cast("Call", self))


def waiting(hand: InHand, *deadlines: float) -> list[Call]:
    calls = [cast("Call", Asked(hand, deadline)) for deadline in deadlines]
    for call in calls:
        hand.wait(call, None)
    return calls


def test_one_that_is_withdrawn_twice_or_was_never_there_counts_once_or_never() -> None:
    hand = InHand()
    first, _ = waiting(hand, 10.0, 10.0)
    assert hand.withdraw(first)
    assert not hand.withdraw(first)
    assert not hand.withdraw(cast("Call", Asked(hand)))
    assert len(hand) == 1


def test_what_is_late_or_unwanted_is_never_begun() -> None:
    hand = InHand()
    late, unwanted, sound = waiting(hand, 1.0, 10.0, 10.0)
    hand.withdraw(unwanted)
    assert hand.next(2.0) == (sound, None)
    assert late.is_over
    assert (hand.next(2.0), len(hand)) == (None, 1)


def test_what_is_late_leaves_all_at_once() -> None:
    hand = InHand()
    waiting(hand, 1.0, 1.0, 1.0, 10.0)
    hand.drop_late(2.0)
    assert len(hand) == 1
