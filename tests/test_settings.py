"""Settings: what wins, what is refused, and that every message says where to look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hivemind.errors import ConfigurationError, HiveNotFound, SettingsError
from hivemind.settings import HIVE_FILE, Constants, Settings, find_hive, load_settings, logged_in, redact
from hivemind.whereabouts import Moved, prepare, take_effect


def make_hive(folder: Path, source: str = "") -> Path:
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "hive.py").write_text(source, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "gotham"


def refused(folder: Path, source: str, **environ: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_settings(make_hive(folder, source), environ)
    return caught.value


def test_outside_a_hive_everything_has_its_default() -> None:
    settings = load_settings(None, {"HOME": "/home/jdoe"})
    assert (settings.name, settings.hive, settings.redis_url) == ("default", None, "")
    assert set(settings.sources.values()) == {"default"}
    assert settings.constants.HIVE_DEFAULT_PORT == 9476


def test_each_source_wins_over_the_one_before_and_is_named(folder: Path, tmp_path: Path) -> None:
    hive = make_hive(folder, 'HIVE_NAME = "gotham"\nHEARTBEAT = 1\nLEASE = 4\nSTOP_TIMEOUT = 3\n')
    over = tmp_path / "over.py"
    over.write_text("LEASE = 5\nSTOP_TIMEOUT = 4\n")
    secret = tmp_path / "secret"
    secret.write_text("redis://u:p@host\n")
    environ = {
        "HIVE_SETTINGS": str(over),
        "HIVEMIND_STOP_TIMEOUT": "5.5",
        "HIVEMIND_REDIS_URL": "redis://loses",
        "HIVEMIND_REDIS_URL_FILE": str(secret),
    }
    settings = load_settings(hive, environ)
    found = {name: (getattr(settings.constants, name), source) for name, source in settings.sources.items()}
    assert found["HEARTBEAT"] == (1.0, "config/hive.py:2")
    assert found["LEASE"] == (5.0, "HIVE_SETTINGS:1")
    assert found["STOP_TIMEOUT"] == (5.5, "environment HIVEMIND_STOP_TIMEOUT")
    assert found["REDIS_URL"] == ("redis://u:p@host", "environment HIVEMIND_REDIS_URL_FILE")
    assert found["LOG_LEVEL"] == ("INFO", "default")


def test_a_second_file_can_change_what_the_first_one_made(folder: Path, tmp_path: Path) -> None:
    hive = make_hive(folder, 'NODES = {"batman": {"replicas": 2}}\n')
    over = tmp_path / "over.py"
    over.write_text('NODES["robin"] = {"tags": ["hero"]}\nNODES.update(alfred={})\n')
    settings = load_settings(hive, {"HIVE_SETTINGS": str(over)})
    assert sorted(settings.constants.NODES) == ["alfred", "batman", "robin"]
    assert settings.constants.NODES["batman"].replicas == 2
    assert settings.sources["NODES"] == "HIVE_SETTINGS:2"


def test_lists_and_dicts_in_the_environment_are_json(folder: Path) -> None:
    hive = make_hive(folder)
    settings = load_settings(
        hive, {"HIVEMIND_NODES": '{"batman": {"env": {"A": "1"}}}', "HIVEMIND_STATIC_DIRS": '["s"]'}
    )
    assert settings.constants.NODES["batman"].env == {"A": "1"}
    assert [hive / "s"] == settings.constants.STATIC_DIRS


@pytest.mark.parametrize(
    ("source", "what", "line", "says"),
    [
        ("HIVE_DEFAULT_PORT = 70000", "HIVE_DEFAULT_PORT", 1, "at least 0 and at most 65535"),
        ("\nHIVE_DEFAULT_PORT = 'web'", "HIVE_DEFAULT_PORT", 2, "a whole number"),
        ("HEARTBEAT = 0", "HEARTBEAT", 1, "greater than 0"),
        ("LEASE = float('nan')", "LEASE", 1, "finite"),
        ("HEARTBEAT = 2\nLEASE = 3", "LEASE", 2, "at least twice HEARTBEAT, 4"),
        ("\n\nHEARTBEAT = 5", "LEASE", 3, "at least twice HEARTBEAT, 10"),
        ("LOG_LEVEL = 'loud'", "LOG_LEVEL", 1, "'DEBUG', 'INFO'"),
        ("HIVE_NAME = 'my hive'", "HIVE_NAME", 1, "start with a letter"),
        ("HIVE_CONTROLLER = 'root'", "HIVE_CONTROLLER", 1, "package.module:Class"),
        ("REDIS_URL = 'http://x'", "REDIS_URL", 1, "redis+sentinel://"),
        ("LOG_LEVL = 'INFO'", "LOG_LEVL", 1, "did you mean LOG_LEVEL?"),
        ("from pathlib import Path\nMINE = 1", "MINE", 2, "begin names of your own with _"),
        ("NODES = {'b': {'replicas': 1,\n  'restart': 'often'}}", "NODES.b.restart", 2, "'on-failure'"),
        ("NODES = {\n 'b': {'replicas': 1001}}", "NODES.b.replicas", 2, "at most 1000"),
        ("NODES = {}\nNODES['b'] = {'replica': 1}", "NODES.b.replica", 2, "did you mean replicas?"),
        ("NODES = {'b': {'needs': ['a',\n 5]}}", "NODES.b.needs.1", 2, "text"),
        ("NODES = {'b': {'needs': 'a'}}", "NODES.b.needs", 1, "list"),
        ("NODES = {'b': {'tags': ['@x']}}", "NODES.b.tags", 1, "name of a tag"),
        ("NODES = {'b': {'target': 'a b'}}", "NODES.b.target", 1, "package.module:Class"),
        ("NODES = {'b': {'needs': ['b']}}", "NODES", 1, "b needs itself"),
    ],
)
def test_a_wrong_value_names_constant_value_what_is_allowed_file_and_line(
    folder: Path, source: str, what: str, line: int, says: str
) -> None:
    error = refused(folder, source)
    assert (error.constant, error.line) == (what, line)
    assert error.file == str(folder / "config" / "hive.py")
    assert says in error.allowed
    assert f"hive.py:{line}: {what} = {error.value!r}" in str(error)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("HIVEMIND_LEASE", "soon", "must be a number"),
        ("HIVEMIND_NODES", "{", "must be a JSON object"),
        ("HIVEMIND_STATIC_DIRS", "static", "must be a JSON list"),
        ("HIVEMIND_REDIS_URL_FILE", "/no/such/file", "cannot be read"),
    ],
)
def test_a_wrong_variable_is_named(folder: Path, variable: str, value: str, says: str) -> None:
    error = refused(folder, "", **{variable: value})
    assert error.file == f"environment {variable}"
    assert says in error.allowed


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("x = 1\ny = (", 2, "SyntaxError"),
        ("import json\njson.loads('{')", 2, "JSONDecodeError"),
        ("def f():\n    return 1 / 0\nf()", 2, "ZeroDivisionError"),
        ("import no_such_module", 1, "ModuleNotFoundError"),
        (
            "from hivemind.settings import NodeTuning\nNODES = {'b': NodeTuning(replicas=-1)}",
            2,
            "NodeTuning: replicas: Input should be",
        ),
        ("\nexit()", 2, "must not end the program"),
        ("x = '\0'", 1, "null"),
    ],
)
def test_a_file_that_fails_is_reported_with_its_line(folder: Path, source: str, line: int, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(make_hive(folder, source), {})
    assert str(caught.value).startswith(f"{folder / 'config' / 'hive.py'}:{line}: ")
    assert says in str(caught.value)


def test_a_missing_second_file_is_reported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.py: the settings cannot be read"):
        load_settings(make_hive(folder), {"HIVE_SETTINGS": str(tmp_path / "gone.py")})


def test_imported_names_helpers_and_hive_root_are_no_settings(folder: Path) -> None:
    source = "from datetime import UTC\nHIVE_ROOT = __file__\nBASE = 1\n_MINE = 2\nlower = 3\n"
    assert load_settings(make_hive(folder, source), {}).name == "default"


def test_paths_are_relative_to_the_hive_and_know_the_home_folder(folder: Path) -> None:
    hive = make_hive(folder, 'LOG_LOCATION = "logs"\nTEMPLATE_DIRS = ["~/t"]\n')
    settings = load_settings(hive, {})
    assert settings.log_file("batsignal") == hive / "logs" / "batsignal.log"
    assert [Path.home() / "t"] == settings.constants.TEMPLATE_DIRS


@pytest.mark.parametrize(("number", "file"), [(0, "batsignal.log"), (1, "batsignal-1.log"), (12, "batsignal-12.log")])
def test_each_copy_of_a_node_has_a_log_file_that_tells_whose_it_is(folder: Path, number: int, file: str) -> None:
    path = load_settings(make_hive(folder), {}).log_file("batsignal", number)
    assert path.name == file
    assert logged_in(path) == f"batsignal.{number}"


@pytest.mark.parametrize(
    ("platform", "environ", "log", "state"),
    [
        ("linux", {}, "/h/.local/log/default", "/h/.local/state/hivemind/default"),
        ("linux", {"XDG_STATE_HOME": "/s"}, "/s/hivemind/log/default", "/s/hivemind/default"),
        ("darwin", {}, "/h/Library/Logs/default", "/h/Library/Application Support/hivemind/default"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/hivemind/Logs/default", "/l/hivemind/default"),
    ],
)
def test_logs_and_state_are_where_the_platform_keeps_them(
    monkeypatch: pytest.MonkeyPatch, platform: str, environ: dict[str, str], log: str, state: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    settings = load_settings(None, {"HOME": "/h", **environ})
    assert (str(settings.constants.LOG_LOCATION), str(settings.var)) == (log, state)


def test_an_empty_log_location_is_the_default(folder: Path) -> None:
    settings = load_settings(make_hive(folder, 'HIVE_NAME = "gotham"\nLOG_LOCATION = ""'), {"XDG_STATE_HOME": "/s"})
    assert Path("/s/hivemind/log/gotham") == settings.constants.LOG_LOCATION
    assert settings.sources["LOG_LOCATION"] == "default"


def test_sockets_lie_in_var_unless_that_path_is_too_long(tmp_path: Path) -> None:
    near = Settings(Constants(), {}, Path("/srv/gotham"), tmp_path, tmp_path)
    far = Settings(Constants(), {}, Path("/srv") / ("x" * 90), tmp_path, tmp_path)
    assert near.runtime == near.var == Path("/srv/gotham/var")
    assert far.runtime.parent == tmp_path
    assert far.runtime.stat().st_mode & 0o777 == 0o700
    assert far.runtime == far.runtime


def test_a_folder_for_sockets_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    settings = Settings(Constants(), {}, Path("/srv") / ("x" * 90), tmp_path, tmp_path)
    settings.runtime.chmod(0o755)
    with pytest.raises(ConfigurationError, match="others can reach it"):
        _ = settings.runtime


def test_secrets_are_shown_as_stars(folder: Path) -> None:
    environ = '{"API_KEY": "s3cret", "DB_PWD": "s3cret", "URL": "amqp://a:s3cret@h"}'
    source = f'REDIS_URL = "rediss://u:s3cret@host/0"\nNODES = {{"b": {{"env": {environ}}}}}'
    shown = load_settings(make_hive(folder, source), {}).shown()
    assert shown["REDIS_URL"] == "rediss://u:***@host/0"
    assert shown["NODES"]["b"]["env"] == {"API_KEY": "***", "DB_PWD": "***", "URL": "amqp://a:***@h"}


def test_an_error_does_not_tell_a_secret(folder: Path) -> None:
    assert "s3cret" not in str(refused(folder, 'REDIS_URL = "http://u:s3cret@host"'))
    assert "s3cret" not in str(refused(folder / "c", 'REDIS_PASSWORD = "s3cret"'))
    assert "s3cret" not in str(refused(folder / "d", 'NODES = {"b": {"env": {"TOKEN": "s3cret"}, "needs": ["b"]}}'))
    assert "s3cret" not in str(refused(folder / "e", "", HIVEMIND_NODES='{"b": {"env": {"TOKEN": "s3cret"}}'))
    assert "1234" not in str(refused(folder / "b", 'NODES = {"b": {"env": {"TOKEN": 1234}}}'))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:p@host", "redis://:***@host"),
        ("redis://u:p@ss/w@host", "redis://u:***@host"),
        ("redis+sentinel://u:p@h1:1,h2:2/main", "redis+sentinel://u:***@h1:1,h2:2/main"),
        ("unix:///run/r.sock?password=p&db=1", "unix:///run/r.sock?password=***&db=1"),
        ("cannot reach redis://u:p@host: refused", "cannot reach redis://u:***@host: refused"),
    ],
)
def test_passwords_in_urls_become_stars(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_a_hive_is_found_by_option_then_variable_then_upwards_then_one_level_down(tmp_path: Path) -> None:
    gotham, metropolis = make_hive(tmp_path / "gotham"), make_hive(tmp_path / "metropolis")
    inside = gotham / "nodes" / "batman"
    inside.mkdir(parents=True)
    environ = {"HIVEMIND_HIVE": str(metropolis)}
    assert find_hive(inside, "../../../gotham", environ) == gotham
    assert find_hive(inside, None, environ) == metropolis
    assert find_hive(inside, None, {}) == gotham
    assert find_hive(tmp_path, None, {}) is None
    (metropolis / "config" / "hive.py").unlink()
    assert find_hive(tmp_path, None, {}) == gotham


@pytest.mark.parametrize("named", [{"explicit": "repo"}, {"environ": {"HIVEMIND_HIVE": "repo"}}])
def test_what_is_named_must_be_a_hive(tmp_path: Path, named: dict[str, Any]) -> None:
    make_hive(tmp_path / "repo" / "gotham")
    with pytest.raises(HiveNotFound, match=r"Did you mean .*repo/gotham") as caught:
        find_hive(tmp_path, **{"explicit": None, "environ": {}, **named})
    assert str(caught.value).count("repo") == 2  # what was named, and what was meant


def test_where_a_hive_has_moved_to_holds_wherever_a_setting_names_what_it_has_left(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config/hive.py"
    prepare(tmp_path / "var", Moved("one", ("redis://a",), "redis://b", was="redis://a"))
    assert take_effect(tmp_path / "var", "one")
    for url, holds, as_set in (
        ("redis://a", "redis://b", "redis://a"),  # it has left that
        ("redis://b", "redis://b", "redis://a"),  # it is there: for programs nothing has changed
        ("redis://c", "redis://c", "redis://c"),  # somebody wants it elsewhere
    ):
        file.write_text(f'REDIS_URL = "{url}"\n')
        found = load_settings(tmp_path, {})
        assert (found.redis_url, found.as_set.REDIS_URL) == (holds, as_set)
        says = f"var/moved.json (hm redis move), instead of {HIVE_FILE}:1" if url == "redis://a" else f"{HIVE_FILE}:1"
        assert found.sources["REDIS_URL"] == says
    (tmp_path / "var/moved.json").write_text("{")
    assert load_settings(tmp_path, {}).redis_url == "redis://c"
