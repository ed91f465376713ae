"""The examples in conf/ do what they say, as they stand."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from hivemind.bus.server_program import ask
from hivemind.cli.scaffold import new_values
from hivemind.constants import Constants
from hivemind.settings import Settings, load_settings

from .hive_kit import QUIET, hive_in
from .waiting import eventually

CONF = Path(__file__).resolve().parent.parent / "conf"
PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="hm-") as folder:
        yield Path(folder)


def loaded(folder: Path, **environ: str) -> Settings:
    (folder / "config").mkdir()
    shutil.copy(CONF / "hive.py", folder / "config" / "hive.py")
    return load_settings(folder, environ)


def test_the_commented_configuration_sets_every_constant(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert {name for name, source in settings.sources.items() if source == "default"} == set()
    assert set(settings.sources) == set(Constants.model_fields) >= set(new_values("gotham"))
    assert settings.constants.PRODUCTION


def test_the_commented_configuration_knows_a_test_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOTHAM_STAGE", "test")
    settings = loaded(tmp_path)
    assert (settings.name, settings.constants.PRODUCTION) == ("gotham-test", False)


@pytest.mark.every_server
def test_a_server_starts_with_the_redis_configuration(server_program: Path, short_folder: Path) -> None:
    socket = short_folder / "redis.sock"
    command = [server_program, CONF / "redis.conf", "--port", "0", "--unixsocket", socket, "--dir", short_folder]
    with running([str(part) for part in command], short_folder, {}):
        eventually(lambda: ask(socket, "PING", timeout=1.0) == "+PONG", within=10)
        with redis.Redis(unix_socket_path=str(socket), decode_responses=True) as client:
            found = client.config_get()
        wanted = {"appendonly": "yes", "maxmemory-policy": "noeviction", "tcp-keepalive": "30"}
        assert {name: found[name] for name in wanted} == wanted
        assert "pubsub 33554432 8388608 60" in found["client-output-buffer-limit"]


def test_the_systemd_unit_never_gives_up_and_leaves_the_nodes_alone() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names are written in mixed case
    unit.read(CONF / "hived.service")
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert (unit["Service"]["Restart"], unit["Service"]["KillMode"]) == ("always", "process")
    assert unit["Service"]["ExecStart"].endswith("hived start --foreground")
    assert float(unit["Service"]["TimeoutStopSec"]) > Constants().STOP_TIMEOUT


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    text = (CONF / "hived.service").read_text().replace("/srv/gotham/.venv/bin", str(PROGRAMS))
    unit = tmp_path / "hived.service"
    unit.write_text(text.replace("/srv/gotham", str(tmp_path)))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "hived.service" in line]) == (0, [])


@pytest.mark.slow
def test_supervisord_runs_a_hive_in_the_foreground_and_ends_it_whole(short_folder: Path) -> None:
    with hive_in(short_folder) as hive:
        hive.node("quiet", QUIET)
        (short_folder / "var").mkdir()
        environ = {**hive.environ, "HIVEMIND_HIVE": str(short_folder), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
        with running([str(PROGRAMS / "supervisord"), "-c", str(CONF / "supervisord.conf")], short_folder, environ):
            eventually(lambda: set(hive.states().values()) == {"running"}, within=20)
        assert hive.processes() == []


@contextmanager
def running(command: list[str], folder: Path, environ: dict[str, str]) -> Iterator[None]:
    """Run a program, and end it politely."""
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=said, stderr=said)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "said").read_text()
    finally:
        process.kill()
        process.wait()
