"""What has waited long in an outbox is told apart from what is only on its way."""

from __future__ import annotations

from hivemind.node.overdue import Overdue


def test_what_is_there_longer_than_two_seconds_is_overdue() -> None:
    outbox = Overdue()
    assert [outbox.of(waiting, waiting, at) for at, waiting in ((0.0, 3), (1.0, 4), (2.0, 5), (3.0, 6))] == [0, 0, 3, 4]


def test_a_busy_outbox_that_is_never_empty_is_not_overdue() -> None:
    outbox = Overdue()
    assert {outbox.of(500, 1000 * at, float(at)) for at in range(10)} == {0}


def test_looks_in_quick_succession_do_not_make_it_overdue() -> None:
    outbox = Overdue()
    assert {outbox.of(9, 9, at / 100) for at in range(100)} == {0}
