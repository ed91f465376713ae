"""What is wrong with the settings of a hive that was started, be it that they name what is not there."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ..errors import ConfigurationError, NodeLoadError
from ..last_settings import LAST_SETTINGS, fault_of_settings, last_settings, words_of
from ..settings import load_settings
from .check import check_settings
from .desired import read_selection
from .enabled import enabled_nodes, existing_imports
from .files import time_of
from .paths import HivePaths
from .topology import node_plans

EVERY = 10.0  #: seconds after which one looks anew whether what was missing is there, if neither file has changed


def fault_of_hive(hive: Path | None, environ: Mapping[str, str]) -> str:
    """What is wrong with the settings of ``hive``, for people: in them, or as NODES or MIDDLEWARE, not as they were
    applied last, name what is not there; "" if nothing is. The latter takes a process or two, and is remembered.
    """
    return fault_of_settings(hive, environ) or missing(hive, environ)


def missing(hive: Path | None, environ: Mapping[str, str]) -> str:
    """The latter alone; "" where the settings cannot be read."""
    if hive is None or os.name == "nt":
        return ""
    stamps = tuple(time_of(hive / file) for file in ("config/hive.py", "nodes/__init__.py", f"var/{LAST_SETTINGS}"))
    return _missing(hive, frozenset(environ.items()), stamps, time.monotonic() // EVERY)


@lru_cache(maxsize=4)
def _missing(hive: Path, environ: frozenset[tuple[str, str]], stamps: tuple[int, ...], _turn: float) -> str:
    last, given = last_settings(hive), dict(environ)
    _, enabling, applied = stamps
    try:
        settings = load_settings(hive, given)
    except ConfigurationError:
        return ""
    if last is None:
        return ""
    try:
        if settings.constants.NODES != last.constants.NODES or enabling > applied:
            selection = read_selection(HivePaths.of(settings))
            node_plans(settings, enabled_nodes(hive, given), existing_imports(hive), selection)
        if settings.constants.MIDDLEWARE != last.constants.MIDDLEWARE:
            check_settings(settings, given)
    except NodeLoadError:
        return ""  # a problem of its own
    except ConfigurationError as error:
        return words_of(error)
    return ""
