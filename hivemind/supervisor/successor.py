"""The successor of a program: started beside the process that runs, by hived itself, and taken up by supervisord later.

supervisord knows a program's process as its own child only, and forgets none that lives. So the successor is a child of
nobody whom supervisord knows, until the old process has ended: then its identity goes into the program's pidfile, and
the keeper that supervisord starts finds it there, and adopts it, as one that outlived a supervisord.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

from ..errors import SupervisorError
from ..identity import PidFile, ProcessIdentity, this_boot
from ..node.relay import NEXT_PID, Relay
from .client import LIVE, ProgramInfo, ProgramState, SupervisorClient
from .cut_off import went_over
from .engine import Engine
from .keeper import kill_group
from .last_words import last_words
from .launch import clean
from .lives import Lives, save_lives
from .paths import HivePaths
from .render import successor_command
from .stopping import stop
from .topology import Program

READY = 30.0  # seconds within which a successor has to be ready
END = 5.0  # seconds for what was killed to be gone
LOOK = 0.05  # seconds between two looks


class Successor:
    """One try to start a process that takes over from ``program``'s."""

    def __init__(self, engine: Engine, program: Program) -> None:
        self._engine, self._program = engine, program
        self._relay = relay_of(engine.paths, program.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._began = time.time()

    def start(self) -> None:
        """Start it, in a session of its own: it goes on when we end. Raises OSError."""
        paths = self._engine.paths
        self.end()
        self._began = time.time()
        with paths.program_log(self._program.name).open("ab") as out:
            self._process = subprocess.Popen(
                successor_command(paths, self._program),
                cwd=paths.hive,
                env=clean(self._engine.environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, limit: float = READY) -> str:
        """Return when it is ready to take over: "", or else why it is not, after ``limit`` seconds at the most."""
        assert self._process is not None
        deadline = time.monotonic() + limit
        while not self._relay.is_ready(self._process.pid):
            if (status := self._process.poll()) is not None:
                return f"its successor ended with {status}{self._words()}"
            if time.monotonic() > deadline:
                return f"its successor was not ready within {limit:g} s{self._words()}"
            time.sleep(LOOK)
        return ""

    def go(self) -> None:
        """Let it take over as soon as the old process has said goodbye. Raises OSError."""
        self._relay.go.touch()

    def end(self) -> None:
        """Kill it, if it lives, and whatever an earlier try has left. May be called twice."""
        clear(self._relay)
        if self._process is not None:
            self._process.poll()

    def hand_over(self) -> bool:
        """The old process is gone: the program is this one from now on. False if it has ended. Raises OSError."""
        return take_place(self._engine.paths, self._program.name)

    def _words(self) -> str:
        paths, program = self._engine.paths, self._program
        own = self._engine.settings.log_file(program.node, program.number)
        words = last_words(paths.program_log(program.name), own, self._began)
        return f": {words}" if words else ""


def relay_of(paths: HivePaths, program: str) -> Relay:
    """The files by which processes of ``program`` hand over to each other."""
    return Relay.at(paths.program_pid(program))


def clear(relay: Relay) -> None:
    """Kill a successor that lives, and forget it."""
    identity = PidFile(relay.next_pidfile).living()
    if identity is not None:
        kill_group(identity)
        gone(identity, END)
    relay.next_pidfile.unlink(missing_ok=True)
    relay.clear()


def gone(identity: ProcessIdentity, limit: float) -> bool:
    """Wait until that process has ended; False if it has not after ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while identity.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True


def take_place(paths: HivePaths, program: str) -> bool:
    """Put a living successor into the program's pidfile; False if there is none. Raises OSError."""
    relay = relay_of(paths, program)
    record = PidFile(relay.next_pidfile).read()
    if record is None or not record.identity.is_alive():
        return False
    relay.go.touch()
    PidFile(relay.pidfile).write(record.identity, record.digest)
    with suppress(OSError):
        relay.next_code.replace(relay.code)
    save_lives(paths.program_lives(program), Lives().begun(time.monotonic(), record.identity.pid), this_boot())
    relay.next_pidfile.unlink(missing_ok=True)
    return True


def left_over(paths: HivePaths) -> list[str]:
    """The programs whose successor nobody looks after, if nobody rolls."""
    return sorted(each.name.removesuffix(NEXT_PID) for each in paths.run.glob(f"*{NEXT_PID}"))


def settle(paths: HivePaths, name: str) -> bool:
    """What a hived that was killed has left, while no supervisord runs: where the old process lives its successor goes;
    where it does not, the successor is in its place. False if nobody is.
    """
    relay = relay_of(paths, name)
    if PidFile(relay.pidfile).living() is None and take_place(paths, name):
        went_over(paths, name)
        return True
    clear(relay)
    return PidFile(relay.pidfile).living() is not None


def settle_running(engine: Engine, client: SupervisorClient, name: str, patience: float) -> None:
    """The same under a supervisord, which was asked to stop the old process, or was not. Raises SupervisorError, also
    where that goes on for ``patience`` seconds.
    """
    stop_begun = _info(client, name)
    if stop_begun is not None and stop_begun.state is ProgramState.STOPPING and stop(client, [name], patience):
        raise SupervisorError(f"{name} does not end")
    info = _info(client, name)
    settle(engine.paths, name)
    client.reload()
    if info is not None and info.state not in LIVE:
        client.remove(name)  # it is taken up again as the configuration has it now
    if info is None or info.state not in LIVE:
        client.add(name)


def _info(client: SupervisorClient, name: str) -> ProgramInfo | None:
    return next((info for info in client.programs() if info.name == name), None)
