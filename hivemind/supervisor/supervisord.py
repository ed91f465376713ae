"""supervisord, with all that a node needs loaded before it starts the first: what it starts goes on from there.

``python -P -m hivemind.supervisor.supervisord -c FILE``. To start an interpreter and load us takes half a second of a
core; a copy of a process that has done so needs a tenth of that for the whole start of a node, and shares its memory.
Only what is ours is started so, and only on Linux; only as long as the files that were loaded are as they were:
after an upgrade a program starts anew, and runs what is there then.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import mmap
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO, TextIOWrapper
from typing import NoReturn

from supervisor.http import deferring_http_channel
from supervisor.medusa.asyncore_25 import ExitNow
from supervisor.options import ServerOptions
from supervisor.states import SupervisorStates

from ..collector import held_off
from ..process_table import show_command
from .attentive import Attentive

PYTHON = (sys.executable, "-P", "-m")  # how the commands of our programs begin: a module of OURS follows
OURS, KEEPER = "hivemind.", "hivemind.supervisor.keeper"
WANTED = (KEEPER, "hivemind.node.program", "hivemind.node.node")
LATE = ("uvloop", "encodings.idna")  # what a node loads while it runs, where it is installed
LOOK = 1.0  # seconds between two looks at the files that were loaded
PATIENCE = 10.0  # seconds that a copy waits at most for its supervisord, which may be frozen, or gone
ANSWER = 1 << 16  # bytes of an answer that are sent at once: after each piece it looks at all its programs

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The ``files`` that were loaded, and how they and those that say where to look for more were then."""

    files: tuple[str, ...]
    stamps: Mapping[str, Stamp]

    @classmethod
    def now(cls) -> Loaded:
        """All that is loaded in this process."""
        modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        files = (sys.executable, *(file for file in modules if file))
        return cls(files, stamps([*files, *path_files()]))

    def is_current(self) -> bool:
        """Whether an interpreter that begins now would load the same."""
        return bool(self.files) and stamps([*self.files, *path_files()]) == self.stamps


NOTHING = Loaded((), {})


class Options(ServerOptions):  # type: ignore[misc] # it has no types
    """supervisord's door to the system, with another way to start what is ours."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded = NOTHING
        self._gate, self._is_current, self._looked = Gate(), False, -LOOK
        self._pid = os.getpid()

    def fork(self) -> int:
        """Fork; before that look whether what is loaded is still current, unless that was done just now.

        A signal ends the copy from its first moment on: what supervisord does when it hears one is not for it.
        """
        if time.monotonic() - self._looked >= LOOK:
            self._is_current, self._looked = self.loaded.is_current(), time.monotonic()
        self._pid = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = int(super().fork())
            if pid == 0:
                hear_as_at_first()
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Become the program; in the process that was forked for it. Returns only by an OSError."""
        if self._is_current and is_ours(argv):
            show_command(argv)
            if not self._gate.wait(self._gate.turn) and os.getppid() != self._pid:
                os._exit(0)  # supervisord went while we waited
            go_on(argv, env)
        super().execve(filename, argv, env)

    def waitpid(self) -> tuple[int | None, int | None]:
        """Look who has ended: that is what comes when all that is to begin now has begun."""
        self._gate.open()
        found: tuple[int | None, int | None] = super().waitpid()
        return found


class Forgiving(TextIOWrapper):
    """A standard error that may be lost: a disk that is full must not end us for a word that nobody reads."""

    def write(self, text: str) -> int:
        """Write what there is room for."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """The same."""
        with suppress(OSError):
            super().flush()


class Gate:
    """Lets copies through when supervisord has begun all that it begins in one go: hundreds that run already would
    leave it no time to begin the others, and to answer.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)  # shared with the copies
        self.turn = 0

    def open(self) -> None:
        """Who waits may go."""
        self.turn += 1
        self._memory[:] = self.turn.to_bytes(8, "little")

    def wait(self, turn: int, limit: float = PATIENCE) -> bool:
        """Return when it has been opened since that ``turn``; False if it was not within ``limit`` seconds."""
        deadline, step = time.monotonic() + limit, 0.002
        while int.from_bytes(self._memory[:], "little") <= turn:
            if time.monotonic() > deadline:
                return False
            time.sleep(step)
            step = min(0.1, 1.5 * step)
        return True


def is_ours(argv: Sequence[str]) -> bool:
    """Whether it is a program of ours, for the interpreter that we are."""
    return tuple(argv[: len(PYTHON)]) == PYTHON and argv[len(PYTHON)].startswith(OURS)


def stamps(files: Iterable[str]) -> dict[str, Stamp]:
    """What tells of each file that it is another, or was written anew. Files that there are not, are left out."""
    found = {}
    for file in files:
        with suppress(OSError):
            stat = os.stat(file)  # noqa: PTH116 - hundreds of them for each start
            found[file] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return found


def path_files() -> Iterator[str]:
    """The files by which what is installed may have an interpreter look elsewhere, too."""
    for folder in sys.path:
        if folder.endswith("-packages"):
            with suppress(OSError):
                yield from (f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(".pth"))  # noqa: PTH208


def load() -> Loaded:
    """Load what nodes need, where a copy of this process may go on; say from which files.

    Where that fails, as in the middle of an upgrade, all the same a supervisord is better than none.
    """
    if sys.platform != "linux" or not is_path_absolute(os.environ):  # the libraries of macOS do not bear it
        return NOTHING
    began = time.time_ns()
    try:
        with held_off():
            for name in WANTED:
                importlib.import_module(name)
            for name in LATE:
                with suppress(ImportError):
                    importlib.import_module(name)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, each program finds out by itself
        traceback.print_exc()
        return NOTHING
    if threading.active_count() > 1:  # somebody's agent: a copy would have its locks, and not its threads
        return NOTHING
    gc.freeze()  # so that the copies share it
    loaded = Loaded.now()
    return NOTHING if was_written_since(loaded.files, began) else loaded


def is_path_absolute(environ: Mapping[str, str]) -> bool:
    """Whether PYTHONPATH means the same in every folder: what is relative is meant from that of the hive."""
    return all(map(os.path.isabs, filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))))


def was_written_since(files: Iterable[str], began: int) -> bool:
    """Whether one of the files was put there, or written, since that time in ns: what was loaded may be older."""
    for file in files:
        with suppress(OSError):
            if os.stat(file).st_ctime_ns >= began:  # noqa: PTH116 - hundreds of them
                return True
    return False


def hear_as_at_first() -> None:
    """Let each signal do what it does to a process that has just begun."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def close_all() -> None:
    """Close what supervisord has open but for the first three: it closes the numbers below 1,024 only, and where
    nothing is executed nothing closes the others.
    """
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
            if int(name) > 2:
                with suppress(OSError):
                    os.close(int(name))


def go_on(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Be the program of this command, in a process that was supervisord until now.

    Nothing of supervisord's is touched any more: the numbers of its files are closed, and soon those of others.
    """
    code = 1
    try:
        gc.freeze()
        close_all()
        hear_as_at_first()
        os.environ.update(env)
        module, sys.argv[1:] = argv[len(PYTHON)], argv[len(PYTHON) + 1 :]
        importlib.invalidate_caches()
        if module == KEEPER:
            code = importlib.import_module(module).main(sys.argv[1:])
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            code = 0
    except SystemExit as end:
        code = _code(end)
    except BaseException:  # noqa: BLE001 - as an interpreter does with what nobody has caught
        sys.excepthook(*sys.exc_info())
    finally:
        leave(code)


def _code(end: SystemExit) -> int:
    """The exit code that it asks for; as an interpreter does, a text is printed."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def leave(code: int) -> NoReturn:
    """End this process as an interpreter ends: threads first, then who wants to hear of it, and what is written."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
    finally:
        os._exit(code & 0xFF)


def main() -> None:
    """Be supervisord, until it has ended for good."""
    sys.stderr = Forgiving(FileIO(2, "w", closefd=False), errors="backslashreplace", write_through=True)
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument.strip()]
    show_command([*PYTHON, f"{__package__}.supervisord", *sys.argv[1:]])
    deferring_http_channel.ac_out_buffer_size = ANSWER
    loaded, is_first = load(), True
    while True:
        options = Options()
        options.realize(None, doc=__doc__)
        options.loaded, options.first, options.test = loaded, is_first, False
        with suppress(ExitNow):
            Attentive(options).main()
        options.close_httpservers()
        options.close_logger()
        is_first = False
        if options.mood < SupervisorStates.RESTARTING:
            return


if __name__ == "__main__":
    main()
