"""Wall clocks that a test turns under a running process, by a small library that is preloaded into it."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NO_COMPILER = "no C compiler, or not Linux: nothing can be preloaded into a process"
SOURCE = Path(__file__).with_name("turned_clock.c")
HOUR = 3600


@cache
def shim(source: Path = SOURCE) -> Path | None:
    """A library to be preloaded, built once for each run of the tests; None where it cannot be."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = Path(tempfile.mkdtemp(prefix="hm-clock-")) / source.with_suffix(".so").name
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True, timeout=60)
    return library


@dataclass(frozen=True, slots=True)
class TurnedClock:
    """The wall clock of all processes that are started with its ``environment``."""

    library: Path
    file: Path

    def __post_init__(self) -> None:
        self.turn_to(0)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "TURNED_CLOCK": str(self.file)}

    def turn_to(self, seconds: int) -> None:
        """Set it, at once, so far ahead of the real time (or, if negative, behind)."""
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))
