"""Which programs run, and which process each of them is; cheap enough to be asked again and again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from ..identity import PidFile, PidRecord, ProcessIdentity
from .client import ProgramInfo, ProgramState
from .files import time_of
from .paths import HivePaths
from .plan import Plan, load

WATCHED = ("node", "root")
UP = (ProgramState.STARTING, ProgramState.RUNNING)  # young or not: a process may stop moving in its first second, too


class Running:
    """Reads files again only when they have changed. ``infos`` gives what supervisord said last: nobody asks it."""

    def __init__(self, paths: HivePaths, infos: Callable[[], Collection[ProgramInfo]]) -> None:
        self._paths, self._infos = paths, infos
        self._records: dict[Path, tuple[int, PidRecord | None]] = {}
        self._plan, self._files = Plan(()), dict[str, Path]()
        self._children: dict[tuple[str, int, float], ProcessIdentity] = {}  # by program, pid and start
        self._known: tuple[object, Plan, dict[str, ProcessIdentity]] | None = None

    def plan(self) -> Plan:
        """What was applied last."""
        return load(self._paths)

    def known(self) -> dict[str, ProcessIdentity] | None:
        """What ``now`` gave last, the very same, if it would give that again without looking at anything."""
        if self._known is None or self._known[0] is not self._infos() or self._known[1] is not self.plan():
            return None
        return self._known[2]

    def now(self) -> dict[str, ProcessIdentity]:
        """By program, the process of each node and root that supervisord has as running, adopted or not."""
        files, found, children, infos = self._pidfiles(), dict[str, ProcessIdentity](), {}, self._infos()
        for info in infos:
            if info.state not in UP or info.name not in files:
                continue
            child = info.name, info.pid, info.started
            identity = self._children.get(child) or self._recorded(files[info.name], info)
            if identity is not None:
                found[info.name] = identity
                if identity.pid == info.pid:
                    children[child] = identity  # as long as supervisord has this child, it is what its pidfile said
        self._children = children
        up = sum(info.state in UP and info.name in files for info in infos)
        self._known = (infos, self._plan, found) if up == len(children) else None
        return found

    def _pidfiles(self) -> dict[str, Path]:
        plan = self.plan()
        if plan is not self._plan:
            watched = [each for each in plan.programs if each.kind in WATCHED]
            self._files = {each.name: Path(each.pidfile or self._paths.program_pid(each.name)) for each in watched}
            self._plan = plan
        return self._files

    def _recorded(self, path: Path, info: ProgramInfo) -> ProcessIdentity | None:
        record = self._record(path)
        return record.identity if record is not None and _is_it(record.identity, info) else None

    def _record(self, path: Path) -> PidRecord | None:
        stamp = time_of(path)
        known = self._records.get(path)
        if known is None or known[0] != stamp:
            known = self._records[path] = stamp, PidFile(path).read()
        return known[1]


def _is_it(identity: ProcessIdentity, info: ProgramInfo) -> bool:
    """Whether that process lives: supervisord's own child does, as it says; one that was adopted is looked at."""
    return identity.pid == info.pid or identity.is_alive()
