"""Log files: the file that rotates itself, and reading many files as one log by time.

Lines of both forms may stand in one file. Lines of neither belong to the one before (a traceback, what a C library
wrote).
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from .log_lines import LogLine, parse_line
from .whole import private_folder


def merge(files: Sequence[Path], since: float | None = None) -> Iterator[LogLine]:
    """All entries of ``files`` and of their rotated backups, by time, each with the file it belongs to.

    ``since`` (unix seconds) leaves out what is older. Files that do not exist are empty. Raises OSError if one
    cannot be read.
    """
    with ExitStack() as stack:
        logs = [_entries(file, [stack.enter_context(part) for part in _open_parts(file)]) for file in files]
        for line in heapq.merge(*logs, key=lambda line: line.time):
            if since is None or line.time >= since:
                yield line


def last_entries(path: Path, size: int) -> list[LogLine]:
    """The entries in the last ``size`` bytes of one log file, the first maybe cut; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return list(_entries(path, [file]))
    except OSError:
        return []


class Follower:
    """Reads what is added to one log file, across its rotations; the file need not exist yet.

    It begins after ``begin`` bytes, or at the beginning of a file that has fewer. It never blocks: call ``read`` as
    often as is wanted.
    """

    def __init__(self, path: Path, *, begin: int = 0) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._partial = b""
        self._last = LogLine(0.0, "", "", "", path)
        self._open()
        if self._file:
            self._file.seek(begin)

    def read(self) -> list[LogLine]:
        """The entries that are new and whole. Lines that continue an entry read earlier bear its time and name."""
        lines = self._read_lines()
        if self._is_rotated():
            self.close()
            self._open()
            lines += self._read_lines()
        entries = list(_assemble(lines, self._last))
        if entries:
            self._last = entries[-1]
        return entries

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file:
            self._file.close()
        self._file, self._partial = None, b""

    def _open(self) -> None:
        try:
            self._file = self.path.open("rb")
        except FileNotFoundError:
            self._file = None

    def _read_lines(self) -> list[str]:
        if not self._file:
            return []
        if self._file.tell() > os.fstat(self._file.fileno()).st_size:  # somebody emptied the file
            self._file.seek(0)
            self._partial = b""
        *lines, self._partial = (self._partial + self._file.read()).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def _is_rotated(self) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False  # between two names, or not there yet
        return self._file is None or not os.path.samestat(now, os.fstat(self._file.fileno()))


class RotatingFile:
    """A log file written by one thread, rotated by whoever writes it; a write never raises.

    When a line would take it over ``max_bytes`` (0: never) it becomes ``<path>.1`` and so on up to ``backups``, and
    a new file begins; ``follow`` is told each new file descriptor. If the file was removed, a new one is made; if
    it cannot be rotated, it grows; if it cannot be written, the lines are lost and counted by the caller, and the
    next write tries again. Not in a forked child: that one writes, and leaves the rotating to its parent.
    """

    def __init__(self, path: Path, max_bytes: int, backups: int, follow: Callable[[int], None] | None = None) -> None:
        self.path, self.max_bytes, self.backups = path, max_bytes, backups
        self.error: OSError | None = None  # why the last lines were lost
        self.follow = follow
        self._owner = os.getpid()
        self._fd: int | None = None
        self._end = 0  # its size when we last wrote: more than that, and somebody else wrote too
        self._closed = False

    def open(self) -> None:
        """Make the folder and the file, and append to it from now on. Raises OSError."""
        private_folder(self.path.parent)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        self._release()
        self._fd, self._end = fd, -1
        if self.follow:
            self.follow(fd)

    def write(self, lines: Sequence[bytes]) -> int:
        """Append ``lines``, each with its line end; returns how many of them were lost."""
        lost, at = 0, 0
        while at < len(lines):
            count = self._make_room(lines, at)
            lost += count - self._append(lines[at : at + count])
            at += count
        return lost

    def tidy(self) -> None:
        """Rotate if others (C libraries, child processes) have filled the file; for when there is nothing to write."""
        if not self._closed and self._size() > self.max_bytes:
            self._rotate()

    def close(self) -> None:
        """Close the file for good; may be called twice. What is written afterwards is lost."""
        self._closed = True
        self._release()

    def _make_room(self, lines: Sequence[bytes], at: int) -> int:
        # How many of the lines from `at` on go into the present file: at least one, however long.
        size = self._size()
        if size and self.max_bytes and size + len(lines[at]) > self.max_bytes:
            self._rotate()
            size = self._size()
        end = at
        while end < len(lines) and (not self.max_bytes or size + len(lines[end]) <= self.max_bytes):
            size += len(lines[end])
            end += 1
        return max(1, end - at)

    def _size(self) -> int:
        # The size of the file at our path; one that is not there (any more) is made.
        if self._closed:
            return 0
        try:
            here = self.path.stat()
            if self._fd is not None and os.path.samestat(here, os.fstat(self._fd)):
                return here.st_size
        except OSError as error:
            self.error = error
        try:
            self.open()
        except OSError as error:
            self.error = error
        return 0 if self._fd is None else os.fstat(self._fd).st_size

    def _append(self, lines: Sequence[bytes]) -> int:
        if self._fd is None:
            return 0
        data = b"".join(lines)
        written = 0
        try:
            if self._is_torn(self._fd):
                os.write(self._fd, b"\n")
            while written < len(data):
                written += os.write(self._fd, data[written:])
            self._end = os.fstat(self._fd).st_size
        except OSError as error:
            self.error, self._end = error, -1
        return len(lines) if written == len(data) else data.count(b"\n", 0, written)

    def _is_torn(self, fd: int) -> bool:
        # Whether somebody else (or a full disk) left the file in the middle of a line.
        size = os.fstat(fd).st_size
        return size not in (0, self._end) and _last_byte(fd, size) != b"\n"

    def _rotate(self) -> None:
        if os.getpid() != self._owner:
            return
        if os.name == "nt":  # pragma: no cover  (Windows renames no open file)
            self._release()
        try:
            for number in range(self.backups - 1, 0, -1):
                backup = _backup(self.path, number)
                if backup.exists():
                    backup.replace(_backup(self.path, number + 1))
            if self.backups > 0:
                self.path.replace(_backup(self.path, 1))
            else:
                self.path.unlink()
            self.open()
        except OSError as error:
            self.error = error

    def _release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None


def _backup(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _last_byte(fd: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, 1, size - 1)
    os.lseek(fd, size - 1, os.SEEK_SET)  # pragma: no cover  (Windows; appending goes to the end anyway)
    return os.read(fd, 1)  # pragma: no cover


def _open_parts(path: Path) -> list[BinaryIO]:
    # The file and its backups, oldest first. A rotation meanwhile shows one file twice: told by its inode.
    parts: dict[tuple[int, int], BinaryIO] = {}
    number = 0
    while True:
        try:
            part = (_backup(path, number) if number else path).open("rb")
        except FileNotFoundError:
            if number:
                return list(reversed(parts.values()))
        else:
            status = os.fstat(part.fileno())
            if parts.setdefault((status.st_dev, status.st_ino), part) is not part:
                part.close()
        number += 1


def _entries(path: Path, parts: Iterable[BinaryIO]) -> Iterator[LogLine]:
    lines = (line.decode("utf-8", "replace") for part in parts for line in part)
    return _assemble(lines, LogLine(0.0, "", "", "", path))


def _assemble(lines: Iterable[str], last: LogLine) -> Iterator[LogLine]:
    # Entries with the lines that continue them. `last` lends time and name to lines before the first entry.
    head: LogLine | None = None
    text: list[str] = []
    for line in lines:
        entry = parse_line(line)
        if entry:
            if text:
                yield replace(head or _headless(last, entry), text="\n".join(text))
            head, text = replace(entry, source=last.source), [entry.text]
        else:
            text.append(line.rstrip("\r\n"))
    if text:
        yield replace(head or last, text="\n".join(text))


def _headless(last: LogLine, following: LogLine) -> LogLine:
    return last if last.name else replace(last, time=following.time)
