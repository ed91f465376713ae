"""hived's files: written whole and for their owner only, read as if anybody could have spoilt them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson


def write_json(path: Path, value: Any) -> None:
    """Put ``value`` into ``path`` at once and whole, readable by its owner only; what is there already is not written
    again, for which a full disk has no room. Raises OSError.
    """
    _write(f".{{}}.{os.getpid()}", {path: as_json(value)})


def as_json(value: Any) -> bytes:
    """How a file of ours holds ``value``."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS) + b"\n"


def write_all(contents: Mapping[Path, bytes]) -> None:
    """The same with several files: all of them, or, where there is no room for one, none. Not for two at once. Raises
    OSError.
    """
    _write("{}.new", contents)


def _write(draft_name: str, contents: Mapping[Path, bytes]) -> None:
    drafts = {
        path: path.with_name(draft_name.format(path.name))
        for path, content in contents.items()
        if not _holds(path, content)
    }
    try:
        for path, draft in drafts.items():
            write_private(draft, contents[path])
        for path, draft in drafts.items():
            draft.replace(path)
    except OSError:
        for draft in drafts.values():
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        raise


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read. Raises OSError."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(content)


def read_json(path: Path) -> Any:
    """What ``path`` holds; None if it is missing or spoilt."""
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def tail(path: Path, size: int) -> bytes:
    """The last ``size`` bytes of a file; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read(size)
    except OSError:
        return b""


def known_fields(kind: type[Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Of ``raw`` what the dataclass ``kind`` has: another version may have written more. Raises TypeError."""
    return {each.name: raw[each.name] for each in fields(kind) if each.name in raw}


def time_of(path: Path | str) -> int:
    """When a file last changed, in nanoseconds; 0 if there is none."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def inode_of(path: Path) -> int:
    """Which file it is that ``path`` names now: one that was written whole is another; 0 if there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def within(hive: Path, path: Path) -> str:
    """How a file is named to people: from the hive's folder if it lies there."""
    return str(path.relative_to(hive) if path.is_relative_to(hive) else path)
