"""Releases: what is kept of a hive's files, and going back to it."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from hivemind.settings import load_settings
from hivemind.supervisor.archive import PROVEN, Proof
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.releases import KEPT, MOST_BYTES, Release, draft, last_good, promote, releases, restore

from .hive_kit import Hive
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def paths(tmp_path: Path) -> HivePaths:
    made = Hive(tmp_path / "gotham")
    made.node("batman")
    made.write("nodes/batman/state.json", "1")
    made.write("tests/test_batman.py", "")
    found = HivePaths.of(load_settings(made.folder, {}))
    found.make()
    return found


def released(paths: HivePaths) -> Release:
    draft(paths)
    made = promote(paths)
    assert made is not None
    return made


def test_a_release_holds_the_python_files_of_nodes_for_the_owner_only(paths: HivePaths) -> None:
    made = released(paths)
    held = {str(each.relative_to(made.files)) for each in made.files.rglob("*") if each.is_file()}
    assert held == {"config/hive.py", "nodes/__init__.py", "nodes/batman/batman.py"}
    assert stat.S_IMODE(paths.releases.stat().st_mode) == 0o700


def test_what_has_grown_too_large_for_a_release_is_kept_when_it_is_replaced(paths: HivePaths) -> None:
    made, batman = released(paths), paths.hive / "nodes/batman/batman.py"
    batman.write_text("#" * (MOST_BYTES + 1))
    assert restore(paths, made)[0] == ["nodes/batman/batman.py"]
    (undone,) = paths.releases.glob("undone-*")
    assert (undone / "files/nodes/batman/batman.py").stat().st_size > MOST_BYTES


def test_going_back_changes_what_differs_and_keeps_what_it_takes_away(paths: HivePaths) -> None:
    made, batman = released(paths), paths.hive / "nodes/batman/batman.py"
    sound = batman.read_text()
    batman.write_text("def (")
    (paths.hive / "nodes/joker.py").write_text("bad = 1\n")
    (paths.hive / "nodes/batman/state.json").write_text("2")
    assert restore(paths, made)[0] == ["nodes/batman/batman.py", "nodes/joker.py"]
    assert (batman.read_text(), (paths.hive / "nodes/joker.py").exists()) == (sound, False)
    assert (paths.hive / "nodes/batman/state.json").read_text() == "2"
    (undone,) = paths.releases.glob("undone-*")
    assert (undone / "files/nodes/batman/batman.py").read_text() == "def ("
    assert (undone / "files/nodes/joker.py").read_text() == "bad = 1\n"


def test_each_time_one_goes_back_further(paths: HivePaths) -> None:
    batman = paths.hive / "nodes/batman/batman.py"
    made = []
    for text in ("a = 1\n", "b = 1\n", "c = 1\n"):
        batman.write_text(text)
        made.append(released(paths))
    seen = []
    while (found := last_good(paths)) is not None:
        restore(paths, found)
        seen.append((found.number, batman.read_text()))
    assert seen == [(2, "b = 1\n"), (1, "a = 1\n")]
    assert [each.number for each in releases(paths)] == [1]


def test_the_same_files_are_no_further_release_and_only_the_newest_are_kept(paths: HivePaths) -> None:
    released(paths)
    draft(paths)
    assert promote(paths) is None
    for number in range(KEPT + 2):
        (paths.hive / "nodes/batman/batman.py").write_text(f"a = {number}\n")
        released(paths)
    assert [each.number for each in releases(paths)] == list(range(4, KEPT + 4))


def test_a_link_stays_a_link(paths: HivePaths, tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("a = 1\n")
    link = paths.hive / "nodes/shared.py"
    link.symlink_to(tmp_path / "shared.py")
    made = released(paths)
    link.unlink()
    link.write_text("a = 2\n")
    assert restore(paths, made)[0] == ["nodes/shared.py"]
    assert (link.is_symlink(), (tmp_path / "shared.py").read_text()) == (True, "a = 1\n")


def test_what_is_no_whole_release_is_none(paths: HivePaths) -> None:
    released(paths)
    (paths.releases / "2-half").mkdir()
    (paths.releases / "3-spoilt").mkdir()
    (paths.releases / "3-spoilt/release.json").write_text("[]")
    assert [each.number for each in releases(paths)] == [1]


def test_it_is_proven_when_all_were_well_in_one_life_for_long_enough() -> None:
    proof, first, second = Proof(), {"batman.0": (7, 1.0)}, {"batman.0": (8, 2.0)}
    assert not proof.look(0.0, first)
    assert not proof.look(PROVEN - 1, second)
    assert not proof.look(PROVEN, second)
    assert not proof.look(PROVEN + 5, None)
    assert not proof.look(PROVEN + 6, second)
    assert proof.look(2 * PROVEN + 6, second)


def test_a_rollback_returns_to_the_files_with_which_all_was_well(running: Hive) -> None:
    paths, file = running.engine.paths, running.folder / "nodes/batman/batman.py"
    eventually(lambda: releases(paths), within=60)
    before, sound = running.pids(), file.read_text()
    nothing = running.run("hived", "rollback")
    said = r"error: there is nothing to go back to: the files are those of release 1 of [-\d]+ [\d:]+, "
    said += r"and no other is left\n"
    assert nothing.returncode == 1
    assert re.fullmatch(rf"{said}`hived reload` applies the files as they are\n", nothing.stderr)
    file.write_text(sound + "    def on_start(self):\n        raise RuntimeError('no cape')\n")
    assert "no cape" in running.run("hm", "restart", "batman").stdout
    running.configure("LEASE = -1")
    done = running.run("hived", "rollback")
    assert done.returncode == 0, done.stderr
    assert re.search(r"files of release 1 of [-\d]+ [\d:]+: config/hive\.py, nodes/batman/batman\.py\n", done.stdout)
    assert "to go forward copy from there what you need, mended; `hived reload` applies" in done.stderr
    (undone,) = re.findall(r"the files as they were until now are in (\S+)", done.stderr)
    assert "no cape" in (Path(undone) / "nodes/batman/batman.py").read_text()
    assert re.search(r"batman\.0: (rolled: |restarted)", done.stdout)  # the second if it had just ended once more
    assert file.read_text() == sound
    assert {name for name, pid in running.pids().items() if pid != before[name]} == {"batman.0"}
    again = running.run("hived", "rollback")
    assert again.returncode == 1
    forward = f"what the last rollback took away is in {undone}: to go forward copy from there what you need\n"
    assert re.fullmatch(rf"{said}{re.escape(forward)}`hived reload` applies the files as they are\n", again.stderr)
