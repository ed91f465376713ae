"""What cannot be meant is told in words where it is declared, and never as an error of Python's own."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind import DeclarationError, HivemindError, Node, connect, responder, service, subscription
from hivemind.testing import HiveTest


@pytest.mark.parametrize("every", ["5", 0, -1, float("nan"), True, (1,)])
def test_a_period_is_a_number_of_seconds(every: Any) -> None:
    with pytest.raises(DeclarationError, match=r"service 'tick': every=.* has to be a number, more than 0 seconds"):
        service("tick", every=every)


@pytest.mark.parametrize("backoff", [5, "12", (60, 0.5), (0, 1), (1,), (1, 2, 3), ("a", "b"), None])
def test_a_back_off_is_the_shortest_and_the_longest_wait(backoff: Any) -> None:
    with pytest.raises(DeclarationError, match=r"backoff=.*: write the shortest wait first"):
        subscription("order", durable=True, backoff=backoff)


@pytest.mark.parametrize(("word", "value"), [("retries", "3"), ("retries", -1), ("timeout", "3"), ("timeout", 0)])
def test_other_numbers_of_a_subscription_are_numbers(word: str, value: Any) -> None:
    with pytest.raises(DeclarationError, match=f"subscription 'order': {word}={value!r}: use "):
        subscription("order", durable=True, **{word: value})


@pytest.mark.parametrize("decorator", [service, subscription, responder], ids=lambda one: one.__name__)
def test_a_decorator_without_a_name_says_how_it_is_written(decorator: Any) -> None:
    def handle(payload: object) -> None: ...

    with pytest.raises(DeclarationError, match=f'handle: write @{decorator.__name__}."topic".'):
        decorator(handle)


@pytest.mark.parametrize("seconds", [-1, "x", None, float("nan")])
def test_a_time_is_a_number_of_seconds_from_0(hive: HiveTest, seconds: Any) -> None:
    with pytest.raises(ValueError, match=r"advance.*: use a number of seconds, 0 or more"):
        hive.advance(seconds)
    with connect(f"{hive.settings.redis_url}") as client, pytest.raises(ValueError, match=r"flush.*: use a number"):
        client.flush(seconds)


def test_a_test_hive_says_what_it_wants_to_be_given(hive: HiveTest) -> None:
    there: Any = hive
    for wrong in ("packer", object, 5):
        with pytest.raises(HivemindError, match=r"start.*: give it a class that derives from Node"):
            there.start(wrong)
    with pytest.raises(HivemindError, match=r"redeliver.*: give it a message"):
        there.redeliver("x")
    assert hive.start(Node("idle")).instance == "idle.0"


@pytest.mark.parametrize(
    ("declare", "word", "meant"),
    [(subscription, "retrys", "retries"), (service, "evry", "every"), (responder, "worker", "workers")],
)
def test_a_mistyped_word_is_answered_with_the_one_that_was_meant(declare: Any, word: str, meant: str) -> None:
    with pytest.raises(DeclarationError, match=rf"{declare.__name__}\('x', {word}=3\).*, did you mean {meant}=\?"):
        declare("x", **{word: 3})


def test_a_word_that_add_subscription_does_not_know_is_answered_so_too() -> None:
    words: Any = {"durabel": True}
    with pytest.raises(DeclarationError, match=r"there is no durabel=, did you mean durable=\?"):
        Node("shop").add_subscription("x", print, **words)
