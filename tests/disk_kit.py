"""Disks that tests can spoil: one of a few megabytes that can be filled, a file system in memory, which only root may
mount; and one that takes its time, by a library that is preloaded into Redis.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .clock_kit import shim

SIZE = "8m"
CHUNK = bytes(64 * 1024)
UNSYNCED = Path(__file__).with_name("unsynced.c")


class Disk:
    """What is mounted at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no room for anything."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (len(CHUNK), 4096, 1):
                try:
                    while file.write(CHUNK[:size]):
                        pass
                except OSError:
                    continue

    def clear(self) -> None:
        """Make room again."""
        self._filler.unlink()


@contextmanager
def small_disk(folder: Path, size: str = SIZE) -> Iterator[Disk]:
    """Mount one at ``folder``, which need not be there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "hm-small", folder], check=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """The disk to which the Redis writes that is started with its ``environment``: it takes its time from ``file``, and
    notes how much of each append-only file surely is there.
    """

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "SLOW_DISK": str(self.file)}

    def takes(self, seconds: float) -> None:
        """From now on, for each write that is asked for (fsync)."""
        new = self.file.with_suffix(".new")
        new.write_bytes(struct.pack("=q", round(seconds * 1e6)))
        new.replace(self.file)


def slow_disk(folder: Path) -> SlowDisk | None:
    """One that takes no longer than it has to, as yet; None where there is no compiler, or no Linux."""
    library = shim(UNSYNCED)
    return None if library is None else SlowDisk(library, folder / "slow-disk")
