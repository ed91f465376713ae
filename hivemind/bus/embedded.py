"""A Redis server for a hive that has none: found, configured, started once, stopped.

``python -m hivemind.bus.embedded PROGRAM FOLDER SOCKET`` becomes that server; hived runs it so.

Whoever starts the server holds ``redis.lock`` in its folder and hands the lock on to it: the kernel keeps it for
as long as that server lives. So no two servers ever write to the same data, whoever starts them and however they
end; who comes second waits for the first to answer (``ensure``) or to end (``serve``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn
from urllib.parse import quote

from ..errors import ConfigurationError, RedisDenied, RedisUnavailable
from ..identity import PidFile, ProcessIdentity
from .credentials import HIVED, credentials
from .server_data import has_data
from .server_info import info_in, server_name
from .server_memory import most_memory
from .server_program import ask, find_server, need_server

if TYPE_CHECKING:
    from ..settings import Settings  # the program that becomes the server needs none: it would only begin later

if sys.platform != "win32":
    import fcntl

__all__ = ["Embedded", "EmbeddedStatus", "find_server"]

SOCKET_PATH_LIMIT = 100  # bytes; the system's own limit is 104 to 108
LOG_LIMIT = 5 * 1024 * 1024  # bytes; a longer log is put aside at the next start
PING_TIMEOUT = 1.0
STEP = 0.01  # seconds between looks
TAIL = 8  # lines of the server's log shown in an error
EVERY_SECOND = "everysec"
KILL_TIME = 5.0  # seconds for the kernel to end a killed server

_CONFIG = """\
# Written anew at every start.
port 0
protected-mode yes
unixsocket {socket}
unixsocketperm 700
dir {folder}
appendonly yes
appendfsync {fsync}
save ""
maxmemory {memory}
maxmemory-policy noeviction
latency-monitor-threshold 100
daemonize no
logfile {log}
always-show-logo no
{users}"""


@dataclass(frozen=True, slots=True)
class EmbeddedStatus:
    """What is known of an embedded server: whether its process runs, and whether it answers.

    ``pid``, ``version`` (such as "Valkey 9.1.2") and ``memory`` (bytes) are None when not known.
    """

    is_running: bool
    is_answering: bool
    pid: int | None
    version: str | None
    memory: int | None
    socket: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Embedded:
    """One hive's own server: ``folder`` holds its data, configuration, pid file and log; it listens on ``socket``.

    It writes to its disk as ``fsync`` says: "everysec", or "always".
    """

    folder: Path
    socket: Path
    fsync: str = EVERY_SECOND

    @classmethod
    def of(cls, settings: Settings) -> Embedded:
        """The server of the hive that ``settings`` are of, for when REDIS_URL is empty."""
        fsync = "always" if settings.constants.CONFIRM == "disk" else EVERY_SECOND
        return cls(folder=settings.var / "redis", socket=settings.runtime / "redis.sock", fsync=fsync)

    def __post_init__(self) -> None:
        length = len(os.fsencode(self.socket))
        if length > SOCKET_PATH_LIMIT:
            raise ConfigurationError(
                f"{self.socket}: the path of a unix socket may have {SOCKET_PATH_LIMIT} bytes, this one has {length}"
            )

    @property
    def url(self) -> str:
        """How to reach it."""
        return f"unix://{quote(str(self.socket.absolute()))}"

    @property
    def pidfile(self) -> PidFile:
        """Names the process of the server, whoever started it."""
        return PidFile(self.folder / "redis.pid")

    @property
    def acl(self) -> Path:
        """Its users, where the hive is secured."""
        return self.folder / "users.acl"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "redis.log"

    def command(self) -> list[str]:
        """The command that becomes this server in the foreground: for hived. Writes nothing.

        Raises ConfigurationError if there is no server program, or on Windows.
        """
        _refuse_windows()
        program, folder, socket = need_server(), self.folder.absolute(), self.socket.absolute()
        fsync = () if self.fsync == EVERY_SECOND else (self.fsync,)  # so that no hive restarts its server for nothing
        return [sys.executable, "-m", "hivemind.bus.embedded", str(program), str(folder), str(socket), *fsync]

    def write_config(self) -> Path:
        """Write the server's configuration and return its path. Raises ConfigurationError if that cannot be."""
        path = self.folder / "redis.conf"
        paths = {"socket": self.socket, "folder": self.folder, "log": self.log}
        users = f"aclfile {_quoted(self.acl.absolute())}\n" if self.acl.exists() else ""
        text = _CONFIG.format(
            users=users,
            fsync=self.fsync,
            memory=most_memory(),
            **{name: _quoted(value.absolute()) for name, value in paths.items()},
        )
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(text)
        except OSError as error:
            raise self._unwritable(error) from error
        return path

    def ensure(self, timeout: float = 10.0) -> str:
        """Return the URL of the running server; start it, detached from this process, if it does not run.

        Any number of processes may call it at once. Raises ConfigurationError if there is no server program or its
        folder cannot be written, RedisUnavailable with the last lines of its log if it ends while it starts or
        does not answer within ``timeout`` seconds (a server that is still loading its data is left to it).
        """
        _refuse_windows()
        deadline = time.monotonic() + timeout
        while not self.answers():
            with self._lock() as lock:
                if lock is not None:
                    self._start(lock, deadline, timeout)
                    return self.url
            if time.monotonic() > deadline:
                raise self._late(timeout)
            time.sleep(STEP)
        return self.url

    def ask(self, *words: str, timeout: float) -> str | None:
        """As ``server_program.ask``; where the hive is secured, in the name of hived."""
        login: Sequence[str] = ()
        with suppress(RedisDenied):
            login = credentials(self.folder.parent, HIVED) or ()
        return ask(self.socket, *words, timeout=timeout, login=login)

    def answers(self) -> bool:
        """Whether a server on our socket takes commands now; any answer counts but that it is still loading."""
        said = self.ask("PING", timeout=PING_TIMEOUT)
        return said is not None and not said.startswith("-LOADING")

    def serves(self, process: ProcessIdentity) -> bool:
        """Whether it is ``process`` that answers on our socket."""
        return self._info().get("process_id") == str(process.pid)

    def has_data(self, process: ProcessIdentity) -> bool:
        """Whether all that this server has stored lies in our folder: it may have been removed, in part, too, under one
        that runs, or what lies there now may be a copy, to which this one does not write.
        """
        return has_data(self.folder, process.pid)

    def serve(self, program: Path) -> NoReturn:
        """Become the server in this very process, as soon as no other serves this folder. For hived."""
        _refuse_windows()
        with self._lock(wait=True) as lock:
            assert lock is not None, "waited for"
            config = self.write_config()
            record = self.pidfile.read()
            me = ProcessIdentity.current()
            if record is None or record.identity != me:
                self.pidfile.write(me)
            with self._open_log() as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            os.set_inheritable(lock, True)
            os.umask(0o077)
            os.execve(program, [str(program), str(config)], _environment())

    def stop(self, timeout: float = 10.0) -> bool:
        """End the server politely, after ``timeout`` seconds by force; its data stay. False if it did not run."""
        _refuse_windows()
        record = self.pidfile.read()
        known = record.identity if record is not None and record.identity.is_alive() else None
        serving = self._info().get("process_id")
        stopped = known is not None and _end(known, timeout)
        if serving is not None and (known is None or serving != str(known.pid)):  # one that the pid file does not name
            self.ask("SHUTDOWN", timeout=timeout)
            stopped = _eventually(lambda: self._info().get("process_id") != serving, timeout) or stopped
        if self.pidfile.read() == record:  # else the next server has begun
            self.pidfile.remove()
        return stopped

    def status(self) -> EmbeddedStatus:
        """What runs, and whether it answers. Never raises."""
        known = self.pidfile.living()
        answers = sys.platform != "win32" and self.answers()
        info = self._info() if answers else {}
        pid = int(info["process_id"]) if "process_id" in info else known.pid if known is not None else None
        memory = int(info["used_memory"]) if "used_memory" in info else None
        return EmbeddedStatus(
            answers or pid is not None, answers, pid, server_name(info) or None, memory, self.socket, self.folder
        )

    def _info(self) -> dict[str, str]:
        return info_in(self.ask("INFO", timeout=PING_TIMEOUT))

    @contextmanager
    def _lock(self, *, wait: bool = False) -> Iterator[int | None]:
        # The lock that the living server holds, as a file descriptor; None if another has it. Closing it here does
        # not free it once a server has inherited it.
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.folder / "redis.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield fd
        finally:
            os.close(fd)

    def _start(self, lock: int, deadline: float, timeout: float) -> None:
        if self.answers():  # it came up between our question and the lock: one that was started without it
            return
        command = [str(need_server()), str(self.write_config())]
        with self._open_log() as log:
            before = log.tell()
            process = self._spawn(command, lock, log)
        threading.Thread(target=process.wait, name="redis", daemon=True).start()  # so that it leaves no zombie
        identity = ProcessIdentity.of(process.pid)
        if identity is not None:
            self.pidfile.write(identity)
        while not self.answers():
            if process.poll() is not None:
                raise RedisUnavailable(
                    f"the Redis server {command[0]} ended while it started (exit status {process.returncode})"
                    f"{self._tail(before)}"
                )
            if time.monotonic() > deadline:
                raise self._late(timeout)
            time.sleep(STEP)

    def _spawn(self, command: list[str], lock: int, log: BinaryIO) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=_environment(),
                pass_fds=[lock],
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            raise ConfigurationError(f"the Redis server {command[0]} cannot be run: {error.strerror}") from error

    def _open_log(self) -> BinaryIO:
        with suppress(OSError):
            if self.log.stat().st_size > LOG_LIMIT:
                self.log.replace(self.log.with_name("redis.log.1"))
        try:
            return self.log.open("ab")
        except OSError as error:
            raise self._unwritable(error) from error

    def _tail(self, start: int = 0) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(start)
                lines = log.read()[-16_384:].decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "".join(f"\n  {line}" for line in [f"the end of {self.log}:", *lines[-TAIL:]])

    def _late(self, timeout: float) -> RedisUnavailable:
        known = self.pidfile.living()
        who = f" (process {known.pid})" if known is not None else ""
        return RedisUnavailable(
            f"the Redis server of {self.folder}{who} has not answered within {timeout:g} s{self._tail()}"
        )

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"the embedded Redis server needs a folder that it can write: {error.filename or self.folder}: "
            f"{error.strerror}"
        )


def _end(identity: ProcessIdentity, timeout: float) -> bool:
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, KILL_TIME)):
        with suppress(ProcessLookupError):
            os.kill(identity.pid, number)
        if _eventually(lambda: not identity.is_alive(), patience):
            return True
    return False


def _eventually(check: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP)
    return True


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}  # Redis 7 refuses to start in a locale that is not installed


def _quoted(path: Path) -> str:
    # As Redis reads strings in its configuration; a path is bytes.
    plain = {code: chr(code) for code in range(32, 127) if chr(code) not in '"\\'}
    return '"' + "".join(plain.get(byte, f"\\x{byte:02x}") for byte in os.fsencode(path)) + '"'


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise ConfigurationError("the embedded Redis server does not run on Windows: use WSL 2")


def main(arguments: Sequence[str]) -> NoReturn:
    """Become the server: PROGRAM FOLDER SOCKET, and how it writes to its disk, unless every second."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    program, folder, socket = map(Path, arguments[:3])
    try:
        Embedded(folder, socket, *arguments[3:]).serve(program)
    except (ConfigurationError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
