"""States as data: the tables are whole, and ``advance`` obeys them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from hivemind.states import (
    DELIVERY,
    DRILL,
    LINK,
    MOVE,
    NODE,
    REPLIES,
    ROLL,
    SERVICE,
    DeliveryState,
    DrillStage,
    LinkState,
    MoveStage,
    NodeState,
    RepliesState,
    RollStage,
    ServiceState,
    advance,
)

Table = Mapping[Any, frozenset[Any]]

TABLES = pytest.mark.parametrize(
    ("states", "table", "ends"),
    [
        (NodeState, NODE, {NodeState.STOPPED}),
        (ServiceState, SERVICE, {ServiceState.STOPPED}),
        (LinkState, LINK, {LinkState.CLOSED}),
        (DeliveryState, DELIVERY, {DeliveryState.ACKNOWLEDGED, DeliveryState.DEAD, DeliveryState.TAKEN}),
        (RepliesState, REPLIES, {RepliesState.WHOLE, RepliesState.FAILED}),
        (DrillStage, DRILL, {DrillStage.DRAINED, DrillStage.REFUSED, DrillStage.FAILED}),
        (MoveStage, MOVE, {MoveStage.GONE, MoveStage.BACK, MoveStage.UNKNOWN}),
        (RollStage, ROLL, {RollStage.DONE, RollStage.REFUSED, RollStage.RETURNED, RollStage.FAILED}),
    ],
)


@TABLES
def test_every_state_has_a_row_and_is_reached_from_the_first(
    states: type[StrEnum], table: Table, ends: set[Any]
) -> None:
    assert set(table) == set(states)
    assert reachable(table, next(iter(states))) == set(states)


@TABLES
def test_every_state_leads_to_an_end(states: type[StrEnum], table: Table, ends: set[Any]) -> None:
    assert {state for state in states if not table[state]} == ends
    assert all(reachable(table, state) & ends for state in states)


@TABLES
def test_advance_allows_what_the_table_says_and_nothing_else(
    states: type[StrEnum], table: Table, ends: set[Any]
) -> None:
    for now in states:
        for to in states:
            if to in table[now] or to is now:
                assert advance(table, now, to) is to
            else:
                with pytest.raises(ValueError, match=f"{states.__name__}: {now} cannot become {to}"):
                    advance(table, now, to)


def reachable(table: Table, first: Any) -> set[Any]:
    found, open_ = {first}, [first]
    while open_:
        new = table[open_.pop()] - found
        found |= new
        open_ += new
    return found
