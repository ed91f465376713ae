"""Whether what a Redis server writes lies where it is looked for, so that the next one would find it.

A manifest names the files of its data; of those it writes to one, which it has open. On Linux one can see whether that,
and the folder that the server is in, are still those in which the next one would look.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FILES = "appendonlydir"  #: where they lie, in the server's folder
HISTORY = "h"  #: the type of a file that is to be removed
TRIES = 2  #: the server may put another manifest there while we look


def has_data(folder: Path, pid: int) -> bool:
    """Whether all that the server ``pid`` has stored lies in ``folder``; where nobody can see what a process has open,
    whether there is somebody's data, whole.
    """
    return any(_has_data(folder, pid) for _ in range(TRIES))


def _has_data(folder: Path, pid: int) -> bool:
    manifests = sorted((folder / FILES).glob("*.manifest"))
    named = [path for manifest in manifests for path in named_in(manifest)]
    if not named or not all(path.exists() for path in named):
        return False
    try:
        return _is_in(folder, pid) and _writes_to(named, pid)
    except PermissionError:
        return True  # it is not for us to see
    except OSError:
        return not Path("/proc/self/cwd").exists()


def named_in(manifest: Path) -> Iterator[Path]:
    """The files that belong to the data. One that cannot be read names none."""
    with suppress(OSError, ValueError):
        for line in manifest.read_text().splitlines():
            words = shlex.split(line, comments=True)
            found = dict(zip(words[::2], words[1::2], strict=False))
            if "file" in found and found.get("type") != HISTORY:
                yield manifest.parent / found["file"]


def _is_in(folder: Path, pid: int) -> bool:
    return os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), folder.stat())


def _writes_to(named: list[Path], pid: int) -> bool:
    """Whether what it has open of its data, if it has, is one of these files."""
    opened = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if f"/{FILES}/" in str(each.readlink()):
                opened.append(each.stat())
    there = [path.stat() for path in named]
    return not opened or any(os.path.samestat(one, other) for one in opened for other in there)
