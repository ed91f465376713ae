"""The hive's own Redis stands still, or nobody gets in to it: hived finds out, and starts it again with its data."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hivemind.bus.embedded import Embedded
from hivemind.bus.server_program import ask, find_server
from hivemind.identity import ProcessIdentity
from hivemind.process_table import COMPUTING, DISK, HELD, STOPPED, WAITING, Doing, doing, waits_for_disk, waits_of
from hivemind.supervisor.engine import Engine
from hivemind.supervisor.redis_judge import AGAIN, GONE, MUTE, STANDS, UNSEEN, Entrance, Progress
from hivemind.supervisor.redis_vigil import LOOK, RedisVigil

from .hive_kit import QUIET, SENDER, Hive, hive_in, kill, well
from .waiting import eventually

REDIS = ProcessIdentity(7, 1.0, "boot", "host")
HERE, OTHER = (1, 2), (1, 3)


def judged(doings: Sequence[Doing | None], waits: Callable[[int], int | None] = lambda _: 7) -> Progress:
    progress = Progress()
    for count, each in enumerate(doings):
        progress.look(1.0, each, waits(count))
    return progress


def test_only_one_that_a_signal_has_stopped_for_long_enough_stands_still() -> None:
    stopped = Doing(STOPPED, 1.0)
    assert judged([stopped] * (int(STANDS) + 1)).is_stopped
    assert not judged([stopped] * int(STANDS)).is_stopped, "the first look compares with nothing"
    assert not judged([Doing(STOPPED, count / 100) for count in range(1000)]).is_stopped, "it goes on by turns"
    assert not judged([stopped] * 19 + [Doing(WAITING, 1.01)] + [stopped] * 19).is_stopped
    assert not judged([stopped] * 19 + [None, stopped]).is_stopped
    assert not judged([Doing(HELD, 1.0)] * 1000).is_stopped


@pytest.mark.parametrize("state", [COMPUTING, DISK, HELD])
def test_one_that_computes_waits_for_its_disk_or_is_debugged_is_not_even_asked(state: str) -> None:
    assert not judged([Doing(state, 1.0)] * 1000).is_mute


def test_one_that_waits_for_one_and_the_same_thing_is_asked_after_a_minute() -> None:
    idle = Doing(WAITING, 1.0)
    assert judged([idle] * (int(MUTE) + 1)).is_mute
    assert not judged([idle] * int(MUTE)).is_mute, "the first look compares with nothing"
    assert not judged([Doing(WAITING, count // 50 / 100) for count in range(1000)]).is_mute
    assert not judged([idle] * 1000, lambda count: count // 50).is_mute, "it woke up"
    assert not judged([idle] * 1000, lambda _: None).is_mute, "nobody can know"
    assert not waits_for_disk(os.getpid())
    assert sys.platform != "linux" or waits_of(os.getpid()) is not None


def test_a_socket_is_gone_when_it_is_not_there_or_another_for_a_while() -> None:
    for found in (None, OTHER):
        door = Entrance()
        door.opened(REDIS, HERE)
        assert [door.look(1.0, REDIS, found) for _ in range(int(GONE))] == [False, False, True]
        assert not door.look(1.0, REDIS, HERE)


def test_one_that_refuses_to_end_is_to_be_asked_again_every_minute_until_its_socket_is_there() -> None:
    door = Entrance()
    door.opened(REDIS, HERE)
    due = [count + 1.0 for count in range(200) if door.look(1.0, REDIS, None)]
    assert due == [GONE, GONE + AGAIN, GONE + 2 * AGAIN, GONE + 3 * AGAIN]
    assert not door.look(1.0, REDIS, HERE)
    assert [door.look(1.0, REDIS, None) for _ in range(int(GONE))] == [False, False, True]


def test_one_whose_socket_nobody_has_seen_may_be_starting() -> None:
    door = Entrance()
    assert not any(door.look(1.0, REDIS, None) for _ in range(int(UNSEEN) - 1))
    assert door.look(1.0, REDIS, None)
    assert not door.look(1.0, ProcessIdentity(8, 1.0, "boot", "host"), None), "another life has its own time"
    assert not any(Entrance().look(100.0, REDIS, HERE) for _ in range(10))


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    with hive_in(tmp_path / "gotham") as made:
        made.node("batman", SENDER)
        made.node("robin", QUIET)
        made.start()
        eventually(lambda: well(made), within=30)
        assert say(made, "SET", "bat", "man") == "+OK"
        yield made


def own(hive: Hive) -> Embedded:
    return Embedded.of(hive.engine.settings)


def say(hive: Hive, *words: str) -> str | None:
    return ask(own(hive).socket, *words, timeout=2.0)


def redis_of(hive: Hive) -> ProcessIdentity:
    found = own(hive).pidfile.living()
    assert found is not None
    return found


def is_another(hive: Hive, before: ProcessIdentity) -> bool:
    return own(hive).pidfile.living() not in (None, before) and say(hive, "PING") == "+PONG"


def goes_on(hive: Hive, before: dict[str, int | None]) -> None:
    """With its data, and without another life of anybody else."""
    assert say(hive, "GET", "bat") == "man"
    eventually(lambda: well(hive) and hive.status().redis, within=20)
    after = hive.pids()
    assert after.pop("redis") != before.pop("redis")
    assert after == before


@pytest.mark.drill
@pytest.mark.timeout(120)
def test_a_redis_that_stands_still_is_killed_and_started_again_with_its_data(hive: Hive) -> None:
    before, redis = hive.pids(), redis_of(hive)
    kill(redis, signal.SIGSTOP)
    began = time.monotonic()
    eventually(lambda: is_another(hive, redis), within=STANDS + 20)
    print(f"another after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began > STANDS - 2
    goes_on(hive, before)
    said = f"the hive's own Redis (process {redis.pid}) did not go on for 20 s (stopped by a signal), and was killed"
    assert hive.log("hived").count(said) == 1
    assert said in hive.run("hived", "status").stderr


@pytest.mark.drill
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("words", "over"),
    [(("EVAL", "while true do end", "0"), ("SCRIPT", "KILL")), (("CLIENT", "PAUSE", "80000", "ALL"), ())],
)
def test_a_redis_that_is_busy_or_paused_for_more_than_a_minute_is_left_alone(
    hive: Hive, words: tuple[str, ...], over: tuple[str, ...]
) -> None:
    redis = redis_of(hive)
    ask(own(hive).socket, *words, timeout=0.2)
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 1.4 * MUTE, within=2 * MUTE)
    assert not over or say(hive, *over) == "+OK"
    assert redis_of(hive) == redis


@pytest.mark.drill
@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not say enough")
def test_a_redis_that_waits_for_nothing_and_answers_nobody_is_killed_after_a_minute(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f'#!/bin/sh\nexec {find_server()} "$@" --enable-debug-command yes\n')
    program.chmod(0o755)
    with hive_in(tmp_path / "gotham") as hive:
        hive.environ["HIVEMIND_REDIS_SERVER"] = str(program)
        hive.node("robin", QUIET)
        hive.start()
        eventually(lambda: well(hive), within=30)
        say(hive, "SET", "bat", "man")
        before, redis = hive.pids(), redis_of(hive)
        assert ask(own(hive).socket, "DEBUG", "SLEEP", "600", timeout=0.2) is None
        began = time.monotonic()
        eventually(lambda: is_another(hive, redis), within=MUTE + 60)
        print(f"another after {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began > MUTE - 2
        goes_on(hive, before)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("instead", ["nothing", "another"])
def test_a_socket_that_was_removed_is_made_again_and_the_data_stays(hive: Hive, instead: str) -> None:
    before, redis = hive.pids(), redis_of(hive)
    eventually(lambda: (hive.program("batman.0").uptime or 0.0) > 4.0, within=20)  # hived has seen it
    listener = hive.listener()
    if instead == "nothing":
        kill(listener, signal.SIGSTOP)  # so that there is time to look
    own(hive).socket.unlink()
    if instead == "another":
        own(hive).socket.touch()
    began = time.monotonic()
    if instead == "nothing":
        said = f"the hive's own Redis runs (process {redis.pid}), but its socket {own(hive).socket} is missing: hived "
        said += "starts it again in a few seconds, with its data"
        done = hive.run("hm", "status")
        assert (done.returncode, done.stdout) == (1, f"gotham cannot be seen: {said}\n")
        assert f"warning: {said}; hived goes on" in hive.run("hived", "status").stderr
        kill(listener, signal.SIGCONT)
    eventually(lambda: is_another(hive, redis), within=20)
    print(f"another after {time.monotonic() - began:.1f} s")
    goes_on(hive, before)
    assert hive.log("hived").count(f"the socket of the hive's own Redis (process {redis.pid}), ") == 1


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can see where a process writes")
def test_a_redis_whose_folder_was_replaced_by_an_older_copy_is_not_ended(hive: Hive, tmp_path: Path) -> None:
    redis, server = redis_of(hive), own(hive)
    eventually(lambda: (hive.program("batman.0").uptime or 0.0) > 4.0, within=20)  # hived has seen its socket
    shutil.copytree(server.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock"))
    assert say(hive, "SET", "bat", "cave") == "+OK"
    shutil.rmtree(server.folder)
    shutil.copytree(tmp_path / "copy", server.folder)
    moved = server.socket.with_name("moved.sock")
    server.socket.rename(moved)
    try:
        eventually(lambda: "is gone, and so is its data" in hive.log("hived"), within=20)
        assert redis.is_alive()
        assert ask(moved, "GET", "bat", timeout=2.0) == "cave"
    finally:
        kill(redis)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can see where a process writes")
def test_a_server_has_its_data_where_all_of_it_lies_that_it_writes_to(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hm-"))
    server = Embedded(folder / "redis", folder / "redis.sock")
    server.ensure()
    redis = server.pidfile.living()
    assert redis is not None
    try:
        assert ask(server.socket, "SET", "bat", "man", timeout=2.0) == "+OK"
        assert server.has_data(redis)
        ask(server.socket, "BGREWRITEAOF", timeout=2.0)
        files = server.folder / "appendonlydir"
        kept = {"appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"}
        eventually(lambda: {each.name for each in files.iterdir()} == kept)
        assert server.has_data(redis)
        for lost in sorted(files.iterdir()):
            lost.rename(tmp_path / lost.name)
            assert not server.has_data(redis), lost
            (tmp_path / lost.name).rename(lost)
            assert server.has_data(redis), lost
        (incr,) = files.glob("*.incr.aof")
        shutil.copy(incr, tmp_path)
        incr.unlink()
        shutil.copy(tmp_path / incr.name, incr)
        assert not server.has_data(redis), "a copy, to which it does not write"
    finally:
        server.stop()
        shutil.rmtree(folder)


def test_a_redis_that_refuses_to_end_is_asked_again_every_minute_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hm-"))
    server = Embedded(folder / "redis", folder / "redis.sock")
    server.ensure()
    redis = server.pidfile.living()
    assert redis is not None
    vigil = RedisVigil(cast(Engine, SimpleNamespace()))

    def looks(seconds: float) -> None:
        for _ in range(round(seconds / LOOK)):
            vigil._look_at_socket(redis, server)

    def refusals() -> int:
        return server.log.read_text().count("can't exit")

    try:
        assert ask(server.socket, "CONFIG", "SET", "save", "3600 1", timeout=2.0) == "+OK"
        (server.folder / "dump.rdb" / "in the way").mkdir(parents=True)  # what it would write as it ends
        with caplog.at_level(logging.WARNING, "hived"):
            looks(1.0)
            server.socket.unlink()
            for times in (1, 2, 3):
                looks(GONE if times == 1 else AGAIN)
                eventually(lambda times=times: refusals() == times)  # type: ignore[misc]
            assert redis.is_alive()
            assert len(caplog.records) == 1
            shutil.rmtree(server.folder / "dump.rdb")
            looks(AGAIN)
        eventually(lambda: not redis.is_alive())
        assert len(caplog.records) == 1
    finally:
        server.stop(timeout=0.1)
        shutil.rmtree(folder)


@pytest.mark.drill
@pytest.mark.timeout(120)
def test_what_is_only_in_the_memory_of_a_redis_whose_folder_was_removed_is_not_thrown_away(hive: Hive) -> None:
    redis = redis_of(hive)
    shutil.rmtree(own(hive).folder)
    own(hive).socket.unlink()
    eventually(lambda: "is gone, and so is its data" in hive.log("hived"), within=UNSEEN + 20)
    assert "`hived stop` and `hived start` begin without data" in hive.log("hived")
    assert redis.is_alive()
    kill(redis, signal.SIGSTOP)
    eventually(lambda: "it is not killed, but told to go on" in hive.log("hived"), within=STANDS + 20)
    eventually(lambda: doing(redis.pid).state != STOPPED)  # type: ignore[union-attr]  # it lives
