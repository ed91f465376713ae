"""Log files of a hive's nodes as people read them: which node wrote a line, and in which colour."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..log_files import Follower, merge
from ..log_lines import LogLine, format_line
from ..settings import logged_in
from . import output

_NODE_STYLES = ("cyan", "magenta", "blue", "green")
MOST_ERRORS = 3  #: how many `hm why` shows of one log
_LEVEL_STYLES = {"DEBUG": "dim", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class LogView:
    """Prints lines of several logs: each node in a colour of its own."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._is_coloured = output.coloured(sys.stdout)
        self._styles: dict[str, str] = {}

    def show(self, lines: Sequence[LogLine]) -> None:
        """Print ``lines``, all at once."""
        output.write_lines(output.json_text(as_dict(line)) if self._as_json else self.line(line) for line in lines)

    def plain(self, line: LogLine) -> str:
        """One entry as in the file; a name that does not tell the node has it in front, and one of another host has
        that behind.
        """
        node = _node(line)
        is_told = line.name.startswith(node) or (line.source is not None and line.name == logged_in(line.source))
        own = line.name if is_told else f"{node}/{line.name}"
        own = f"{own}@{line.host}" if line.host else own
        return output.printable(format_line(line.time, line.level or "-", own or "-", line.text))

    def line(self, line: LogLine) -> str:
        """One entry, in colours for people."""
        text = self.plain(line)
        if not self._is_coloured:
            return text
        node, stamp, rest = _node(line), text[:29], text[29:]
        style = self._styles.setdefault(node, _NODE_STYLES[len(self._styles) % len(_NODE_STYLES)])
        return output.styled(stamp, "dim") + output.styled(rest, _LEVEL_STYLES.get(line.level, style))


def _node(line: LogLine) -> str:
    return line.source.stem if line.source else ""


class Following:
    """Reads what is added to log files, those included that appear later; ``files`` is asked every time."""

    def __init__(self) -> None:
        self._followers: dict[Path, Follower] = {}

    def read(self, files: Sequence[Path]) -> list[LogLine]:
        """What is new in ``files`` since the last call, by time; the first time all of a file."""
        for path in files:
            if path not in self._followers:
                self._followers[path] = Follower(path)
        lines = [line for path in files for line in self._followers[path].read()]
        return sorted(lines, key=lambda line: line.time)

    def close(self) -> None:
        """Close all files."""
        for follower in self._followers.values():
            follower.close()


def older(files: Sequence[Path], since: float | None) -> Iterator[LogLine]:
    """What has been rotated away from ``files`` already, by time."""
    return merge([path.with_name(f"{path.name}.1") for path in files], since)


def last_errors(path: Path) -> list[LogLine]:
    """The last few entries of a log that are errors, oldest first; none if it cannot be read."""
    try:
        lines = [line for line in merge([path]) if line.level in ("ERROR", "CRITICAL")]
    except OSError:
        return []
    return lines[-MOST_ERRORS:]


def as_dict(line: LogLine) -> dict[str, Any]:
    """One entry for ``--json``; with its host if that is another one, and what a log in JSON says besides."""
    where = {"host": line.host} if line.host else {}
    found = {"time": line.time, "level": line.level, "name": line.name, "text": line.text, "file": str(line.source)}
    more = {"more_ids": list(line.more)} if line.more else {}
    return {**found, **where, **line.about(), **more}
