"""What a process has loaded of its hive's files: it notes that when it begins, so that a reload knows what it runs.

The files on disk may have been others by then than those that were applied, and may be others since.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

import orjson

from ..whole import put
from .places import OURS
from .relay import Relay

RELEASE = "HIVEMIND_RELEASE"  #: environment variable with the folder that a roll which did not go well went back to
INSTALLED = "-packages"  #: in the name of a folder of what somebody else wrote


def note_loaded(relay: Relay, hive: Path, *, is_successor: bool) -> None:
    """Write down what this process has loaded until now. Never raises: then it is not known."""
    files = {file: _mark(file) for file in _files(hive)}
    with suppress(OSError, TypeError):  # a path may be no text
        put(relay.next_code if is_successor else relay.code, orjson.dumps({"pid": os.getpid(), "files": files}))


def has_loaded(relay: Relay, pid: int) -> bool:
    """Whether the process with that ``pid`` has noted its code: what is saved from then on, it does not read."""
    try:
        return bool(orjson.loads(relay.code.read_bytes())["pid"] == pid)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def is_outdated(relay: Relay, pid: int) -> bool:
    """Whether the process with that ``pid`` loaded a file that is another by now; False if that is not known."""
    try:
        found = orjson.loads(relay.code.read_bytes())
        return found["pid"] == pid and any(_mark(file) != mark for file, mark in found["files"].items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def _files(hive: Path) -> list[str]:
    top = f"{hive}{os.sep}"
    found = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return sorted(file for file in found if file and file.startswith(top) and _is_theirs(file, file[len(top) :]))


def _is_theirs(file: str, name: str) -> bool:
    return file.endswith(".py") and not file.startswith(OURS) and not name.startswith(".") and INSTALLED not in name


def _mark(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
    except (OSError, ValueError):
        return ""
