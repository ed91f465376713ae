"""The text of ``supervisord.conf``, read back by supervisord itself."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions

from hivemind.errors import ConfigurationError
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.render import command_line, render
from hivemind.supervisor.topology import Program

ReadBack = Callable[[Path, str], dict[str, Any]]

AWKWARD = ["a b", "100%", "%(here)s", "semi ; colon", "hash # tag", "quo'te", 'quo"te', "back\\slash", "", "ümläut"]


def paths(folder: Path) -> HivePaths:
    found = HivePaths(folder, folder / "var", folder / "var")
    found.make()
    return found


def program(*command: str, **more: Any) -> Program:
    values = {"name": "batman.0", "kind": "node", "node": "batman", "priority": 10, "digest": "d1"}
    return Program(command=command, **{**values, **more})


@pytest.fixture
def read_back(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], dict[str, Any]]:
    """What supervisord makes of a configuration when it starts in the hive's var."""
    return partial(_read_back, monkeypatch)


def _read_back(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> dict[str, Any]:
    (folder / "it.conf").write_text(text)
    monkeypatch.chdir(folder / "var")
    options = ServerOptions()
    options.configfile = str(folder / "it.conf")
    options.process_config(do_usage=False)
    return {config.name: config for group in options.process_group_configs for config in group.process_configs}


def test_supervisord_reads_every_argument_as_it_was_meant(tmp_path: Path, read_back: ReadBack) -> None:
    found = read_back(tmp_path, render(paths(tmp_path), [program(*AWKWARD)]))
    command = shlex.split(found["batman.0"].command)
    assert command[command.index("--") + 1 :] == AWKWARD


def test_a_folder_may_have_an_awkward_name(tmp_path: Path, read_back: ReadBack) -> None:
    folder = tmp_path / "50% of my hives"
    found = read_back(folder, render(paths(folder), [program("true")]))
    assert found["batman.0"].directory == str(folder)


@pytest.mark.parametrize("name", ["line\nbreak", "a ; b", "a # b"])
def test_a_path_that_no_ini_file_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="a path of a hive"):
        render(paths(tmp_path / name), [])


def test_an_argument_with_a_line_break_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="line break"):
        command_line(["a\nb"])


def test_secrets_in_the_environment_are_not_in_the_text(tmp_path: Path) -> None:
    text = render(paths(tmp_path), [program("true", env={"TOKEN": "hunter2"})])
    assert "hunter2" not in text
    assert "batman.0.env" in text


def test_there_are_no_groups_and_the_socket_is_private(tmp_path: Path) -> None:
    text = render(paths(tmp_path), [program("true"), program("true", name="batman.1")])
    assert "[group:" not in text
    assert "inet_http_server" not in text
    assert "chmod=0700" in text


def test_the_keeper_kills_a_survivor_one_second_before_supervisord_would_kill_the_keeper(
    tmp_path: Path, read_back: ReadBack
) -> None:
    config = read_back(tmp_path, render(paths(tmp_path), [program("true", stop_timeout=10.0)]))["batman.0"]
    grace = float(shlex.split(config.command)[shlex.split(config.command).index("--grace") + 1])
    assert config.stopwaitsecs - grace == 1


@pytest.mark.parametrize(
    ("restart", "rendered"), [("always", "true"), ("on-failure", "unexpected"), ("never", "false")]
)
def test_when_a_program_starts_again_is_as_tuned(tmp_path: Path, restart: str, rendered: str) -> None:
    assert f"autorestart={rendered}" in render(paths(tmp_path), [program("true", restart=restart)])
