"""What a reload writes over, as it was before: to be put back if supervisord cannot take the new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .files import write_all
from .paths import HivePaths


@dataclass(frozen=True, slots=True)
class Kept:
    """The contents of supervisord's configuration, of the plan, and of the environments of programs."""

    contents: Mapping[Path, bytes]
    run: Path

    @classmethod
    def of(cls, paths: HivePaths) -> Kept:
        """As they are now. Raises OSError."""
        files = (paths.conf, paths.plan, *sorted(paths.run.glob("*.env")))
        return cls({path: path.read_bytes() for path in files if path.exists()}, paths.run)

    def put_back(self) -> None:
        """Write them as they were. Raises OSError."""
        write_all(self.contents)
        for path in {*self.run.glob("*.env")} - self.contents.keys():
            path.unlink(missing_ok=True)
