"""The soak, short, and the books that it keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .soak import Soak
from .soak_books import Books, Finding, Redis, Trouble

SALE = ("sale.north", 1)


def line(what: str, at: float, tries: int = 1, number: int = 1) -> dict[str, Any]:
    return {"what": what, "at": at, "topic": "sale.north", "n": number, "try": tries}


def diary(folder: Path, name: str, *lines: dict[str, Any]) -> None:
    began = (
        {"what": "began", "group": name.partition(".")[0], "at": 0.0} if name.startswith("shop") else {"what": "began"}
    )
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (began, *lines)))


def books(folder: Path, *troubles: Trouble, letters: int = 0, left: int = 0, there: int = 1) -> dict[str, Finding]:
    """What is found, by the last word of what was checked, where one message was sent and told to be safe."""
    diary(folder, "north.0.7", *({"what": what, "first": 1, "last": 1, "at": 1.0} for what in ("sends", "safe")))
    dead = {"shop": {SALE: letters} if letters else {}}
    redis = Redis({SALE: there} if there else {}, dead, {"shop": left}, {"shop.0.1": (1, 0)})
    return {one.what.rpartition(" ")[2]: one for one in Books(folder, troubles, redis, retries=1).findings()}


def test_what_was_handled_once_is_in_order(tmp_path: Path) -> None:
    diary(tmp_path, "shop.0.1", line("begins", 2.0), line("ends", 2.1))
    assert all(one.ok for one in books(tmp_path).values())


def test_what_nobody_handled_is_lost(tmp_path: Path) -> None:
    diary(tmp_path, "shop.0.1")
    assert not books(tmp_path)["lost"].ok


def test_what_was_safe_and_is_not_in_the_stream_is_found_and_so_is_what_is_there_twice(tmp_path: Path) -> None:
    diary(tmp_path, "shop.0.1", line("begins", 2.0), line("ends", 2.1))
    assert not books(tmp_path, there=0)["once"].ok
    assert not books(tmp_path, there=2)["once"].ok


def test_twice_is_right_only_where_the_first_reader_met_its_end_just_then(tmp_path: Path) -> None:
    diary(tmp_path, "shop.0.1", line("begins", 2.0), line("ends", 2.1))
    diary(tmp_path, "shop.1.2", line("begins", 9.0), line("ends", 9.1))
    assert not books(tmp_path)["death"].ok
    assert books(tmp_path, Trouble("kill reader", "shop.0", 2.2, 2.3, is_deadly=True))["death"].ok
    assert not books(tmp_path, Trouble("kill reader", "shop.0", 7.0, 7.1, is_deadly=True))["death"].ok
    assert not books(tmp_path, Trouble("kill reader", "shop.1", 2.2, 2.3, is_deadly=True))["death"].ok
    away = Trouble("kill redis", "", 2.2, 6.0)
    assert books(tmp_path, away, Trouble("kill reader", "shop.0", 7.0, 7.1, is_deadly=True))["death"].ok


def test_dead_is_right_only_after_all_tries(tmp_path: Path) -> None:
    diary(tmp_path, "shop.0.1", line("begins", 2.0), line("fails", 2.1))
    assert not books(tmp_path, letters=1)["be"].ok
    diary(tmp_path, "shop.0.1", *(line(what, 2.0, tries) for tries in (1, 2) for what in ("begins", "fails")))
    assert books(tmp_path, letters=1)["be"].ok
    diary(tmp_path, "shop.0.1", *(line(what, 2.0, tries) for tries in (1, 2, 3) for what in ("begins", "fails")))
    assert not books(tmp_path, letters=1)["be"].ok


def test_what_the_registry_has_is_held_against_the_diary(tmp_path: Path) -> None:
    diary(tmp_path, "shop.0.1", line("begins", 2.0), line("fails", 2.1))
    assert not books(tmp_path)["failed"].ok


def test_what_a_dead_reader_held_has_to_be_with_another_soon(tmp_path: Path) -> None:
    diary(tmp_path, "shop.0.1", line("begins", 2.0))
    death = Trouble("kill reader", "shop.0", 3.0, 3.1, is_deadly=True)
    diary(tmp_path, "shop.1.2", line("begins", 10.0), line("ends", 10.1))
    assert books(tmp_path, death)["another"].ok
    diary(tmp_path, "shop.1.2", line("begins", 14.0), line("ends", 14.1))
    assert not books(tmp_path, death)["another"].ok
    assert books(tmp_path, death, Trouble("kill redis", "", 4.0, 5.0))["another"].ok


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_durable_delivery_under_fire_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        assert Soak(tmp_path, minutes=2, seed=4).run()
