"""What a machine has for a hive: file descriptors, disk, a port, a clock; and whether that is enough. For `hm doctor`.

``facts_here`` looks; every hived of the hive is asked for the same over the bus. The judgements are pure.
"""

from __future__ import annotations

import platform
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from .. import __version__
from ..data.checkup import Finding, Level, of_clocks
from ..data.records import Instance
from ..settings import Settings
from .engine import Engine, host_here
from .files import known_fields
from .plan import load
from .processes import ROOT
from .status import page

if sys.platform != "win32":  # nobody asks there, but `hm` imports this file
    import resource

GIB = 1024**3
EACH, SPARE = 8, 128  #: file descriptors that hived and supervisord may have for each program, and besides
FEW = 1024  #: file descriptors of a process that are few
TIGHT, LITTLE = 0.02, 0.1  #: the share of a disk that is free, below which it is red, or yellow
ENOUGH = 5 * GIB  #: bytes that are room enough on any disk


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """One machine. ``descriptors`` is how many files a process may have open, ``programs`` how many run here;
    ``folders`` has free and all bytes by path; ``port`` is the page's, ``taken`` if a stranger has it; ``skew`` by how
    many seconds Redis's clock is ahead, None where that was not asked.
    """

    host: str
    version: str = ""
    python: str = ""
    system: str = ""
    descriptors: int = 0
    programs: int = 0
    folders: Mapping[str, Sequence[int]] = field(default_factory=dict)
    port: int = 0
    taken: bool = False
    skew: float | None = None

    def to_json(self) -> str:
        """As a hived answers."""
        return orjson.dumps(asdict(self)).decode()


def facts_here(engine: Engine, skew: float | None = None) -> MachineFacts:
    """Look at this machine; takes a moment."""
    settings = engine.settings
    return MachineFacts(
        host_here(engine.paths),
        __version__,
        platform.python_version(),
        platform.platform(),
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        len(load(engine.paths).programs),
        _folders(settings),
        settings.constants.HIVE_DEFAULT_PORT,
        _is_taken(settings.constants.HIVE_DEFAULT_PORT, page(engine)),
        skew,
    )


def facts_in(text: str) -> MachineFacts | None:
    """What a hived answered, of any version; None if it is nothing of the kind."""
    try:
        found: dict[str, Any] = known_fields(MachineFacts, orjson.loads(text))
        return MachineFacts(**found) if isinstance(found["host"], str) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _folders(settings: Settings) -> dict[str, tuple[int, int]]:
    found = {}
    for folder in (settings.var, settings.constants.LOG_LOCATION):
        there = next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))
        with suppress(OSError):
            usage = shutil.disk_usage(there)
            found[str(folder)] = (usage.free, usage.total)
    return found


def _is_taken(port: int, ours: str | None) -> bool:
    if not port or (ours is not None and urlsplit(ours).port == port):
        return False
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def findings_of(machine: MachineFacts) -> list[Finding]:
    """What is to be said of one machine."""
    found = [descriptors(machine), *(disk(path, *_two(sizes)) for path, sizes in machine.folders.items())]
    found += [port(machine)] if machine.port else []
    return [Finding(one.level, f"{one.subject} on {machine.host}", one.found, one.means, one.todo) for one in found]


def descriptors(machine: MachineFacts) -> Finding:
    """Whether a process may open as many files as hived needs."""
    least = EACH * machine.programs + SPARE
    found = f"{machine.descriptors:,} for a process"
    todo = f"raise it: ulimit -n {max(4096, 2 * least)}, or LimitNOFILE in hived.service"
    if 0 <= machine.descriptors < least:
        means = f"hived may need {least:,} for {machine.programs} programs"
        return Finding(Level.RED, "file descriptors", found, means, todo)
    if 0 <= machine.descriptors < FEW:
        return Finding(Level.YELLOW, "file descriptors", found, "a node with many connections may need more", todo)
    return Finding(Level.GREEN, "file descriptors", found)


def disk(path: str, free: int, total: int) -> Finding:
    """Whether there is room."""
    found = f"{free / GIB:,.1f} of {total / GIB:,.1f} GiB free at {path}"
    means, todo = "when it is full, logs are lost, and a Redis there refuses to write", "make room"
    if free < ENOUGH and free < TIGHT * total:
        return Finding(Level.RED, "disk", found, means, todo)
    if free < ENOUGH and free < LITTLE * total:
        return Finding(Level.YELLOW, "disk", found, means, todo)
    return Finding(Level.GREEN, "disk", found)


def port(machine: MachineFacts) -> Finding:
    """Whether the page can have its port."""
    if machine.taken:
        means, todo = "the page takes the next free one, `hived status` says which", "set HIVE_DEFAULT_PORT"
        return Finding(Level.YELLOW, "port", f"{machine.port} is another program's", means, todo)
    return Finding(Level.GREEN, "port", f"{machine.port} is the page's, or free")


def findings_among(hosts: Sequence[MachineFacts], instances: Sequence[Instance], is_up: bool) -> list[Finding]:
    """What is to be said of all hosts together; nothing where Redis, over which they are asked, is not ``is_up``."""
    if not is_up:
        return []
    return [hiveds(hosts, instances), versions(hosts, instances), *clocks(hosts)]


def hiveds(hosts: Sequence[MachineFacts], instances: Sequence[Instance]) -> Finding:
    """Whether a hived answers wherever nodes run."""
    answered = {one.host for one in hosts}
    alone = sorted({one.about.host for one in instances if not one.is_lost and one.node != ROOT} - answered)
    if alone:
        means = "what dies there is not started again, or an older hived runs there"
        return Finding(Level.YELLOW, "hived", f"none answers on {', '.join(alone)}", means, "`hived start` there")
    if not hosts:
        return Finding(Level.YELLOW, "hived", "none answers", "nobody starts what dies", "`hived start`")
    return Finding(Level.GREEN, "hived", f"answers on {', '.join(sorted(answered))}")


def versions(hosts: Sequence[MachineFacts], instances: Sequence[Instance]) -> Finding:
    """Whether all run the same Hivemind."""
    found: dict[str, set[str]] = {__version__: {"hm here"}}
    for host in hosts:
        found.setdefault(host.version, set()).add(f"hived on {host.host}")
    for one in instances:
        if not one.is_lost and one.about.version:
            found.setdefault(one.about.version, set()).add(one.instance)
    if len(found) == 1:
        return Finding(Level.GREEN, "versions", f"Hivemind {__version__} everywhere")
    said = "; ".join(f"{version or 'unknown'}: {_some(sorted(names))}" for version, names in sorted(found.items()))
    means = "neighbouring versions work together, others may not"
    return Finding(Level.YELLOW, "versions", said, means, "install one version, then `hived stop` and `hived start`")


def clocks(hosts: Sequence[MachineFacts]) -> list[Finding]:
    """Whether the clock of each host and Redis's agree."""
    return [of_clocks(f"clock of {one.host}", -one.skew, "Redis's") for one in hosts if one.skew is not None]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _two(sizes: Sequence[int]) -> tuple[int, int]:
    free, total = [*sizes, 0, 0][:2]
    return int(free), int(total)
