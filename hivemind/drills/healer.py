"""The healer: a process that takes a fault back when the drill that made it cannot, because it was killed.

It is started before any fault, in a session of its own. The drill tells it, a JSON object a line, what to undo; it
acts when its standard input ends without "done" before, or when nothing has come for ``PATIENCE`` seconds:

    {"thaw": PROCESS}  {"configure": {"maxmemory": "0"}}  {"remove": PATH}  {"end": PROCESS}  {"mended": true}
    {"done": true}

"mended" means that what was frozen goes on, what filled a disk is gone, and Redis is set as before: only the probes are
still to be ended then.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import orjson

from ..bus.commands import Commands
from ..bus.credentials import HIVED
from ..bus.endpoint import Endpoint
from ..errors import RedisError, SupervisorError
from ..identity import ProcessIdentity
from ..supervisor.keeper import kill, kill_group
from .cleaning import clean

PATIENCE = 300.0  #: seconds
URL = "HIVEMIND_DRILL_REDIS"  #: the environment variable that names the Redis: a command line may be read by others
VAR = "HIVEMIND_DRILL_VAR"  #: the one with the hive's ``var``, in which it is written how to log in
TRIES = 60  #: how often Redis is asked to take something
PAUSE = 0.5  #: seconds between two tries
READY = b"ok\n"


@dataclass(frozen=True, slots=True)
class Undo:
    """What is to be undone: who is to go on, which files are to go, how Redis was set, which probes are to end."""

    thaw: tuple[ProcessIdentity, ...] = ()
    remove: tuple[str, ...] = ()
    configure: Mapping[str, str] = field(default_factory=dict)
    end: tuple[ProcessIdentity, ...] = ()
    is_done: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether something is left to undo: a drill may have been done, and not have come as far as to mend."""
        return not self.is_done or bool(self.thaw or self.remove or self.configure)

    def told(self, line: bytes) -> Undo:
        """With one line more. What is none of ours is ignored."""
        try:
            said = orjson.loads(line)
            match said:
                case {"thaw": process}:
                    return replace(self, thaw=(*self.thaw, ProcessIdentity.from_json(process)))
                case {"end": process}:
                    return replace(self, end=(*self.end, ProcessIdentity.from_json(process)))
                case {"remove": str(path)}:
                    return replace(self, remove=(*self.remove, path))
                case {"configure": dict(values)}:
                    return replace(self, configure={str(name): str(value) for name, value in values.items()})
                case {"mended": True}:
                    return replace(self, thaw=(), remove=(), configure={})
                case {"done": True}:
                    return replace(self, is_done=True)
        except ValueError:
            pass
        return self


class Healer:
    """The drill's hand on the healer's process; ``async with`` starts it, and lets it go when all is well again."""

    def __init__(self, url: str, hive: str, var: Path | None = None) -> None:
        self._url, self._hive, self._var = url, hive, var
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hivemind.drills.healer",
            self._hive,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, URL: self._url, VAR: str(self._var or "")},
            start_new_session=True,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if kind is None:
            await self._tell({"done": True})
        self._process.stdin.close()  # without a word before, it does what we could not
        await self._process.wait()

    async def thaw(self, process: ProcessIdentity) -> None:
        """Tell that a process will be stopped."""
        await self._tell({"thaw": process.to_json()})

    async def remove(self, file: Path) -> None:
        """Tell of a file that is to go."""
        await self._tell({"remove": str(file)})

    async def configure(self, values: Mapping[str, str]) -> None:
        """Tell how Redis is set: it will be set otherwise."""
        await self._tell({"configure": dict(values)})

    async def end(self, process: ProcessIdentity) -> None:
        """Tell of a probe."""
        await self._tell({"end": process.to_json()})

    async def mended(self) -> None:
        """Tell that the fault was taken back."""
        await self._tell({"mended": True})

    async def _tell(self, said: Mapping[str, Any]) -> None:
        """Return when it knows. Raises SupervisorError when it has ended: then nothing may be broken."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(orjson.dumps(said) + b"\n")
            await process.stdin.drain()
            if await process.stdout.readline() == READY:
                return
        except OSError:
            pass
        raise SupervisorError("who would take the fault back has ended: nothing more is done")


def main(arguments: Sequence[str]) -> int:
    """Wait until it is needed, or not any more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    undo = listen()
    if undo.is_needed:
        asyncio.run(heal(undo, endpoint_of(os.environ, arguments[0])))
    return 0


def listen() -> Undo:
    """What is to be undone when the drill has ended, or says nothing for too long."""
    undo, rest = Undo(), b""
    while select.select([0], [], [], PATIENCE)[0] and (found := os.read(0, 65536)):
        *lines, rest = (rest + found).split(b"\n")
        for line in lines:
            undo = undo.told(line)
            try:
                os.write(1, READY)
            except OSError:
                return undo
        if undo.is_done:
            break
    return undo


def endpoint_of(environ: Mapping[str, str], hive: str) -> Endpoint:
    """The Redis that the environment names, as hived reaches it."""
    var = environ.get(VAR, "")
    return Endpoint.parse(environ[URL], Path(var) if var else None, HIVED).of(hive)


async def heal(undo: Undo, endpoint: Endpoint) -> None:
    """Undo it, the most urgent first; what Redis has to do is tried for a while."""
    undo_at_once(undo)
    async with Commands(endpoint) as commands:
        for name, value in undo.configure.items():
            await _insist(commands, "CONFIG", "SET", name, value)
        await _ended(undo.end)
        await _cleaned(commands)


def undo_at_once(undo: Undo) -> None:
    """What nobody else has to do."""
    for process in undo.thaw:
        kill(process, signal.SIGCONT)
    for path in undo.remove:
        with suppress(OSError):
            Path(path).unlink()


async def _insist(commands: Commands, *command: str) -> None:
    for _ in range(TRIES):
        try:
            await commands.execute(*command)
        except RedisError:
            await asyncio.sleep(PAUSE)
        else:
            return


async def _ended(processes: Sequence[ProcessIdentity]) -> None:
    """The probes end by themselves, unless they stand still."""
    for number in (signal.SIGCONT, signal.SIGTERM):
        for process in processes:
            kill(process, number)
    for _ in range(TRIES):
        if not any(process.is_alive() for process in processes):
            return
        await asyncio.sleep(PAUSE / 5)
    for process in processes:
        kill_group(process)


async def _cleaned(commands: Commands) -> None:
    for _ in range(TRIES):
        try:
            await clean(commands, commands.endpoint.names)
        except RedisError:
            await asyncio.sleep(PAUSE)
        else:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
