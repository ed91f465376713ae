"""A small file that is written whole, and, where the disk is full, over what is there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def put(path: Path, content: bytes) -> None:
    """Let ``path`` hold ``content``, readable by its owner only: a reader sees what was there before, or all of it.

    Where there is no room for a second file it is written over the first: that takes no room, but who reads in that
    moment may see neither. Raises OSError if that cannot be either.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(draft, content, os.O_CREAT | os.O_TRUNC)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        _write(path, content, 0)


def _write(path: Path, content: bytes, flags: int) -> None:
    file = os.open(path, os.O_WRONLY | flags, 0o600)
    with os.fdopen(file, "wb", buffering=0) as out:
        written = 0
        while written < len(content):
            written += out.write(content[written:]) or 0
        out.truncate()
