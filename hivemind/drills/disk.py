"""The disk of the hive's own Redis, without room for a while."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from ..bus.embedded import Embedded
from ..errors import SupervisorError
from .faults import Fault, Scene

FILLER = "hm-drill.filler"
LARGEST = 256 * 1024 * 1024  #: bytes of a file system that a drill fills
SIZES = (1024 * 1024, 4096, 1)  #: bytes that are written at once, until not one more can be


class FillDisk(Fault):
    """The disk of the hive's own Redis has no room left for a while. Only where nobody else's files are on it."""

    name = "fill disk"
    lasts = 4.0
    harms_all = True

    def __init__(self, scene: Scene, target: str) -> None:
        super().__init__(scene, target)
        self.folder = Embedded.of(self.site.settings).folder
        self.filler = self.folder / FILLER
        self.began = time.monotonic()

    async def prepare(self) -> None:
        """Look whether only this hive can come to harm. Raises SupervisorError where others can, too."""
        self.target = "disk"
        self.site.redis()
        hive = self.site.engine.paths.hive
        is_shared = self.folder.stat().st_dev == hive.stat().st_dev
        if is_shared or shutil.disk_usage(self.folder).total > LARGEST:
            raise SupervisorError(
                f"fill disk is for a hive with a small file system of its own at {self.folder.parent}, of "
                f"{LARGEST >> 20} MiB at the most: here others would have no room either"
            )

    async def inject(self) -> None:
        """Leave no room; the healer makes some, if we cannot."""
        await self.scene.healer.remove(self.filler)
        self.began = time.monotonic()
        await asyncio.to_thread(fill, self.filler)

    async def happened(self) -> bool:
        """Whether there is none."""
        return shutil.disk_usage(self.folder).free == 0

    async def noticed(self) -> bool:
        """Whether a probe was told that its messages are not kept."""
        return any(at > self.began for at in self.scene.crew.books.trouble)

    async def heal(self) -> None:
        """Make room."""
        self.filler.unlink(missing_ok=True)

    async def is_over(self) -> bool:
        """Whether there is room."""
        return not self.filler.exists()


def fill(filler: Path) -> None:
    """Write a file until there is no room for one more byte."""
    file = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in SIZES:
            with suppress(OSError):
                while os.write(file, bytes(size)):
                    pass
    finally:
        os.close(file)
