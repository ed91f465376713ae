"""A small file that is written whole, and, where the disk is full, over what is there; and folders for such files."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from io import RawIOBase
from pathlib import Path

FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})  #: what the system says of a disk without room


def put(path: Path, content: bytes) -> None:
    """Let ``path`` hold ``content``, readable by its owner only: a reader sees what was there before, or all of it.

    Where there is no room for a second file it is written over the first: that takes no room, but who reads in that
    moment may see neither. Raises OSError if that cannot be either; then it holds what it held.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(draft, content)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        _write_over(path, content)


def private_folder(folder: Path) -> None:
    """Make ``folder``, and what is missing above it, for its owner only. One that is there stays as it is: who made it
    has said who may read it. Raises OSError.
    """
    if not folder.is_dir():
        if folder.parent != folder:
            private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _write(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb", buffering=0) as out:
        _write_to(out, content)


def _write_over(path: Path, content: bytes) -> None:
    """What is longer than before comes first: only for that there may be no room."""
    with path.open("r+b", buffering=0) as out:
        size = out.seek(0, os.SEEK_END)
        try:
            _write_to(out, content[size:])
        except OSError:
            out.truncate(size)
            raise
        out.seek(0)
        _write_to(out, content[:size])
        out.truncate(len(content))


def _write_to(out: RawIOBase, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += out.write(content[written:]) or 0
