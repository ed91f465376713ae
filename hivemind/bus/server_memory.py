"""How much memory the hive's own Redis may take: half of what there is, for this machine or for our container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SHARE = 0.5  #: the other half is for nodes, and for the copy of pages while Redis rewrites its file
LEAST = 64 * 1024 * 1024  #: bytes; where there is less, half of it would be taken by what every hive keeps
CGROUP, FILES = Path("/sys/fs/cgroup"), {"": "memory.max", "memory": "memory.limit_in_bytes"}  #: of versions 2 and 1


def most_memory() -> int:
    """Bytes that the hive's own Redis may take; 0, without a limit, where the system does not say what there is."""
    known = [size for size in (_machine(), *limits()) if size]
    return max(LEAST, int(min(known) * SHARE)) if known else 0


def _machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def limits(root: Path = CGROUP, ours: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """The limits of the control group that we are in, and of those around it. A container sees its own as the root."""
    try:
        lines = ours.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if "memory" in names.split(",") or not names:
            folder, file = (root / "memory", FILES["memory"]) if names else (root, FILES[""])
            inner = folder / path.lstrip("/")
            for each in (inner, *inner.parents):
                if each == folder or folder in each.parents:
                    yield from _limit(each / file)


def _limit(path: Path) -> Iterator[int]:
    try:
        yield int(path.read_text())
    except (OSError, ValueError):  # there is none: "max"
        return
