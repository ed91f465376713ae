"""The disk of the whole hive is full: whoever dies comes back, nothing that it knows is spoilt, and it heals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hivemind.supervisor.files import write_all, write_json
from hivemind.whole import put

from .disk_kit import Disk, small_disk
from .hive_kit import SENDER, hive_in, kill, well
from .test_full_log_disk import kill_and_wait
from .waiting import eventually

pytestmark = [pytest.mark.root_only, pytest.mark.timeout(150)]

MASK = 'NODES = {{"robin": {{"env": {{"MASK": "{}"}}}}}}'
SIZE = 4096  #: bytes: of what such a disk gives at once


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small one, where the hive ``gotham`` will be."""
    with small_disk(tmp_path / "gotham", "12m") as found:
        yield found


@pytest.mark.drill
def test_who_dies_comes_back_what_cannot_be_done_changes_nothing_and_it_heals(disk: Disk) -> None:
    with hive_in(disk.folder, more=MASK.format("black")) as hive:
        hive.node("batman", SENDER)
        hive.node("robin", SENDER)
        hive.start()
        eventually(lambda: well(hive), within=30)
        eventually(lambda: "release 1" in hive.log("hived"), within=40)
        before, supervisord = hive.pids(), hive.supervisord()
        disk.fill()
        kill(supervisord, signal.SIGKILL)
        eventually(lambda: hive.engine.supervisord() not in (None, supervisord), within=30)
        eventually(lambda: set(hive.states().values()) == {"running"}, within=30)
        assert hive.pids() == before
        disk.clear()
        hive.configure(MASK.format("blue"))
        disk.fill()
        for command in (("hived", "reload"), ("hm", "restart", "robin")):
            done = hive.run(*command)
            assert (done.returncode, "No space left on device" in done.stderr + done.stdout) == (1, True)
        eventually(lambda: hive.program("robin.0").state == "running", within=20)
        kill_and_wait(hive, "robin.0")
        assert hive.copies("robin")[0].environ()["MASK"] == "black"
        assert hive.pids()["batman.0"] == before["batman.0"]
        disk.clear()
        assert hive.run("hived", "reload").returncode == 0
        eventually(lambda: well(hive), within=30)
        assert hive.copies("robin")[0].environ()["MASK"] == "blue"
        assert hive.run("hived", "stop").returncode == 0


def test_what_is_longer_than_there_is_room_for_leaves_what_was_there(disk: Disk) -> None:
    path = disk.folder / "state.json"
    put(path, b"old" * 100)
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        put(path, b"n" * 3 * SIZE)
    assert path.read_bytes() == b"old" * 100
    put(path, b"new" * 50)
    assert path.read_bytes() == b"new" * 50


def test_of_several_files_all_are_written_or_none_and_none_is_touched_that_says_the_same(disk: Disk) -> None:
    one, two = disk.folder / "one.env", disk.folder / "two.json"
    write_all({one: b"1", two: b"2"})
    write_json(disk.folder / "three.json", {"a": 1})
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        write_all({one: b"", two: b"2" * SIZE})
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")
    write_all({one: b"1", two: b"2"})
    write_json(disk.folder / "three.json", {"a": 1})
    assert sorted(each.name for each in disk.folder.iterdir()) == ["filler", "one.env", "three.json", "two.json"]
