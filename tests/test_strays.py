"""What hived knows of a hive that runs is removed under it: there is never a second hive of one folder beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .hive_kit import SENDER, Hive, hive_in, well
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    with hive_in(tmp_path / "gotham") as made:
        made.node("batman", SENDER)
        made.start()
        eventually(lambda: well(made), within=30)
        yield made


@pytest.mark.parametrize("folder", ["var", "var/run"])
def test_a_hive_whose_files_were_removed_is_not_doubled_and_a_stop_ends_it(hive: Hive, folder: str) -> None:
    supervisord, before = hive.supervisord(), {each.pid for each in hive.processes()}
    (batman,) = hive.copies("batman")
    shutil.rmtree(hive.folder / folder)
    said = (
        f"error: this hive runs already, but {hive.folder / 'var/run'}, which says so, was removed under it: processes "
    )
    for command in ("start", "status"):
        done = hive.run("hived", command)
        assert done.returncode == 1, done.stdout
        assert said in done.stderr
        assert "`hived stop` ends all of it" in done.stderr
        assert {str(supervisord.pid), str(batman.pid)} <= {*done.stderr.replace(",", " ").replace(";", " ").split()}
    assert {each.pid for each in hive.processes()} <= before
    assert [each.pid for each in hive.copies("batman")] == [batman.pid]
    done = hive.run("hived", "stop")
    assert (done.returncode, done.stdout) == (0, "hive gotham has stopped\n")
    assert hive.processes() == []
    hive.start()
    eventually(lambda: well(hive), within=30)
    assert len(hive.copies("batman")) == 1
