"""The keeper: a program runs once, whatever happened to the supervisord that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hivemind.identity import PidFile, ProcessIdentity
from hivemind.supervisor.keeper import Order, become, end_left_behind, group, kill_group

from .waiting import eventually

SLEEPER = """
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: print('poked', flush=True))
print('up', flush=True)
while True: time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
while True: time.sleep(60)
"""


class Keepers:
    """Starts keepers of one pidfile, and ends all of them afterwards."""

    def __init__(self, folder: Path) -> None:
        self.pidfile = folder / "batman.0.pid"
        self.cleanup = ExitStack()

    def start(self, code: str, *options: str, digest: str = "d1", grace: float = 5.0) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hivemind.supervisor.keeper", "--pidfile", str(self.pidfile)]
        command += ["--digest", digest, "--grace", str(grace), *options, "--", sys.executable, "-c", code]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)
        self.cleanup.callback(self._end, process)
        return process

    def orphan(self, code: str) -> ProcessIdentity:
        """A program whose keeper's parent is gone, as after ``kill -9`` of supervisord; here it is just not ours."""
        return self.identity(self.start(code))

    def identity(self, process: subprocess.Popen[str]) -> ProcessIdentity:
        assert line(process) == "up"
        record = PidFile(self.pidfile).read()
        assert record is not None
        return record.identity

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate(timeout=5)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def keepers(tmp_path: Path) -> Iterator[Keepers]:
    made = Keepers(tmp_path)
    with made.cleanup:
        yield made


def test_without_a_survivor_the_keeper_becomes_the_program(keepers: Keepers) -> None:
    process = keepers.start(SLEEPER)
    assert keepers.identity(process) == ProcessIdentity.of(process.pid)
    assert "keeper" not in " ".join(psutil.Process(process.pid).cmdline())


LOOKING = """
import json, os, sys
from hivemind import Node, service
class Looking(Node):
    @service("x", every=1.0)
    def x(self, service):
        pass
with open("seen", "w") as file:
    shown = open("/proc/self/cmdline").read().rstrip("\\0").split("\\0")
    begun = " ".join(sys.orig_argv)
    json.dump([os.environ["HIVEMIND_SUPERVISED"], shown, sys.argv[1:], sys.path[0], begun], file)
"""


BECOMING = """
import sys
from pathlib import Path
import hivemind.bus.embedded
from hivemind.supervisor.keeper import Order, become
become(Order(Path("x.pid"), "", 1.0, None, tuple(sys.argv[1:])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what ps shows can be changed on Linux only")
@pytest.mark.parametrize(("variable", "is_begun_anew"), [("HIVEMIND_LOG_LEVEL", False), ("PYTHONHASHSEED", True)])
def test_a_module_of_ours_needs_no_interpreter_of_its_own_unless_a_variable_does(
    tmp_path: Path, variable: str, is_begun_anew: bool
) -> None:
    (tmp_path / "looking.py").write_text(LOOKING)
    (tmp_path / "it.env").write_text(f'{{"{variable}": "1"}}'.replace('LEVEL": "1', 'LEVEL": "INFO'))
    node = [sys.executable, "-m", "hivemind.node", "looking.py", "--check"]
    keeper = [sys.executable, "-P", "-m", "hivemind.supervisor.keeper", "--pidfile", str(tmp_path / "it.pid")]
    done = subprocess.run(
        [*keeper, "--env", str(tmp_path / "it.env"), "--", *node],
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.count('"ok":true')) == (0, 1), done.stderr
    supervised, shown, arguments, looked_in, begun = json.loads((tmp_path / "seen").read_text())
    assert (supervised, shown, arguments, looked_in) == ("1", node, node[3:], str(tmp_path))
    assert ("hivemind.supervisor.keeper" in begun) is not is_begun_anew


def test_a_module_that_supervisord_has_loaded_is_run_anew_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "become.py").write_text(BECOMING)
    server = [sys.executable, "-m", "hivemind.bus.embedded", "/bin/echo", str(tmp_path), str(tmp_path / "socket")]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "become.py"), *server], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "redis.log").read_text() == f"{tmp_path / 'redis.conf'}\n"


def test_the_pidfile_holds_the_digest(keepers: Keepers) -> None:
    keepers.identity(keepers.start(SLEEPER, digest="abc"))
    record = PidFile(keepers.pidfile).read()
    assert record is not None
    assert record.digest == "abc"


def test_a_survivor_is_adopted_not_doubled(keepers: Keepers) -> None:
    survivor = keepers.orphan(SLEEPER)
    assert f"adopted process {survivor.pid}" in line(keepers.start(SLEEPER, digest="another"))
    record = PidFile(keepers.pidfile).read()
    assert record is not None
    assert (record.identity, record.digest) == (survivor, "d1")


def test_an_adopted_program_gets_every_signal(keepers: Keepers) -> None:
    program = keepers.start(SLEEPER)
    keepers.identity(program)
    keeper = keepers.start(SLEEPER)
    line(keeper)
    eventually(lambda: _handles(keeper.pid, signal.SIGUSR1))
    keeper.send_signal(signal.SIGUSR1)
    assert line(program) == "poked"


def test_terminating_the_keeper_ends_the_survivor_and_counts_as_well(keepers: Keepers) -> None:
    program = keepers.start(SLEEPER)
    keepers.identity(program)
    keeper = keepers.start(SLEEPER)
    line(keeper)
    eventually(lambda: _handles(keeper.pid, signal.SIGTERM))
    keeper.terminate()
    assert program.wait(5) == -signal.SIGTERM
    assert keeper.wait(5) == 0


def test_a_survivor_that_will_not_end_is_killed_with_its_group(keepers: Keepers) -> None:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], stdout=2)\n{STUBBORN}"
    program = keepers.start(code)
    keepers.identity(program)
    (child,) = eventually(lambda: psutil.Process(program.pid).children())
    keeper = keepers.start(SLEEPER, grace=0.3)
    line(keeper)
    eventually(lambda: _handles(keeper.pid, signal.SIGTERM))
    keeper.terminate()
    assert program.wait(5) == -signal.SIGKILL
    assert keeper.wait(5) == 0
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


FORKING = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n{SLEEPER}"


def test_what_a_dead_program_forked_ends_before_the_next_one_begins(keepers: Keepers) -> None:
    program = keepers.start(FORKING)
    keepers.identity(program)
    (child,) = eventually(lambda: psutil.Process(program.pid).children())
    program.kill()
    program.wait(5)
    again = keepers.start(SLEEPER)
    assert line(again) == f"hived: killed what process {program.pid} had left behind"
    assert line(again) == "up"
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_nothing_that_is_not_left_behind_is_killed(keepers: Keepers) -> None:
    program = keepers.start(FORKING)
    alive = keepers.identity(program)
    eventually(lambda: group(alive.pid) != [alive.pid])
    me = ProcessIdentity.current()
    assert not end_left_behind(alive)
    assert not end_left_behind(replace(alive, started=alive.started - 1))
    assert not end_left_behind(replace(alive, boot="another"))
    assert not end_left_behind(replace(me, pid=0))
    assert not end_left_behind(replace(me, pid=os.getpgrp()))
    assert alive.is_alive()
    assert len(group(alive.pid)) == 2
    kill_group(alive)


def test_when_the_survivor_ends_the_keeper_ends(keepers: Keepers) -> None:
    program = keepers.start(SLEEPER)
    keepers.identity(program)
    keeper = keepers.start(SLEEPER)
    line(keeper)
    program.kill()
    program.wait(5)
    assert keeper.wait(5) != 0


def test_a_recycled_pid_is_not_adopted(keepers: Keepers) -> None:
    me = ProcessIdentity.current()
    PidFile(keepers.pidfile).write(ProcessIdentity(me.pid, me.started - 1.0, me.boot, me.host), "d1")
    assert keepers.identity(keepers.start(SLEEPER)).pid != me.pid


@pytest.mark.parametrize("garbage", [b"", b"{", b"123\n"])
def test_a_spoilt_pidfile_stops_nothing(keepers: Keepers, garbage: bytes) -> None:
    keepers.pidfile.write_bytes(garbage)
    assert line(keepers.start(SLEEPER)) == "up"


def test_a_program_runs_also_where_nothing_can_be_written(keepers: Keepers, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keepers.pidfile = tmp_path / "file" / "batman.0.pid"
    process = keepers.start(SLEEPER)
    assert "no lock for" in line(process)
    assert "it runs all the same" in line(process)
    assert line(process) == "up"


def test_the_environment_comes_from_its_file(keepers: Keepers, tmp_path: Path) -> None:
    (tmp_path / "it.env").write_text('{"MASK": "black; 100%\\nbat"}')
    process = keepers.start("import os; print(repr(os.environ['MASK']))", "--env", str(tmp_path / "it.env"))
    assert line(process) == "'black; 100%\\nbat'"


def test_a_keeper_whose_supervisord_died_leaves_quietly(keepers: Keepers) -> None:
    survivor = keepers.orphan(SLEEPER)
    command = [sys.executable, "-m", "hivemind.supervisor.keeper", "--pidfile", str(keepers.pidfile), "--", "true"]
    code = (
        f"import os, subprocess; print(subprocess.Popen({command!r}, stdout=2).pid, flush=True); input(); os._exit(0)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    keeper = ProcessIdentity.of(int(line(parent)))
    assert keeper is not None
    eventually(lambda: _handles(keeper.pid, signal.SIGTERM))
    parent.communicate("\n", timeout=5)
    eventually(lambda: not keeper.is_alive())
    assert survivor.is_alive()


def test_a_program_that_does_not_exist_is_named(keepers: Keepers) -> None:
    command = [sys.executable, "-m", "hivemind.supervisor.keeper", "--pidfile", str(keepers.pidfile), "--", "/no/such"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 127
    assert "/no/such: No such file" in done.stdout


def _handles(pid: int, number: int) -> bool:
    """Whether that process has a handler for the signal yet."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    caught = next(text for text in status.read_text().splitlines() if text.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1) and os.getpgid(pid) >= 0


def test_a_spoilt_environment_is_named_and_the_program_is_not_run_with_another(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "batman.0.env"
    file.write_bytes(b'{"A": "1"')
    assert become(Order(tmp_path / "x.pid", "", 1.0, file, ("true",))) == 127
    assert f"{file} does not say with which environment this runs" in capfd.readouterr().out
