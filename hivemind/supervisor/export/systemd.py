"""A hive for systemd, on this machine and in its folder: a template unit for each node, and a target for all. Pure.

What hived does for a node systemd does here: it starts it again, and kills it when its loop stands still, after it has
written its stacks. The target is reached before its units are, so that no start of a machine waits for Redis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .files import File
from .workloads import REDIS_VARIABLE, STARTING, Hive, Workload

AGAIN = 2  # seconds from an end to the next start; systemd's own back-off forgets nothing, not even after a year
RESTART = {"always": "always", "on-failure": "on-failure", "never": "no"}
REDIS_GRACE = 22  # seconds to write its data to the disk, as under hived
SAFE = """\
UMask=0027
NoNewPrivileges=yes
ProtectSystem=full
ProtectControlGroups=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
RestrictSUIDSGID=yes
LockPersonality=yes
"""


def systemd(hive: Hive, python: str, user: str, redis: Sequence[str], redis_url: str) -> list[File]:
    """The units of a hive. ``user`` runs them, with the interpreter ``python``; ``redis`` is the command of the hive's
    own server and ``redis_url`` where that is, empty if it has none.
    """
    units = [_unit(hive, each, python, user, redis_url) for each in hive.workloads]
    if redis:
        units.insert(0, File(redis_unit(hive), _redis(hive, user, redis)))
    return [File(f"hive-{hive.name}.target", _target(hive, [unit.name for unit in units])), *units]


def unit_of(hive: Hive, work: Workload) -> str:
    """The unit of a process: a template, but for the root. The dot keeps it apart from those of any other hive."""
    return f"hive-{hive.name}.{work.name}{'' if work.is_root else '@'}.service"


def redis_unit(hive: Hive) -> str:
    """The unit of the hive's own server."""
    return f"hive-{hive.name}.redis.service"


def secrets_folder(hive: Hive) -> str:
    """Where what is secret lies, for root and systemd alone."""
    return f"/etc/hive-{hive.name}"


def quoted(text: str, *, is_command: bool = False) -> str:
    """``text`` so that systemd reads just that; in commands ``$`` has a meaning, too."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n").replace("\t", "\\t")
    text = text.replace("$", "$$") if is_command else text
    return text if re.fullmatch(r"[^\s\"'\\;]+", text) else f'"{text}"'


def _target(hive: Hive, units: Sequence[str]) -> str:
    return f"""\
# The hive {hive.name} under systemd, written by `hived export systemd`; docs/export.md tells more. Copy all of it to
# /etc/systemd/system, then: hived stop; systemctl daemon-reload; systemctl enable --now hive-{hive.name}.target

[Unit]
Description=The hive {hive.name}
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
{"".join(f"Wants={unit}" + chr(10) for unit in _instances(hive, units))}
[Install]
WantedBy=multi-user.target
"""


def _instances(hive: Hive, units: Sequence[str]) -> Iterator[str]:
    copies = {unit_of(hive, each): each.copies for each in hive.workloads}
    for unit in units:
        if "@" in unit:
            yield from (unit.replace("@", f"@{number}") for number in range(copies[unit]))
        else:
            yield unit


def _unit(hive: Hive, work: Workload, python: str, user: str, redis_url: str) -> File:
    who = work.name if work.is_root else f"{work.name}.%i"
    number = () if work.is_root else ("--number", "%i")
    command = " ".join([*(quoted(each, is_command=True) for each in (python, *work.arguments)), *number])
    after = f"network-online.target {redis_unit(hive)}" if redis_url else "network-online.target"
    lease = hive.settings.constants.LEASE
    text = f"""\
[Unit]
Description={who} of the hive {hive.name}
After={after}
Wants=network-online.target
PartOf=hive-{hive.name}.target
StartLimitIntervalSec=0

[Service]
# Up when it consumes, and dead when its event loop has stood still for as long as a lease: then it writes its stacks.
Type=notify
NotifyAccess=main
WatchdogSec={lease:g}
WatchdogSignal=SIGUSR1
TimeoutAbortSec=1
# Until its loop turns; whoever waits for Redis, or for others, is given more.
TimeoutStartSec={STARTING}
TimeoutStopSec={hive.grace}
User={user}
WorkingDirectory={str(hive.folder).replace("%", "%%")}
ExecStart={command}
Restart={RESTART[work.restart]}
RestartSec={AGAIN}
KillMode=mixed
Environment=PYTHONUNBUFFERED=1
{"".join(f"{line}{chr(10)}" for line in _environment(hive, work, redis_url))}{SAFE}"""
    return File(unit_of(hive, work), text)


def _environment(hive: Hive, work: Workload, redis_url: str) -> Iterator[str]:
    env = {**work.env, REDIS_VARIABLE: redis_url} if redis_url else work.env
    yield from (f"Environment={quoted(f'{name}={value}')}" for name, value in env.items())
    folder = secrets_folder(hive)
    if not redis_url and not hive.settings.sources["REDIS_URL"].startswith("config/"):
        yield "# A file that only root and systemd can read, with the URL of Redis."
        yield f"LoadCredential=redis-url:{folder}/redis-url"
        yield f"Environment={REDIS_VARIABLE}_FILE=%d/redis-url"
    if work.hidden:
        yield f"# A file that only root can read, with a line NAME=... for each of: {', '.join(work.hidden)}"
        yield f"EnvironmentFile={folder}/{work.name}.env"


def _redis(hive: Hive, user: str, command: Sequence[str]) -> str:
    return f"""\
[Unit]
Description=Redis of the hive {hive.name}
PartOf=hive-{hive.name}.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={user}
WorkingDirectory={str(hive.folder).replace("%", "%%")}
ExecStart={" ".join(quoted(each, is_command=True) for each in command)}
TimeoutStopSec={REDIS_GRACE}
Restart=always
RestartSec=1
KillMode=mixed
{SAFE}"""
