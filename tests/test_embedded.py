"""The server that a hive brings along: started once whoever asks, and never twice on the same data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hivemind.bus import embedded, server_program
from hivemind.bus.embedded import Embedded, find_server
from hivemind.bus.server_memory import LEAST, limits, most_memory
from hivemind.bus.server_program import ask, version
from hivemind.errors import ConfigurationError, RedisUnavailable
from hivemind.identity import ProcessIdentity
from hivemind.settings import load_settings

from .servers import Connection
from .waiting import eventually

Foreground = Callable[[Embedded], subprocess.Popen[bytes]]
ENSURE = "import sys; from pathlib import Path; from hivemind.bus.embedded import Embedded; "
ENSURE += "print(Embedded(Path(sys.argv[1]), Path(sys.argv[2])).ensure())"


@pytest.fixture
def home(server_program: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Not tmp_path: the path of a unix socket is short.
    folder = Path(tempfile.mkdtemp(prefix="hm "))
    monkeypatch.setenv("HIVEMIND_REDIS_SERVER", str(server_program))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def foreground() -> Iterator[Foreground]:
    started: list[subprocess.Popen[bytes]] = []

    def start(redis: Embedded) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(redis.command()))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(timeout=10)


@pytest.fixture
def redis(home: Path) -> Iterator[Embedded]:
    server = Embedded(home / 'da"ta', home / "ré dis.sock")
    yield server
    server.stop(timeout=1.0)


def pid_of(redis: Embedded) -> int:
    record = redis.pidfile.read()
    assert record is not None
    return record.identity.pid


def say(redis: Embedded, *words: str) -> str | None:
    return ask(redis.socket, *words, timeout=5.0)


def waits_for_lock(pid: int) -> bool:
    return any(file.path.endswith("redis.lock") for file in psutil.Process(pid).open_files())


def program(folder: Path, text: str) -> Path:
    path = folder / "redis-server"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.every_server
def test_it_is_started_once_detached_and_says_what_it_is(redis: Embedded) -> None:
    url = redis.ensure()
    first = redis.status()
    assert redis.ensure() == url
    assert redis.status().pid == first.pid == pid_of(redis)
    assert first.is_running
    assert first.is_answering
    assert first.version is not None
    assert first.version.split()[0] in ("Redis", "Valkey")
    assert first.memory is not None
    assert os.getsid(pid_of(redis)) == pid_of(redis)


@pytest.mark.every_server
def test_what_it_stored_is_there_after_a_stop_and_after_a_kill(redis: Embedded) -> None:
    redis.ensure()
    say(redis, "SET", "bat", "man")
    assert redis.stop()
    assert not redis.socket.exists()
    redis.ensure()
    assert say(redis, "GET", "bat") == "man"
    os.kill(pid_of(redis), signal.SIGKILL)
    eventually(lambda: not redis.answers())
    redis.ensure()
    assert say(redis, "GET", "bat") == "man"


def test_processes_that_ask_at_the_same_time_get_one_server(redis: Embedded) -> None:
    command = [sys.executable, "-c", ENSURE, str(redis.folder), str(redis.socket)]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate(timeout=30)[0].strip() for process in asking}
    assert answers == {redis.url}
    assert say(redis, "INFO", "server") is not None
    assert redis.log.read_text().count("eady to accept connections") == 1


def test_a_server_outlives_the_process_that_started_it(redis: Embedded) -> None:
    command = [sys.executable, "-c", ENSURE, str(redis.folder), str(redis.socket)]
    subprocess.run(command, check=True, timeout=30, capture_output=True)
    assert redis.status().is_answering


def test_stopping_what_does_not_run_says_so(redis: Embedded) -> None:
    assert not redis.stop()
    redis.ensure()
    assert redis.stop()
    assert not redis.stop()
    assert not redis.status().is_running


def test_a_stale_socket_and_a_recycled_pid_do_not_pass_for_a_server(redis: Embedded) -> None:
    redis.folder.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(redis.socket))
    me = ProcessIdentity.current()
    redis.pidfile.write(replace(me, started=me.started - 1))
    assert not redis.status().is_running
    assert not redis.stop()
    redis.ensure()
    assert redis.status().pid not in (None, os.getpid())


def test_a_frozen_server_is_named_and_not_doubled_and_can_be_stopped(
    redis: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.ensure()
    monkeypatch.setattr(embedded, "PING_TIMEOUT", 0.1)
    os.kill(pid_of(redis), signal.SIGSTOP)
    with pytest.raises(RedisUnavailable, match=rf"process {pid_of(redis)}\) has not answered within 0.1 s"):
        redis.ensure(timeout=0.1)
    assert redis.status().is_running
    assert redis.stop(timeout=0.1)
    assert not redis.status().is_running


def test_a_server_whose_pid_file_was_lost_is_found_and_stopped(redis: Embedded) -> None:
    redis.ensure()
    pid = pid_of(redis)
    redis.pidfile.remove()
    assert redis.status().pid == pid
    assert redis.stop()
    eventually(lambda: ProcessIdentity.of(pid) is None)


def test_a_server_that_ends_while_it_starts_is_reported_with_the_end_of_its_log(
    redis: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.folder.mkdir()
    redis.log.write_text("from before\n")
    monkeypatch.setattr(embedded, "_CONFIG", embedded._CONFIG + "no-such-setting yes\n")
    with pytest.raises(RedisUnavailable, match=r"(?s)ended while it started.*no-such-setting") as caught:
        redis.ensure()
    assert "from before" not in str(caught.value)


@pytest.mark.every_server
def test_hived_runs_it_in_the_foreground_under_the_pid_that_the_pid_file_names(
    redis: Embedded, foreground: Foreground
) -> None:
    process = foreground(redis)
    eventually(redis.answers, within=10.0)
    assert redis.status().pid == pid_of(redis) == process.pid
    assert redis.ensure() == redis.url
    process.terminate()
    assert process.wait(timeout=10) == 0


@pytest.mark.parametrize(("tier", "fsync"), [("second", "everysec"), ("disk", "always")])
def test_it_writes_to_its_disk_as_the_hive_wants_messages_confirmed(
    tmp_path: Path, home: Path, foreground: Foreground, tier: str, fsync: str
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "hive.py").write_text(f'HIVE_NAME = "gotham"\nCONFIRM = "{tier}"\n')
    server = replace(Embedded.of(load_settings(tmp_path, {})), folder=home / "data", socket=home / "redis.sock")
    foreground(server)
    eventually(lambda: say(server, "PING") == "+PONG")
    with Connection(server.socket) as redis:
        assert redis.ask("CONFIG", "GET", "appendfsync") == ["appendfsync", fsync]


def test_it_takes_half_of_the_memory_at_most_evicts_nothing_and_loads_all_that_it_has(
    redis: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.ensure()
    with Connection(redis.socket) as asked:
        assert asked.ask("CONFIG", "GET", "maxmemory") == ["maxmemory", str(most_memory())]
        assert asked.ask("CONFIG", "GET", "maxmemory-policy") == ["maxmemory-policy", "noeviction"]
        for number in range(50):
            asked.ask("SET", f"bat{number}", "x" * 100_000)
    assert redis.stop()
    monkeypatch.setattr(embedded, "most_memory", lambda: 4_000_000)
    redis.ensure()
    assert say(redis, "DBSIZE") == ":50"
    assert (say(redis, "SET", "more", "x") or "").startswith("-OOM")


def test_the_memory_of_a_container_counts_where_it_is_less_than_the_machines(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    for name, files, found in [
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "1000000000"}, [1_000_000_000]),
        ("4:memory:/a", {"memory/a/memory.limit_in_bytes": "7", "memory/memory.limit_in_bytes": "9"}, [7, 9]),
        ("0::/../outside", {"memory.max": "5"}, [5]),
    ]:
        root = tmp_path / name.replace("/", "-")
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        ours.write_text(f"{name}\n")
        assert list(limits(root, ours)) == found
    assert list(limits(tmp_path, tmp_path / "none")) == []
    assert LEAST <= most_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def test_a_second_server_waits_for_the_first_to_end_and_takes_over(redis: Embedded, foreground: Foreground) -> None:
    redis.ensure()
    say(redis, "SET", "bat", "man")
    second = foreground(redis)
    eventually(lambda: waits_for_lock(second.pid), within=10.0)
    redis.stop()
    eventually(lambda: redis.answers() and redis.status().pid == second.pid, within=10.0)
    assert say(redis, "GET", "bat") == "man"


def test_only_its_owner_may_reach_it_or_read_its_data(redis: Embedded) -> None:
    redis.ensure()
    assert redis.socket.stat().st_mode & 0o777 == 0o700
    assert redis.folder.stat().st_mode & 0o777 == 0o700
    with Connection(redis.socket) as door:
        said = [door.ask("CONFIG", "GET", name) for name in ("port", "protected-mode")]
    assert said == [["port", "0"], ["protected-mode", "yes"]]


def test_a_long_log_is_put_aside_at_the_next_start(redis: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOG_LIMIT", 100)
    redis.folder.mkdir()
    redis.log.write_text("x" * 101)
    redis.ensure()
    assert (redis.folder / "redis.log.1").read_text() == "x" * 101


def test_a_locale_that_is_not_installed_does_not_keep_it_from_starting(
    redis: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    assert redis.ensure() == redis.url


def test_a_socket_path_that_is_too_long_is_refused_with_its_length(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="100 bytes, this one has 103"):
        Embedded(tmp_path, Path("/" + "ä" * 51))


def test_a_folder_that_cannot_be_written_is_named(home: Path) -> None:
    (home / "file").touch()
    with pytest.raises(ConfigurationError, match=r"needs a folder that it can write: .*file"):
        Embedded(home / "file" / "redis", home / "redis.sock").ensure()


def test_a_program_that_is_none_is_named(redis: Embedded, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVEMIND_REDIS_SERVER", "/no/such/program")
    with pytest.raises(ConfigurationError, match="/no/such/program"):
        redis.command()
    (home / "text").write_text("not a program")
    (home / "text").chmod(0o755)
    monkeypatch.setenv("HIVEMIND_REDIS_SERVER", str(home / "text"))
    with pytest.raises(ConfigurationError, match="cannot be run"):
        redis.ensure()


def test_the_program_on_the_path_comes_first_unless_it_is_too_old(tmp_path: Path) -> None:
    new = program(tmp_path, "echo Redis server v=7.0.0 sha=0")
    assert find_server({"PATH": str(tmp_path)}) == new
    version.cache_clear()
    program(tmp_path, "echo Redis server v=6.2.14 sha=0")
    assert find_server({"PATH": str(tmp_path)}) != new
    version.cache_clear()


def test_without_any_server_the_error_names_the_extra_and_what_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_program, "WHEELS", ())
    program(tmp_path, "echo Redis server v=6.2.14 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HIVEMIND_REDIS_SERVER", raising=False)
    with pytest.raises(ConfigurationError, match=r"version 6\.2\.14, too old.*hivemind-net\[server\]"):
        Embedded(tmp_path, Path("/tmp/x.sock")).command()


def test_on_windows_one_sentence_says_what_to_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigurationError, match="use WSL 2"):
        Embedded(tmp_path, Path("redis.sock")).ensure()
