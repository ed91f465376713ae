"""The logs of this host in bounded bits, for `hm logs` on another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from ..log_files import Follower, last_entries
from ..log_lines import LATEST, LogLine
from ..settings import Settings, logged_in

MOST = 1024 * 1024  #: bytes of text in one look; what is older is left out, and counted
READ = 8 * MOST  #: bytes that are read for the first look, of all files together
LONGEST = 16 * 1024  #: characters of one entry
BIT = 64 * 1024  #: bytes of text in one answer, about


def log_files(settings: Settings) -> dict[str, Path]:
    """The log file of each instance that has one: ``batsignal.0`` -> ``batsignal.log``, and ``-1`` for copy 1."""
    folder = settings.constants.LOG_LOCATION
    return {logged_in(path): path for path in (sorted(folder.glob("*.log")) if folder.is_dir() else ())}


def with_shared(settings: Settings, nodes: Sequence[str]) -> tuple[str, ...]:
    """``nodes``, and the processes that they share by the settings: these have the logs. ``batman.1`` is one copy."""
    found = list(nodes)
    for name in nodes:
        node, dot, number = name.partition(".")
        tuning = settings.constants.NODES.get(node)
        found += [f"{tuning.process}{dot}{number}"] if tuning is not None and tuning.process else []
    return tuple(found)


def chosen(files: dict[str, Path], nodes: Sequence[str]) -> list[Path]:
    """Those of ``files`` that are of ``nodes``, each a node or one copy; all if none is named."""
    return [path for name, path in files.items() if not nodes or name in nodes or name.rpartition(".")[0] in nodes]


@dataclass(frozen=True, slots=True)
class Bit:
    """Some entries by time, and how many of about their time were ``left_out`` because they are too many."""

    lines: tuple[LogLine, ...] = ()
    left_out: int = 0

    def to_json(self) -> str:
        """As it travels; an entry that is too long is cut."""
        lines = [[each.time, each.level, each.name, _short(each.text), str(each.source)] for each in self.lines]
        about = [[each.instance, each.topic, each.message] for each in self.lines]
        more: dict[str, Any] = {"about": about} if any(map(any, about)) else {}
        if any(each.trace for each in self.lines):
            more["traces"] = [each.trace for each in self.lines]  # apart: an older version takes three things each
        return orjson.dumps({"lines": lines, "left_out": self.left_out, **more}).decode()


def bit_in(text: str, host: str) -> Bit | None:
    """What came from ``host``; None if it is nothing of the kind."""
    try:
        raw: dict[str, Any] = orjson.loads(text)
        about = raw.get("about") or [("", "", "")] * len(raw["lines"])
        traces = raw.get("traces") or [""] * len(raw["lines"])
        lines = [
            LogLine(
                float(time), str(level), str(name), str(said), Path(str(source)), host, *_ids(more), trace=str(trace)
            )
            for (time, level, name, said, source), more, trace in zip(raw["lines"], about, traces, strict=True)
        ]
        found = Bit(tuple(lines), int(raw["left_out"]))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return found if all(0 <= line.time < LATEST for line in lines) else None


def _ids(said: Sequence[object]) -> tuple[str, str, str]:
    instance, topic, message = said
    return str(instance), str(topic), str(message)


def _short(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


@dataclass(slots=True)
class LogTail:
    """The end of the logs of ``nodes``, then what is added: call ``more`` as often as is wanted. It reads files: at
    first ``read`` bytes of all together, and none to which a link leads out of the folder.
    """

    settings: Settings
    nodes: tuple[str, ...]
    read: int = READ
    _followers: dict[Path, Follower] = field(default_factory=dict)

    def first(self, since: float | None) -> list[Bit]:
        """The end of each file, with what was just rotated away; only what is newer than ``since`` (unix seconds)."""
        files = self._files()
        each = max(min(BIT, self.read), self.read // max(1, len(files)))
        lines: list[LogLine] = []
        for path in files:
            size = _size(path)
            before = path.with_name(f"{path.name}.1")
            if size < each:
                older = last_entries(before, each - size)
                lines += [replace(one, source=path) for one in older[_size(before) > each - size :]]
            self._followers[path] = Follower(path, begin=max(0, size - each))
            lines += self._followers[path].read()[size > each :]  # reading begins inside of an entry
        return bits([one for one in lines if since is None or one.time >= since])

    def more(self) -> list[Bit]:
        """What was added since the last look, also to files that are new."""
        for path in self._files():
            if path not in self._followers:
                self._followers[path] = Follower(path)
        return bits([line for follower in self._followers.values() for line in follower.read()])

    def close(self) -> None:
        """Close all files."""
        for follower in self._followers.values():
            follower.close()

    def _files(self) -> list[Path]:
        folder = self.settings.constants.LOG_LOCATION.resolve()
        files = chosen(log_files(self.settings), with_shared(self.settings, self.nodes))
        return [path for path in files if not path.is_symlink() or path.resolve().is_relative_to(folder)]


def bits(lines: Sequence[LogLine]) -> list[Bit]:
    """The newest of ``lines``, MOST bytes, in bits by time; the first says how many older ones were left out."""
    by_time = sorted(lines, key=lambda line: line.time)
    sizes = [min(len(line.text), LONGEST) + len(line.name) + 64 for line in by_time]
    kept, room = len(by_time), MOST
    while kept and (room := room - sizes[kept - 1]) >= 0:
        kept -= 1
    found = list(_parts(by_time[kept:], sizes[kept:]))
    return [Bit(found[0].lines, kept), *found[1:]] if found and kept else found


def _parts(lines: Sequence[LogLine], sizes: Sequence[int]) -> Iterator[Bit]:
    part: list[LogLine] = []
    size = 0
    for line, more in zip(lines, sizes, strict=True):
        if part and size + more > BIT:
            yield Bit(tuple(part))
            part, size = [], 0
        part.append(line)
        size += more
    if part:
        yield Bit(tuple(part))


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
