"""Many instances on one Redis, each with a connection of its own: `make crowd` runs ten times as many."""

from __future__ import annotations

import pytest

from .crowd import crowd

INSTANCES = 1000

pytestmark = [pytest.mark.drill, pytest.mark.alone, pytest.mark.timeout(300)]


def test_a_crowd_registers_at_once_beats_for_little_and_comes_back_when_redis_was_killed() -> None:
    with crowd(INSTANCES) as made:
        found = made.measure(10.0)
    assert found.alive < 10, found
    assert found.beats > 0.8 * INSTANCES / 2, found  # they are told of a few times a second
    assert found.redis < 0.1, found  # the fewer there are, the less is done at once
    assert found.back < 30, found
    assert found.connects < 2 * INSTANCES, found  # each was let in in vain but once or so, while Redis read its data
