"""A hive of many real nodes: `make nodes` runs five times as many."""

from __future__ import annotations

from pathlib import Path

import pytest

from .hive_kit import hive_in
from .many_nodes import AS_USUAL, measure

NODES = 40

pytestmark = [pytest.mark.drill, pytest.mark.alone, pytest.mark.timeout(600)]


def test_many_nodes_are_there_soon_and_cost_little_to_be_watched(tmp_path: Path) -> None:
    with hive_in(tmp_path, more=AS_USUAL) as hive:
        found = measure(hive, NODES, 20.0)
    assert found.started < 60, found
    assert found.cost < NODES / 4, found  # they begin as copies of supervisord: imports of its own took each twice that
    assert found.status < 3, found
    assert found.supervisord + found.hived < 0.02, found
