"""How it is noticed that somebody set Redis's clock, with clocks of its own."""

from __future__ import annotations

from hivemind.bus.jumps import Jumps


def test_a_jump_is_told_from_a_slow_answer_and_from_a_clock_that_is_put_right() -> None:
    jumps = Jumps()
    for theirs, asked, answered in (
        (1000.0, 0.0, 0.1),
        (1015.0, 10.0, 14.9),
        (1021.0, 20.0, 20.1),
        (1031.9, 30.0, 30.0),
    ):
        jumps.saw(theirs, asked, answered)
        assert jumps.text == ""
    jumps.saw(4642.0, 40.0, 40.1)
    assert jumps.text == "2841950+3600100"
    jumps.saw(1050.0, 50.0, 50.1)
    assert jumps.text == ""


def test_a_clock_that_was_set_is_noticed_however_slow_the_answers_are() -> None:
    jumps = Jumps()
    said = [(5000.0, 0.0, 0.01), (5002.0, 1.0, 2.5), (5003.5, 2.5, 4.0), (5104.0, 4.0, 4.9), (5003.9, 4.5, 5.4)]
    assert [jumps.saw(*one) for one in said] == [False, False, False, True, True]
    assert jumps.text == ""  # by how much is known once an answer is quick


def test_a_clock_that_runs_a_little_faster_was_not_set() -> None:
    jumps = Jumps()
    assert not any(jumps.saw(5000.0 + 1.001 * now, now, now + 0.001) for now in range(10_000))
    assert jumps.text == ""
