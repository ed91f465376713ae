"""Whose a log folder is: two hives of one name have the same one by default, and would write into each other's logs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..settings import Settings, is_hive
from ..whole import private_folder

MARKER = ".hive"  #: the file in a log folder that names the hive's folder


def claim(settings: Settings) -> str:
    """Mark the log folder as this hive's; "" if it was nobody else's, else a sentence that says what to do.

    A hive that is no longer where the marker says has moved or is gone: its folder is taken over.
    """
    marker, hive = settings.constants.LOG_LOCATION / MARKER, settings.hive
    owner = _owner(marker)
    if hive is None or owner == hive:
        return ""
    if owner is not None and is_hive(owner):
        return (
            f"the hive in {owner} logs to {marker.parent}, too, and the logs of nodes with the same name mix: "
            "set another LOG_LOCATION in config/hive.py"
        )
    with suppress(OSError):  # whoever opens a log there says so
        private_folder(marker.parent)
        marker.write_bytes(os.fsencode(hive))
    return ""


def _owner(marker: Path) -> Path | None:
    try:
        return Path(os.fsdecode(marker.read_bytes()))
    except (OSError, ValueError):
        return None
