"""One merged log of everything that a hive's programs on this machine write, as it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..log_files import Follower
from ..log_lines import LogLine
from .engine import Engine
from .files import time_of
from .plan import load
from .processes import REDIS
from .render import LISTENER
from .topology import Program


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log, and the program that wrote it."""

    program: str
    line: LogLine
    member: str = ""  # the node that wrote it, where several share the program's process

    @property
    def text(self) -> str:
        """What it says, and which of the nodes that share the process says it."""
        return f"{self.member}: {self.line.text}" if self.member else self.line.text


class MergedLog:
    """Follows every program's log, and what programs print before they open it, from now on.

    Programs that come later, by a reload or a scale, are followed from when they are planned; what their logs held
    when this was made is left out, too.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.width = len(LISTENER)
        self._followers: dict[Path, tuple[str, Follower]] = {}
        self._sharing: dict[str, frozenset[str]] = {}
        self._planned = 0
        own = engine.settings.log_file(LISTENER)
        self._old = {file: _size(file) for folder in (own.parent, engine.paths.log) for file in folder.glob("*.*")}
        self._follow(LISTENER, own)

    def read(self) -> list[Entry]:
        """What is new, by time as far as the lines say; call it again and again."""
        self._look_for_programs()
        entries = [self._entry(name, line) for name, follower in self._followers.values() for line in follower.read()]
        return sorted(entries, key=lambda entry: entry.line.time)

    def _entry(self, program: str, line: LogLine) -> Entry:
        return Entry(program, line, line.name if line.name in self._sharing.get(program, ()) else "")

    def close(self) -> None:
        """Close all files."""
        for _, follower in self._followers.values():
            follower.close()

    def _look_for_programs(self) -> None:
        stamp = time_of(self.engine.paths.plan)
        if stamp == self._planned:
            return
        self._planned = stamp
        for program in load(self.engine.paths).programs:
            self._sharing[program.name] = frozenset(program.sharing)
            for path in self._files(program):
                self._follow(program.name, path)

    def _files(self, program: Program) -> Iterator[Path]:
        yield self.engine.paths.program_log(program.name)
        if program.name != REDIS:
            yield self.engine.settings.log_file(program.node, program.number)

    def _follow(self, name: str, path: Path) -> None:
        if path not in self._followers:
            self._followers[path] = (name, Follower(path, begin=self._old.get(path, 0)))
            self.width = max(self.width, len(name))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
