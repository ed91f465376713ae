"""Diaries: files to which processes append what they do, a JSON object a line. Who is killed loses no whole line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

Line = Mapping[str, Any]


class Diary:
    """The diary of one life, ``path``. Times in it are seconds of the clock that all processes of a machine share."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what: str, *, on_disk: bool = False, **more: Any) -> None:
        """Write one line; the kernel has it when this returns, and the disk, too, with ``on_disk``."""
        os.write(self._file, orjson.dumps({"what": what, "at": time.monotonic(), **more}) + b"\n")
        if on_disk:
            os.fsync(self._file)


class Pages:
    """The diaries in a folder, read as they grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def new(self) -> Iterator[tuple[str, Line]]:
        """Each line that has come since the last time, with whose diary it is in."""
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                found = file.read()
            whole = found[: found.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for line in whole.splitlines():
                yield path.stem, orjson.loads(line)
