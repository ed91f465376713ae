"""Which programs run, and which process each of them is; cheap enough to be asked twice a second."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from ..identity import PidFile, PidRecord, ProcessIdentity
from .client import ProgramInfo, ProgramState
from .files import time_of
from .paths import HivePaths
from .plan import Plan, load

WATCHED = ("node", "root")


class Running:
    """Reads files again only when they have changed. ``infos`` gives what supervisord said last: nobody asks it."""

    def __init__(self, paths: HivePaths, infos: Callable[[], Collection[ProgramInfo]]) -> None:
        self._paths, self._infos = paths, infos
        self._plan, self._planned = Plan(()), -1
        self._records: dict[Path, tuple[int, PidRecord | None]] = {}

    def plan(self) -> Plan:
        """What was applied last."""
        stamp = time_of(self._paths.plan)
        if stamp != self._planned:
            self._plan, self._planned = load(self._paths), stamp
        return self._plan

    def now(self) -> dict[str, ProcessIdentity]:
        """By program, the process of each node and root that supervisord has as running, adopted or not."""
        files = {
            program.name: Path(program.pidfile) if program.pidfile else self._paths.program_pid(program.name)
            for program in self.plan().programs
            if program.kind in WATCHED
        }
        found = {}
        for info in self._infos():
            if info.state is ProgramState.RUNNING and info.name in files:
                record = self._record(files[info.name])
                if record is not None and _is_it(record.identity, info):
                    found[info.name] = record.identity
        return found

    def _record(self, path: Path) -> PidRecord | None:
        stamp = time_of(path)
        known = self._records.get(path)
        if known is None or known[0] != stamp:
            known = self._records[path] = stamp, PidFile(path).read()
        return known[1]


def _is_it(identity: ProcessIdentity, info: ProgramInfo) -> bool:
    """Whether that process lives: supervisord's own child does, as it says; one that was adopted is looked at."""
    return identity.pid == info.pid or identity.is_alive()
