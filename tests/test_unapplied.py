"""Settings that were saved and not applied: the commands show and steer the hive that runs, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from .hive_kit import hive_in, well
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "more", "what"),
    [("patisserie", "", "HIVE_NAME"), ("gotham", 'REDIS_URL = "redis://127.0.0.1:1"', "REDIS_URL")],
    ids=["name", "redis"],
)
def test_a_name_or_a_redis_that_is_not_applied_hides_the_hive_from_nobody(
    tmp_path: Path, name: str, more: str, what: str
) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        hive.node("robin")
        hive.start()
        eventually(lambda: well(hive), within=15)
        saved = hive.folder / "config" / "hive.py"
        before = saved.read_text()
        saved.write_text(before.replace("gotham", name) + more)
        try:
            told = hive.run("hm", "status")
            assert (told.returncode, told.stdout.startswith("gotham is well")) == (0, True), told
            assert f"{what} (config/hive.py:" in told.stderr
            assert "is not applied" in told.stderr
            assert "robin.0" in hive.run("hm", "nodes").stdout
            assert hive.run("hived", "status").returncode == 0
            assert "restarted" in hive.run("hm", "restart", "robin").stdout
        finally:
            saved.write_text(before)


def test_what_is_asked_for_in_a_shell_holds_there(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        hive.start()
        hive.environ["HIVEMIND_REDIS_URL"] = "redis://127.0.0.1:1"
        try:
            told = hive.run("hm", "status")
        finally:
            del hive.environ["HIVEMIND_REDIS_URL"]
        assert (told.returncode, "not applied" in told.stderr) == (1, False)
        assert "redis://127.0.0.1:1" in told.stderr
