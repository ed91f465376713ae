"""Processes are told apart by more than their pid."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hivemind.identity import PidFile, PidRecord, ProcessIdentity
from hivemind.process_table import booted, environment_of, pids, started


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate(timeout=10)


def test_a_running_process_is_alive_and_stops_being_so_when_killed(child: subprocess.Popen[bytes]) -> None:
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    assert identity.is_alive()
    child.kill()
    child.wait(timeout=10)
    assert not identity.is_alive()
    assert ProcessIdentity.of(child.pid) is None


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere it is psutil that is asked")
def test_what_is_read_of_processes_is_what_psutil_says(child: subprocess.Popen[bytes]) -> None:
    theirs = psutil.Process(child.pid)
    assert started(child.pid) == round(theirs.create_time() - psutil.boot_time(), 2)
    assert {child.pid, os.getpid()} <= {*pids()} & {*psutil.pids()}
    assert environment_of(child.pid) == theirs.environ()
    assert (booted(), started(2**22 + 1), environment_of(2**22 + 1)) == (int(psutil.boot_time()), None, None)


def test_a_zombie_counts_as_gone(child: subprocess.Popen[bytes]) -> None:
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert not identity.is_alive()


def test_a_recycled_pid_is_not_the_process_that_had_it_before() -> None:
    me = ProcessIdentity.current()
    assert me.is_alive()
    assert not replace(me, started=me.started - 1).is_alive()


def test_a_process_of_another_machine_or_boot_is_not_local_and_never_alive() -> None:
    me = ProcessIdentity.current()
    for stranger in (replace(me, host="elsewhere"), replace(me, boot="yesterday")):
        assert not stranger.is_local()
        assert not stranger.is_alive()


def test_a_process_has_surely_ended_only_if_it_ran_here(child: subprocess.Popen[bytes]) -> None:
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    assert not identity.has_ended()
    child.kill()
    child.wait(timeout=10)
    assert identity.has_ended()
    assert not replace(identity, host="elsewhere").has_ended()


def test_a_pid_file_names_a_living_process_or_none(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    identity, file = ProcessIdentity.of(child.pid), PidFile(tmp_path / "child.pid")
    assert identity is not None
    assert file.living() is None
    file.write(identity)
    assert file.living() == identity
    child.kill()
    child.wait(timeout=10)
    assert file.living() is None


def test_setting_the_clock_does_not_change_who_a_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    if not psutil.LINUX:
        pytest.skip("elsewhere the kernel keeps the start time itself")
    me, boot = ProcessIdentity.current(), psutil.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
    assert me.is_alive()


@pytest.mark.parametrize("pid", [-1, 2**22 + 1, 2**70])
def test_a_pid_that_cannot_be_is_nobody(pid: int) -> None:
    assert ProcessIdentity.of(pid) is None


def test_an_identity_survives_json() -> None:
    me = ProcessIdentity.current()
    assert ProcessIdentity.from_json(me.to_json()) == me


@pytest.mark.parametrize("value", [None, [], {"pid": 1}, {"pid": "x", "started": 1, "boot": "", "host": ""}])
def test_what_is_no_identity_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"identity|int"):
        ProcessIdentity.from_json(value)


def test_a_pid_file_gives_back_what_was_written(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "run" / "batsignal.0.pid")
    assert file.read() is None
    file.write(ProcessIdentity.current(), "abc")
    assert file.read() == PidRecord(ProcessIdentity.current(), "abc")
    assert [path.name for path in file.path.parent.iterdir()] == ["batsignal.0.pid"]
    file.remove()
    file.remove()
    assert file.read() is None


@pytest.mark.parametrize("content", [b"", b"1234\n", b"{", b"null", b'{"pid":1}', b"\xff"])
def test_a_damaged_pid_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pid").write_bytes(content)
    assert PidFile(tmp_path / "pid").read() is None


def test_where_there_is_no_room_for_a_second_file_the_first_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, me = PidFile(tmp_path / "it.pid"), ProcessIdentity.current()
    file.write(replace(me, started=1.0), "a longer digest than the next one")
    real = os.open

    def full(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", full)
    file.write(me, "d")
    found = file.read()
    assert found is not None
    assert (found.identity, found.digest) == (me, "d")
    assert [each.name for each in tmp_path.iterdir()] == ["it.pid"]
