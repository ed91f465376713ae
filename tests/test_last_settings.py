"""The settings with which a hive was last started, for when its own cannot be read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hivemind.last_settings import last_settings, save_settings
from hivemind.settings import Settings, load_settings
from hivemind.supervisor.files import read_json, write_json
from hivemind.supervisor.paths import HivePaths

from .hive_kit import Hive

MORE = """
REDIS_URL = "redis://:s3cret@cave:6379"
NODES = {"batman": {"replicas": 2, "env": {"TOKEN": "hunter2"}}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load_settings(Hive(tmp_path, more=MORE).folder, {})
    HivePaths.of(found).make()
    return found


def test_they_are_as_they_were_saved(settings: Settings, tmp_path: Path) -> None:
    save_settings(settings)
    last = last_settings(tmp_path)
    assert last is not None
    assert (last.name, last.redis_url, last.var) == (settings.name, settings.redis_url, settings.var)
    assert last.constants.LOG_LOCATION == settings.constants.LOG_LOCATION
    assert last.constants.NODES["batman"].replicas == 2
    assert last.sources == settings.sources


def test_they_are_for_their_owner_only_and_without_the_environment_of_nodes(settings: Settings) -> None:
    paths = HivePaths.of(settings)
    save_settings(settings)
    assert stat.S_IMODE(paths.settings.stat().st_mode) == 0o600
    assert "hunter2" not in paths.settings.read_text()


@pytest.mark.parametrize(
    "spoilt", ["", "[]", '{"values": 3, "sources": {}}', '{"values": {"LEASE": -1}, "sources": {}}']
)
def test_a_spoilt_file_is_as_none(settings: Settings, tmp_path: Path, spoilt: str) -> None:
    HivePaths.of(settings).settings.write_text(spoilt)
    assert last_settings(tmp_path) is None


def test_what_another_version_has_added_is_left_out(settings: Settings, tmp_path: Path) -> None:
    paths = HivePaths.of(settings)
    save_settings(settings)
    saved = read_json(paths.settings)
    saved["values"]["NODES"]["batman"]["of_later"] = 1
    write_json(paths.settings, saved | {"values": saved["values"] | {"OF_LATER": 1}})
    last = last_settings(tmp_path)
    assert last is not None
    assert last.constants.NODES["batman"].replicas == 2
