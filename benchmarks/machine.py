"""What was measured on, and with what; and how much of a core a process uses."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from redis import Redis

from hivemind.bus.server_info import server_name
from hivemind.testing import TestServer

from .servers import nats_server

PACKAGES = (
    "hivemind-net",
    "hiredis",
    "orjson",
    "uvloop",
    "pydantic",
    "redis",
    "celery",
    "faststream",
    "nats-py",
    "pyzmq",
)


def about() -> dict[str, str]:
    """Date, machine and versions, as text for people."""
    return {
        "measured on": f"{date.today():%Y-%m-%d}",  # noqa: DTZ011 - as whoever measures would say
        "cpu": f"{cpu()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "load at the start": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        "server": redis_version(),
        "nats-server": nats_version(),
        **{name: package(name) for name in PACKAGES},
    }


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def package(name: str) -> str:
    """The installed version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def redis_version() -> str:
    """The server that Hivemind's tests find."""
    with TestServer() as server, Redis.from_url(server.url) as redis:
        return server_name(redis.info("server"))


def nats_version() -> str:
    """What nats-server calls itself."""
    program = nats_server()
    if program is None:
        return "not on PATH"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return said.strip().removeprefix("nats-server: ")


def cpu_seconds(pid: int) -> float:
    """CPU time that the living threads of a process have used; in nanosecond steps on Linux, else in ticks."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    except (OSError, ValueError, IndexError):
        used = psutil.Process(pid).cpu_times()
        return float(used.user + used.system)


def mebibytes(pid: int) -> float:
    """Resident memory of a process."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20
