"""What senders and workers write down while something breaks, and what is made of it."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.contest import judged
from benchmarks.errand import ACCEPTED, BEGAN, DONE, HELLO, REFUSED, Errand, Line, read

OVER = 10.0  #: when what broke was over


def lines(what: str, *when: tuple[int, float]) -> list[Line]:
    return [Line(what, number, at, at) for number, at in when]


def test_what_was_taken_and_never_done_is_lost_and_what_was_done_again_doubled() -> None:
    sender = lines(ACCEPTED, (HELLO, 0.5), (1, 1.0), (2, 2.0), (3, 3.0)) + lines(REFUSED, (4, 4.0))
    worker = lines(BEGAN, (2, 5.0)) + lines(DONE, (HELLO, 0.6), (1, 1.1), (1, 1.2), (3, 3.1))
    found = judged("it breaks", "gotham", OVER, sender, worker, 2)
    assert (found.sent, found.refused, found.lost, found.doubled, found.started) == (3, 1, 1, 1, 2)


def test_who_is_back_has_done_what_was_sent_since_and_who_never_is_has_not() -> None:
    sender = lines(ACCEPTED, (1, 9.0), (2, 9.5), (3, 11.0), (4, 12.0))
    worker = lines(DONE, (1, 9.1), (3, 13.0), (2, 14.0), (4, 15.0))
    found = judged("it breaks", "gotham", OVER, sender, worker, 0)
    assert (found.back, found.settled) == (3.0, 4.0)
    assert judged("it breaks", "gotham", OVER, sender, worker[:1], 0).back is None


def test_a_sender_says_hello_until_it_begins_then_sends_what_is_due_and_goes_on_where_it_was(tmp_path: Path) -> None:
    errand = Errand(tmp_path, "sender")
    assert list(errand.due()) == [HELLO]
    (tmp_path / "start").write_text(str(time.monotonic() - 0.1))
    sent = list(errand.due())
    assert sent == list(range(1, len(sent) + 1))
    assert len(sent) >= 10
    errand.note(ACCEPTED, sent[-1], 0.0)
    (tmp_path / "start").write_text(str(time.monotonic() - 10.0))
    assert next(Errand(tmp_path, "sender").due()) == sent[-1] + 1
    (tmp_path / "over").touch()
    assert list(errand.due()) == []


def test_of_a_diary_whole_lines_are_read(tmp_path: Path) -> None:
    errand = Errand(tmp_path, "worker")
    errand.note(BEGAN, 7)
    with errand.path.open("a") as file:
        file.write("done 7 1.0")
    assert [(line.what, line.number) for line in read(errand.path)] == [(BEGAN, 7)]
