"""`hm dev` while files change: restarts what a changed file belongs to, and nothing that would not load."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from pathlib import Path

import watchfiles

from ..errors import HivemindError
from ..settings import load_settings
from .actions import Request, Verb, act
from .engine import Engine, engine_for
from .files import read_json
from .foreground import Job, Screen
from .lifecycle import reload
from .paths import HivePaths
from .plan import Plan, load
from .processes import REDIS, ROOT
from .topology import Program

IGNORED = frozenset({"var", "tests", "static", "templates", "__pycache__", ".venv", ".git"})


class Everything(Enum):
    """What a change concerns when it is no single node."""

    CONFIGURATION = "configuration"  # reload: touches what changed only
    NODES = "nodes"  # a module that any node may use


def concerned(hive: Path, nodes: Collection[tuple[str, Path]], path: Path) -> frozenset[str | Everything]:
    """Which of ``nodes``, given with their files, (or the root) ``path`` is part of; nothing for what none runs."""
    if not path.is_relative_to(hive) or path.suffix != ".py":
        return frozenset()
    parts = path.relative_to(hive).parts
    if parts[0] in IGNORED or "__pycache__" in parts:
        return frozenset()
    if parts == ("nodes", "__init__.py") or parts[0] == "config":
        return frozenset({Everything.CONFIGURATION})
    if parts[0] == ROOT:
        return frozenset({ROOT})
    if parts[0] == "nodes":
        return frozenset(_nodes_at(hive, nodes, path)) or frozenset({Everything.NODES})
    return frozenset({Everything.NODES})


def owners(paths: HivePaths, plan: Plan) -> set[tuple[str, Path]]:
    """Every enabled node with its file, whether it runs, was stopped, or is broken."""
    programs = (*plan.programs, *plan.stopped)
    found = {(node, Path(file)) for each in programs for node, file in each.members.items() if file}
    return found | {(str(each["name"]), Path(each["file"])) for each in read_json(paths.enabled) or ()}


def _nodes_at(hive: Path, nodes: Collection[tuple[str, Path]], path: Path) -> set[str]:
    """The nodes whose own file this is, or in whose folder it lies."""
    exact = {node for node, file in nodes if file == path}
    return exact or {node for node, file in nodes if file.parent in path.parents and file.parent != hive / "nodes"}


class Reloader:
    """Watches a hive's files on a thread and acts on them in ``step``, on another: the log goes on meanwhile."""

    def __init__(self, engine: Engine, screen: Screen) -> None:
        self.engine, self.screen = engine, screen
        self._changes: queue.SimpleQueue[set[Path]] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._worker: threading.Thread | None = None

    def job(self) -> Job:
        """What the foreground does for us; begins to watch."""
        threading.Thread(target=self._watch, name="files", daemon=True).start()
        return Job(self.step, self.close)

    def step(self) -> None:
        """Act on what changed since, unless that is still being done."""
        if (self._worker is not None and self._worker.is_alive()) or self._changes.empty():
            return
        changed: set[Path] = set()
        while not self._changes.empty():
            changed |= self._changes.get()
        self._worker = threading.Thread(target=self.react, args=(changed,), name="reload")
        self._worker.start()

    def close(self) -> None:
        """Watch no more, and let the last restart end."""
        self._ending.set()
        if self._worker is not None:
            self._worker.join()

    def react(self, changed: Iterable[Path]) -> None:
        """Restart what ``changed`` concerns; say what is wrong and change nothing if it would not load."""
        plan = load(self.engine.paths)
        nodes = owners(self.engine.paths, plan)
        found = frozenset[str | Everything]().union(
            *(concerned(self.engine.paths.hive, nodes, each) for each in changed)
        )
        running = {name: each.node for each in plan.programs for name in (each.node, *each.members)}
        try:
            if Everything.CONFIGURATION in found:
                self._reload()
            if not found.isdisjoint(each.node for each in plan.problems):
                reload(self.engine)  # starts what is mended
            everyone = running.keys() - {ROOT, REDIS} if Everything.NODES in found else set()
            names = {running[each] for each in everyone | found if isinstance(each, str) and each in running}
            self._restart([each for each in plan.programs if each.node in names])
        except HivemindError as error:
            self.screen.say(f"not reloaded: {error}")

    def _reload(self) -> None:
        self.engine = engine_for(load_settings(self.engine.paths.hive, self.engine.environ), self.engine.environ)
        done = reload(self.engine, in_turn=False)  # somebody waits for it
        for problem in done.problems:
            self.screen.problem(problem)
        touched = (*done.added, *done.changed, *done.removed)
        self.screen.say(f"configuration reloaded: {', '.join(touched) or 'nothing had to be touched'}")

    def _restart(self, programs: Sequence[Program]) -> None:
        members = {each.node: tuple(each.members) for each in programs}
        sound = [name for name in sorted(members) if not self._is_broken(name, members[name])]
        if sound:
            self.screen.say(f"changed: restarting {', '.join(sound)}")
            act(self.engine, Request(Verb.RESTART, tuple(sound)))

    def _is_broken(self, name: str, members: Collection[str]) -> bool:
        nodes = [each for each in self.engine.nodes() if each.name in members]
        problems = self.engine.check(nodes)
        for problem in problems:
            self.screen.problem(problem)
            self.screen.say(f"{name} goes on as it was")
        return bool(problems)

    def _watch(self) -> None:
        accept: Callable[[watchfiles.Change, str], bool] = lambda _, path: path.endswith(".py")  # noqa: E731 - mypy needs its type
        hive = self.engine.paths.hive
        for changes in watchfiles.watch(hive, watch_filter=accept, stop_event=self._ending, raise_interrupt=False):
            self._changes.put({Path(path) for _, path in changes})
