"""Sentences about one thing and about many."""

from __future__ import annotations

import pytest

from hivemind.english import age, amount, are, duration, listed


def test_one_thing_is_singular_and_all_other_amounts_are_plural() -> None:
    assert [amount(count, "node") for count in (0, 1, 2000)] == ["0 nodes", "1 node", "2,000 nodes"]


def test_of_many_names_three_are_told_and_the_others_counted() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(list("abcdefgh")) == "a, b, c and 5 more"


def test_the_verb_follows_the_number_of_names() -> None:
    assert (are(["a"]), are(["a", "b"])) == ("is", "are")


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7500, "2 h 5 min"), (360000, "4 d 4 h")]
)
def test_durations_are_told_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == age(seconds) == text


def test_the_age_of_what_is_not_there_is_nothing() -> None:
    assert (age(None), age(0.0)) == ("", "0 s")
