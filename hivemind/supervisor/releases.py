"""Releases: the Python files of a hive as they were when all went well with them, to go back to.

=====================  =======================================================================================
``draft/``             what was applied last; not proven yet
``7-3f2a9c01/``        release 7: its ``files/``, and ``release.json``, which is written last
``undone-1732…/``      what a rollback took away at that time, by its unix seconds; files that were not in the
                       release, and releases that were newer
=====================  =======================================================================================

Only ``*.py`` is in them: data that nodes keep beside their code, and files with secrets, stay as they are.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .files import read_json, write_json
from .paths import HivePaths

KEPT = 5  # releases
MOST_BYTES = 1_048_576  # of one file
ELSEWHERE = frozenset({"var", "tests", "static", "templates", "node_modules", "site-packages"})  # no code of nodes
NOTE = "release.json"
LATEST = 253_402_300_799  # unix seconds: the end of the year 9999


@dataclass(frozen=True, slots=True)
class Release:
    """One release: its ``number``, a hash over its files, when it was applied in unix seconds, and where it lies."""

    number: int
    hash: str
    made: float
    folder: Path

    @property
    def files(self) -> Path:
        """The folder that is like the hive's."""
        return self.folder / "files"


def hive_files(hive: Path) -> dict[str, Path]:
    """The Python files of the hive by their path in it."""
    found = {}
    for folder, folders, names in os.walk(hive):
        here = Path(folder)
        is_top = here == hive
        folders[:] = [each for each in folders if not _is_elsewhere(here / each, is_top=is_top)]
        for name in names:
            path = here / name
            if name.endswith(".py") and (path.is_symlink() or path.stat().st_size <= MOST_BYTES):
                found[str(path.relative_to(hive))] = path
    return dict(sorted(found.items()))


def _is_elsewhere(folder: Path, *, is_top: bool) -> bool:
    name = folder.name
    return name.startswith((".", "__pycache__")) or (is_top and name in ELSEWHERE) or (folder / "pyvenv.cfg").exists()


def hash_of(files: Mapping[str, Path]) -> str:
    """A hash over names and contents."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0".encode() + hashlib.sha256(_content(path)).digest())
    return digest.hexdigest()[:8]


def releases(paths: HivePaths) -> list[Release]:
    """Those that can be gone back to, oldest first."""
    folder = paths.releases
    known = [_release(each) for each in (folder.iterdir() if folder.is_dir() else ()) if each.name[0].isdigit()]
    return sorted((each for each in known if each is not None), key=lambda each: each.number)


def _release(folder: Path) -> Release | None:
    found = read_json(folder / NOTE)
    try:
        made = float(found["made"])
        return Release(int(found["number"]), str(found["hash"]), made, folder) if 0 <= made <= LATEST else None
    except (TypeError, KeyError, ValueError):
        return None


def draft(paths: HivePaths) -> None:
    """Keep the files as they are now, which are being applied, until it shows how that goes.

    Never raises: on a disk that is full there is no further release.
    """
    with suppress(OSError):
        _draft(paths)


def _draft(paths: HivePaths) -> None:
    files = hive_files(paths.hive)
    mark = hash_of(files)
    shutil.rmtree(paths.draft, ignore_errors=True)
    last = releases(paths)[-1:]
    if last and last[0].hash == mark:
        return
    paths.releases.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.draft.mkdir(exist_ok=True)
    for name, path in files.items():
        _copy(path, paths.draft / "files" / name)
    write_json(paths.draft / NOTE, {"number": (last[0].number if last else 0) + 1, "hash": mark, "made": time.time()})


def promote(paths: HivePaths) -> Release | None:
    """Make a release of the draft, if there is one; the oldest beyond KEPT go. Raises OSError."""
    made = _release(paths.draft)
    if made is None:
        return None
    folder = paths.releases / f"{made.number}-{made.hash}"
    shutil.rmtree(folder, ignore_errors=True)
    paths.draft.rename(folder)
    for old in releases(paths)[:-KEPT]:
        shutil.rmtree(old.folder, ignore_errors=True)
    return _release(folder)


def last_good(paths: HivePaths) -> Release | None:
    """The newest release that is not what the files are now."""
    now = hash_of(hive_files(paths.hive))
    return next((each for each in reversed(releases(paths)) if each.hash != now), None)


def release_of_files(paths: HivePaths) -> Release | None:
    """The release that the files are now, if they are one."""
    now = hash_of(hive_files(paths.hive))
    return next((each for each in reversed(releases(paths)) if each.hash == now), None)


def last_undone(paths: HivePaths) -> Path | None:
    """Where the files are that the last rollback took away, if they are still there."""
    found = sorted(paths.releases.glob("undone-*/files"))
    return found[-1] if found else None


def way_out(paths: HivePaths) -> str:
    """What `hived rollback` would do for a hive whose files are not well, for people; "" if it can do nothing. Never
    raises.
    """
    with suppress(OSError):
        if (found := last_good(paths)) is not None:
            return f"`hived rollback` goes back to the files of release {found.number}"
    return ""


def restore(paths: HivePaths, release: Release) -> tuple[list[str], Path | None]:
    """Write the files of ``release`` back; return the names of those that this changed, and where the files are that
    it took away, if there are any. Raises OSError.

    What it replaces goes to a folder ``undone-…``, and so do files that the release does not have, and newer releases.
    """
    undone = paths.releases / f"undone-{time.time():.3f}"
    now, then = hive_files(paths.hive), hive_files(release.files)
    changed = [name for name in sorted({*now, *then}) if _differs(now.get(name), then.get(name))]
    for name in changed:
        if os.path.lexists(paths.hive / name):  # also one that is no part of a release, for it is too large by now
            _copy(paths.hive / name, undone / "files" / name)
        if name in then:
            _copy(then[name], paths.hive / name)
        else:
            now[name].unlink()
    for newer in [each for each in releases(paths) if each.number > release.number]:
        undone.mkdir(parents=True, exist_ok=True)
        newer.folder.rename(undone / newer.folder.name)
    for old in sorted(paths.releases.glob("undone-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return changed, undone / "files" if (undone / "files").is_dir() else None


def _differs(now: Path | None, then: Path | None) -> bool:
    return now is None or then is None or _content(now) != _content(then)


def _content(path: Path) -> bytes:
    """What a file holds, or where a link points."""
    try:
        return os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    except OSError:
        return b""


def _copy(source: Path, target: Path) -> None:
    """At once and whole; a link stays one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    shutil.copy2(source, part, follow_symlinks=False)
    part.replace(target)
