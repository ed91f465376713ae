"""What people asked to be other than the settings say: kept in ``var``, so that it outlives a restart."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from .paths import HivePaths
from .topology import Selection


def write_json(path: Path, value: Any) -> None:
    """Put ``value`` into ``path`` at once and whole, readable by its owner only. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    write_private(draft, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS) + b"\n")
    draft.replace(path)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read. Raises OSError."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(content)


def read_json(path: Path) -> Any:
    """What ``path`` holds; None if it is missing or spoilt."""
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def read_scale(paths: HivePaths) -> dict[str, int]:
    """Replicas by node, as ``hm scale`` left them."""
    found = read_json(paths.scale)
    return {str(k): v for k, v in found.items() if isinstance(v, int)} if isinstance(found, dict) else {}


def write_scale(paths: HivePaths, scale: Mapping[str, int]) -> None:
    """Remember replicas by node."""
    write_json(paths.scale, dict(sorted(scale.items())))


def read_stopped(paths: HivePaths) -> frozenset[str]:
    """Programs that ``hm stop`` stopped and nobody started since."""
    found = read_json(paths.stopped)
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()


def write_stopped(paths: HivePaths, stopped: Iterable[str]) -> None:
    """Remember which programs shall not run."""
    write_json(paths.stopped, sorted(stopped))


def read_selection(paths: HivePaths) -> Selection:
    """What ``hm dev`` chose when this hive was started; everything if nothing was chosen."""
    found = read_json(paths.selection)
    if not isinstance(found, dict):
        return Selection()
    return Selection(tuple(found.get("only", ())), found.get("root") is not False, found.get("nodes") is not False)


def write_selection(paths: HivePaths, selection: Selection) -> None:
    """Remember what shall run for as long as this supervisord lives."""
    write_json(paths.selection, asdict(selection))
