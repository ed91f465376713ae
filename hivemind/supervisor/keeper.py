"""The keeper: every program of supervisord starts through it, so that none runs twice.

``python -m hivemind.supervisor.keeper --pidfile P --digest D --grace S [--env FILE] [--lives FILE ...] -- COMMAND...``

If the pidfile names a process that lives (it outlived a supervisord that was killed), the keeper stands in
for it: it ends when that one ends, hands it every signal, and ``grace`` seconds after a signal that means
stop it kills that one's process group. Else it kills what the dead one's group has left behind (children that it
forked), waits if lives of it ended early again and again (lives.py), writes itself into the pidfile and becomes the
command. A disk that is full, or a folder that is gone, stops none of this: what cannot be written is done without.

A command that is a module of ours is run right here: an interpreter of its own would only load once more what we have.
"""

from __future__ import annotations

import os
import runpy
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from ..identity import PidFile, ProcessIdentity
from ..node.relay import VARIABLE as RELAY
from ..node.relay import Relay
from ..process_table import pids, show_command
from ..whole import private_folder
from .heard import STOP_SIGNALS, Heard
from .turn import Turn

if sys.platform != "win32":  # nobody runs a keeper there, but `hm` imports what imports it
    import fcntl

ORPHAN_CHECK = 1.0  # seconds between looks at whether supervisord, our parent, still lives
ENDED_BY_ITSELF = 1  # nobody but its parent can learn a process's exit status
OURS, MODULE = "hivemind.", "-m"  # how the names of our modules begin, and what comes before one in a command
READ_LATE = "HIVEMIND_"  # how the names of variables begin that nobody but our own code reads, when it runs


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks for."""

    pidfile: Path
    digest: str
    grace: float
    env: Path | None
    command: tuple[str, ...]
    turn: Turn | None = None


def parse(arguments: Sequence[str]) -> Order:
    """Read the command line; by hand, because importing a parser would double the keeper's start."""
    at = list(arguments).index("--")
    options = dict(zip(arguments[:at:2], arguments[1:at:2], strict=True))
    env = options.get("--env")
    return Order(
        Path(options["--pidfile"]),
        options.get("--digest", ""),
        float(options.get("--grace", "10")),
        Path(env) if env else None,
        tuple(arguments[at + 1 :]),
        _turn(options) if "--lives" in options else None,
    )


def _turn(options: Mapping[str, str]) -> Turn:
    lives, log = Path(options["--lives"]), options.get("--log")
    return Turn(
        lives.stem,
        lives,
        Path(options["--supervisord-log"]),
        Path(options["--printed"]),
        Path(log) if log else None,
        tuple(Path(file) for file in options.get("--watched", "").split(os.pathsep) if file),
        float(options["--longest"]),
    )


def main(arguments: Sequence[str]) -> int:
    """Adopt the survivor and return its exit status as far as it is known, or never return.

    0 if nothing is to begin any more, because we were asked to stop, or supervisord went, while we waited.
    """
    order = parse(arguments)
    pidfile = PidFile(order.pidfile)
    with _only_one(order.pidfile):
        record = pidfile.read()
        if record is None or record.identity.pid == os.getpid() or not record.identity.is_alive():
            if record is not None and end_left_behind(record.identity):
                _say(f"killed what process {record.identity.pid} had left behind")
            if order.turn is not None and not order.turn.wait():
                return 0
            _write_down(pidfile, order)
            record = None
    if record is None:
        return become(order)
    if order.turn is not None:
        order.turn.adopted()
    _say(f"adopted process {record.identity.pid}, which outlived its supervisord")
    return Survivor(record.identity, order.grace).keep()


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the lock of this pidfile, or go on without where it cannot be made; becoming the program lets it go, too."""
    with ExitStack() as stack:
        try:
            private_folder(path.parent)
            file = stack.enter_context(path.with_name(f".{path.name}.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            _say(f"no lock for {path} ({error.strerror}): going on without")
        yield


def _write_down(pidfile: PidFile, order: Order) -> None:
    """Say who we are. A program runs all the same where that cannot be: nobody watches it, or adopts it later."""
    try:
        pidfile.write(ProcessIdentity.current(), order.digest)
    except OSError as error:
        _say(f"{pidfile.path} cannot be written ({error.strerror}): it runs all the same, but hived cannot watch it")


def become(order: Order) -> int:
    """Become the command: same pid, same start time. Returns 127 if that cannot be."""
    given = {"HIVEMIND_SUPERVISED": "1", RELAY: Relay.at(order.pidfile).base}
    try:
        given |= _own(order.env or _beside(order.pidfile))
    except (OSError, ValueError, AttributeError) as error:
        _say(f"{order.env} does not say with which environment this runs ({error}): `hived reload` writes it anew")
        return 127
    if is_ours(order.command) and _is_new(given):
        return _run_here(order.command, given)
    try:
        os.execvpe(order.command[0], order.command, {**os.environ, **given})
    except OSError as error:
        _say(f"{order.command[0]}: {error.strerror}")
        return 127


def is_ours(command: Sequence[str]) -> bool:
    """Whether it is a module of ours, for the interpreter that we are."""
    return tuple(command[:2]) == (sys.executable, MODULE) and command[2].startswith(OURS)


def _is_new(given: Mapping[str, str]) -> bool:
    """Whether this process is as good as one that has just begun: no variable is ``given`` that Python or a library
    reads as it begins, and we have heard no signals, as who has waited for his turn.
    """
    return signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and all(name.startswith(READ_LATE) for name in given)


def _run_here(command: Sequence[str], given: Mapping[str, str]) -> int:
    """Run the module as ``python -m`` does, which looks for modules in the folder that it is in, too.

    One that supervisord has loaded already is run anew all the same: runpy would warn of that.
    """
    show_command(command)
    os.environ.update(given)
    sys.path.insert(0, str(Path.cwd()))
    sys.argv[1:] = command[3:]
    if not hasattr(sys.modules.get(command[2]), "__path__"):  # of a package another module is run: __main__
        sys.modules.pop(command[2], None)
    runpy.run_module(command[2], run_name="__main__", alter_sys=True)
    return 0


def _beside(pidfile: Path) -> Path | None:
    """The environment of a program for which none is named, if it has one all the same: it was sent back."""
    file = pidfile.with_suffix(".env")
    return file if file.exists() else None


def _own(file: Path | None) -> dict[str, str]:
    """The environment of this program alone. Raises OSError, ValueError or AttributeError where the file is spoilt."""
    found = {} if file is None else orjson.loads(file.read_bytes())
    return {str(name): str(value) for name, value in found.items()}


def _say(text: str) -> None:
    with suppress(OSError):
        os.write(1, f"hived: {text}\n".encode())


class Survivor:
    """A living process that is not our child: wait for it, hand it signals, end it when its time is over."""

    def __init__(self, identity: ProcessIdentity, grace: float) -> None:
        self.identity, self.grace = identity, grace
        self._received: list[int] = []
        self._deadline: float | None = None

    def keep(self) -> int:
        """Return when it has ended: 0 if it was asked to, else ENDED_BY_ITSELF. Also return when we are orphaned."""
        parent, heard = os.getppid(), Heard()
        self._received = heard.received
        ended = exit_event(self.identity.pid)
        events = () if ended is None else (ended,)
        while self.identity.is_alive() and os.getppid() == parent:
            heard.wait(self._patience(ended is not None), events)
            self._hand_over()
        return ENDED_BY_ITSELF if self._deadline is None else 0

    def _hand_over(self) -> None:
        while self._received:
            number = self._received.pop(0)
            if number in STOP_SIGNALS and self._deadline is None:
                self._deadline = time.monotonic() + self.grace
            kill(self.identity, number)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            kill_group(self.identity)
            self._deadline = time.monotonic() + ORPHAN_CHECK

    def _patience(self, is_told: bool) -> float:
        until = ORPHAN_CHECK if is_told else 0.2
        if self._deadline is not None:
            until = min(until, self._deadline - time.monotonic())
        return max(0.0, until)


def exit_event(pid: int) -> int | None:
    """A file descriptor that becomes readable when ``pid`` ends; None where the system has none."""
    try:
        if sys.platform == "darwin":
            return _kqueue(pid)
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


if sys.platform == "darwin":

    def _kqueue(pid: int) -> int:
        queue = select.kqueue()
        event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        queue.control([event], 0)
        return os.dup(queue.fileno())


def kill(identity: ProcessIdentity, number: int) -> bool:
    """Send a signal to exactly this process; False if it has ended."""
    try:
        if not identity.is_alive():
            return False
        os.kill(identity.pid, number)
    except ProcessLookupError:
        return False
    return True


def kill_group(identity: ProcessIdentity) -> bool:
    """SIGKILL this process, and with it its group if it leads one; False if it has ended."""
    try:
        if not identity.is_alive():
            return False
        if os.getpgid(identity.pid) == identity.pid:
            os.killpg(identity.pid, signal.SIGKILL)
        else:
            os.kill(identity.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def end_left_behind(identity: ProcessIdentity) -> bool:
    """SIGKILL the members that the group of this process, which has ended, still has; False if there are none.

    Nobody else can be hit: no new process gets the pid as long as a group has it for its id. While a process has
    the pid all the same, the group that we mean is gone, and nothing is done.
    """
    pid = identity.pid
    if pid <= 1 or pid == os.getpgrp() or not identity.is_local() or ProcessIdentity.of(pid) is not None:
        return False
    members = group(pid)
    if members:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    return bool(members)


def group(number: int) -> list[int]:
    """The pids of all living processes in the process group of that number."""
    return [pid for pid in pids() if _group_of(pid) == number and ProcessIdentity.of(pid) is not None]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
