"""Files to be written together: nothing that is there is overwritten unless that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class File:
    """One file of an export; ``is_main`` if an engine is given it directly."""

    name: str
    text: str
    is_main: bool = True


def write(folder: Path, files: Sequence[File], *, replace: bool) -> dict[str, str]:
    """Write ``files`` into ``folder``; for each what became of it: written, replaced or unchanged.

    Raises ConfigurationError, before anything is written, for files that are there and say something else, unless they
    are to be replaced; and when the system refuses.
    """
    try:
        before = {file.name: _content(folder / file.name) for file in files}
        other = [file.name for file in files if before[file.name] not in (None, file.text)]
        if other and not replace:
            raise ConfigurationError(
                f"{folder}: {', '.join(other)}: there already, with something else in it, so nothing was written; "
                "--replace replaces what is there"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if before[file.name] != file.text:
                (folder / file.name).write_text(file.text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    new = {name for name, content in before.items() if content is None}
    return {
        file.name: "written" if file.name in new else "replaced" if file.name in other else "unchanged"
        for file in files
    }


def _content(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
