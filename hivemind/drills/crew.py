"""The probes of a drill, as processes: begun, told when to send, killed, begun again, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import SupervisorError
from ..identity import ProcessIdentity
from ..settings import HIVE
from ..supervisor.keeper import kill, kill_group
from .books import Account, Books
from .cleaning import clean
from .diary import Pages
from .healer import Healer
from .probe import INSTANCES, PREFIX
from .site import Site

START = 30.0  #: seconds in which the probes have to be there
STOP = 10.0  #: seconds in which they have to end
STEP = 0.02


@dataclass(slots=True)
class Member:
    """One probe: its process now, and when we ended it (0.0: it lives)."""

    instance: str
    process: asyncio.subprocess.Process
    identity: ProcessIdentity
    ended: float = 0.0

    @property
    def life(self) -> str:
        """How it is called in the books."""
        return f"{self.instance}.{self.identity.pid}"


class Crew:
    """All probes in one hive; their diaries lie in ``folder``."""

    def __init__(self, site: Site, healer: Healer, folder: Path, *, is_canary: bool = False) -> None:
        self.site, self.healer, self.folder, self.is_canary = site, healer, folder, is_canary
        self.members: dict[str, Member] = {}
        self.books = Books()
        self._pages = Pages(folder)

    async def start(self) -> float:
        """Begin those that do not live; return in how many seconds all were there. Raises SupervisorError."""
        began = time.monotonic()
        for instance in INSTANCES:
            member = self.members.get(instance)
            if member is None or member.ended:
                await self._begin(instance)
        while len(self.site.lives(INSTANCES)) < len(INSTANCES) or not self._are_those():
            if time.monotonic() > began + START:
                raise SupervisorError(f"the probes did not start within {START:g} s: {self._last_words()}")
            await asyncio.sleep(STEP)
            await self.site.look()
        return time.monotonic() - began

    def _are_those(self) -> bool:
        """Whether the registry has the very processes that we began."""
        return all(
            (found := self.site.seen.get(one.instance)) is not None and found.about.process == one.identity
            for one in self.members.values()
        )

    async def _begin(self, instance: str) -> None:
        name, _, number = instance.removeprefix(f"{PREFIX}-").partition(".")
        dropped = ("HIVEMIND_SUPERVISED", "HIVEMIND_LOG_LEVEL")
        environ = {key: value for key, value in os.environ.items() if key not in dropped}
        environ |= {"HIVEMIND_REDIS_URL": self.site.url, HIVE: str(self.site.engine.paths.hive)}
        environ |= {"HIVEMIND_MIDDLEWARE": "[]", "HIVEMIND_PROPAGATE": "[]"}
        command = [sys.executable, "-m", "hivemind.drills.probe", name, number, str(self.folder)]
        with (self.folder / f"{instance}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                *(["--canary"] if self.is_canary else []),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environ,
                start_new_session=True,
            )
        identity = ProcessIdentity.of(process.pid)
        if identity is None:
            raise SupervisorError(f"the probe {instance} ended at once: {self._last_words()}")
        await self.healer.end(identity)
        self.members[instance] = Member(instance, process, identity)

    def kill(self, instance: str) -> None:
        """Kill one, for good until ``start``."""
        member = self.members[instance]
        kill(member.identity, signal.SIGKILL)
        member.ended = time.monotonic()

    @property
    def lives(self) -> list[str]:
        """How those that live are called in the books."""
        return [one.life for one in self.members.values() if not one.ended]

    # -- sending

    def go(self) -> None:
        """Let everybody send, and begin new books."""
        self.read()
        self.books = self.books.next()
        self._say("go")

    def quiet(self) -> None:
        """Let nobody send any more."""
        self._say("quiet")

    def _say(self, word: str) -> None:
        for member in self.members.values():
            if not member.ended and member.process.stdin is not None:
                member.process.stdin.write(f"{word}\n".encode())

    def read(self) -> None:
        """Enter what was written down since the last time."""
        for life, line in self._pages.new():
            self.books.enter(life, line)

    def counted(self) -> dict[str, int]:
        """What the ledgers of those that live counted as missed or dropped, as the registry has it."""
        found = {}
        for member in self.members.values():
            one = self.site.seen.get(member.instance)
            live = [] if one is None else [each for each in one.stats.subscriptions if not each.group]
            found[member.life] = sum(each.missed + each.dropped for each in live)
        return found

    def account(self) -> Account:
        """What came of all messages of this drill."""
        return self.books.account(self.lives)

    # -- the end

    async def end(self) -> None:
        """End all, and remove what they left in Redis. Raises RedisError."""
        for member in self.members.values():
            if not member.ended:
                kill(member.identity, signal.SIGCONT)
                kill(member.identity, signal.SIGTERM)
        waiting = [asyncio.create_task(one.process.wait()) for one in self.members.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=STOP)
        for member in self.members.values():
            kill_group(member.identity)
        if waiting:
            await asyncio.wait(waiting)
        await clean(self.site.bus.commands, self.site.bus.names)

    def _last_words(self) -> str:
        """The last line that one of them printed."""
        lines = [
            path.read_text(errors="replace").strip().rpartition("\n")[2] for path in sorted(self.folder.glob("*.log"))
        ]
        return next((line for line in reversed(lines) if line), "they said nothing")
