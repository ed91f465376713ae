"""What people asked to be other than the settings say: kept in ``var``, so that it outlives a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from ..message import is_count
from .files import read_json, write_json
from .paths import HivePaths
from .topology import Selection


def read_scale(paths: HivePaths) -> dict[str, int]:
    """Replicas by node, as ``hm scale`` left them."""
    found = read_json(paths.scale)
    return {str(k): v for k, v in found.items() if is_count(v)} if isinstance(found, dict) else {}


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
    only = found.get("only")
    names = tuple(map(str, only)) if isinstance(only, list) else ()
    root, nodes, here = found.get("root") is not False, found.get("nodes") is not False, found.get("here") is True
    return Selection(names, root, nodes, here)


def write_selection(paths: HivePaths, selection: Selection) -> None:
    """Remember what shall run for as long as this supervisord lives."""
    write_json(paths.selection, asdict(selection))
