"""Two hives that log to one folder are told."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hivemind.log_files import RotatingFile
from hivemind.settings import Settings, load_settings
from hivemind.supervisor.log_folder import claim
from hivemind.whole import private_folder

from .hive_kit import Hive


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "gotham", tmp_path / "home")


def settings_of(folder: Path, home: Path) -> Settings:
    """Those of a hive called gotham that logs where the platform says."""
    Hive(folder, more='LOG_LOCATION = ""')
    return load_settings(folder, {"HOME": str(home)})


def test_a_hive_claims_its_log_folder_without_a_word(settings: Settings) -> None:
    assert [claim(settings), claim(settings)] == ["", ""]


@pytest.mark.skipif(os.name == "nt", reason="files have other rights there")
def test_what_a_hive_logs_is_for_its_owner_unless_they_made_the_folder_themselves(
    settings: Settings, tmp_path: Path
) -> None:
    before = os.umask(0o022)
    try:
        claim(settings)
        ours = RotatingFile(tmp_path / "new" / "log" / "batman.log", 0, 0)
        ours.open()
        ours.close()
        open_to_all = tmp_path / "shared"
        open_to_all.mkdir()
        private_folder(open_to_all)
    finally:
        os.umask(before)
    folder = settings.constants.LOG_LOCATION
    made = [folder, folder.parent, tmp_path / "new", tmp_path / "new" / "log"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700] * 4
    assert stat.S_IMODE(open_to_all.stat().st_mode) == 0o755


def test_a_second_hive_of_the_same_name_is_told_where_the_first_is_and_what_to_set(
    settings: Settings, tmp_path: Path
) -> None:
    claim(settings)
    copy = settings_of(tmp_path / "copy", tmp_path / "home")
    assert f"the hive in {settings.hive} logs to {settings.constants.LOG_LOCATION}, too" in claim(copy)
    assert "set another LOG_LOCATION" in claim(copy)
    assert claim(settings) == ""


def test_a_hive_that_was_moved_keeps_its_log_folder(settings: Settings, tmp_path: Path) -> None:
    claim(settings)
    assert settings.hive is not None
    settings.hive.rename(tmp_path / "moved")
    assert claim(load_settings(tmp_path / "moved", {"HOME": str(tmp_path / "home")})) == ""


@pytest.mark.parametrize("command", [("start",), ("start", "--foreground")], ids=" ".join)
def test_start_warns_of_the_log_folder_of_another_hive(gotham: Hive, tmp_path: Path, command: tuple[str, ...]) -> None:
    other = Hive(tmp_path / "other", more=f"LOG_LOCATION = {str(gotham.folder / 'log')!r}")
    claim(load_settings(other.folder, other.environ))
    gotham.configure('NODES = {"ghost": {}}')  # so that the start goes no further
    done = gotham.run("hived", *command)
    assert done.returncode == 1
    assert f"warning: the hive in {other.folder} logs to" in done.stderr
