"""The acceptance test, short, and the books that it keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from .accept import Acceptance
from .accept_books import Heard, Life, in_itself, life_from, unheard_before, with_senders

LEDGER = dict.fromkeys(("received", "handled", "failed", "invalid", "dropped", "inbox", "missed", "duplicate"), 0)
GAUGES = Life("gauges.0", 1_000, True, {"host.cpu": 100}, (), "", {})


def usual(first: int = 1, last: int = 100, count: int = 100, *, final: bool = True, **ledger: int) -> Life:
    """A life of ``usual`` that began after GAUGES and heard it."""
    heard = (Heard("gauges.0", 1_000, "host.cpu", count, first, last, 0),)
    settled = {"received": count, "handled": count if final else count - 1}
    return Life("usual.0", 2_000, final, {}, heard, "host.*", LEDGER | settled | ledger)


def test_a_life_whose_handlers_counted_what_the_ledger_says_is_in_order() -> None:
    assert in_itself(usual()).ok
    assert in_itself(usual(final=False)).ok
    assert in_itself(usual(count=90, received=100, invalid=7, dropped=3)).ok


@pytest.mark.parametrize("wrong", [{"received": 101}, {"handled": 99}, {"dropped": 1}, {"inbox": 1}])
def test_a_ledger_that_says_otherwise_is_found(wrong: dict[str, int]) -> None:
    life = usual()
    assert not in_itself(replace(life, ledger={**life.ledger, **wrong})).ok


def test_a_message_out_of_order_is_found() -> None:
    life = usual()
    assert not in_itself(replace(life, heard=(replace(life.heard[0], disordered=1),))).ok


def test_everything_sent_was_received_or_missed() -> None:
    assert with_senders(usual(), [GAUGES]).ok
    assert with_senders(usual(last=90, count=80, missed=20), [GAUGES]).ok
    assert with_senders(usual(first=11, count=90), [GAUGES]).ok


@pytest.mark.parametrize("missed", [19, 21])
def test_a_loss_that_was_counted_wrongly_is_found(missed: int) -> None:
    assert not with_senders(usual(last=90, count=80, missed=missed), [GAUGES]).ok


def test_the_last_words_of_a_killed_sender_may_have_been_lost_unknown() -> None:
    killed = replace(GAUGES, final=False)
    assert with_senders(usual(last=98, count=98), [killed]).ok
    assert with_senders(usual(last=98, count=98, missed=2), [killed]).ok
    assert not with_senders(usual(last=98, count=98, missed=3), [killed]).ok
    assert not with_senders(usual(last=98, count=97), [killed]).ok


def test_of_a_sender_that_came_later_the_first_words_count() -> None:
    heard = Heard("gauges.0", 9_000, "host.cpu", 5, 3, 7, 0)
    assert unheard_before(usual(), heard) == (0, 0)
    assert unheard_before(usual(), replace(heard, incarnation=2_500)) == (0, 2)
    assert unheard_before(usual(), replace(heard, incarnation=1_500)) == (2, 2)


def test_what_a_later_sender_sent_and_nobody_heard_was_missed() -> None:
    silent = replace(GAUGES, incarnation=9_000, sent={"host.disk": 4, "alert.disk": 1})
    assert with_senders(usual(missed=4), [GAUGES, silent]).ok
    assert not with_senders(usual(missed=3), [GAUGES, silent]).ok
    assert with_senders(usual(missed=3), [GAUGES, replace(silent, final=False)]).ok


def test_a_life_is_read_as_its_node_wrote_it() -> None:
    subscription = LEDGER | {"pattern": "host.*", "received": 3, "handled": 3}
    raw = {
        "instance": "usual.0",
        "incarnation": 5,
        "final": True,
        "sent": {"usual.cpu": 3},
        "heard": {"gauges.0/4/host.cpu": [3, 1, 3, 0]},
        "subscriptions": [subscription],
    }
    life = life_from(raw)
    assert life.heard == (Heard("gauges.0", 4, "host.cpu", 3, 1, 3, 0),)
    assert (life.received, life.ledger["received"]) == (3, 3)


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_watchtower_outlives_the_death_of_each_of_its_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        assert Acceptance(tmp_path, minutes=2).run()
