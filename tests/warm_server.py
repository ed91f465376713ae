"""A process that has imported all of Hivemind and waits: what it is asked to run runs in a fork of it.

Importing is most of what a short command costs. ``warm_kit`` starts this process, ``warm_client`` asks it.

What a command sees is what it would see as a process of its own: its folder, environment, streams and arguments, a
clean end with exit code and atexit, signals as Python sets them. What differs: its command line as others see it, its
parent, and that modules are loaded before it begins.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import marshal
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

LATE = ("asyncio", "concurrent.futures.thread", "email.utils", "redis.asyncio", "rich.console", "rich.table", "tomllib")
PROGRAMS = {"hm": "hivemind.cli.hm", "hived": "hivemind.cli.hived"}


def warm() -> None:
    """Import what commands import, now or later."""
    import hivemind

    for found in pkgutil.walk_packages(hivemind.__path__, "hivemind."):
        if not found.name.endswith("__main__") and "pytest" not in found.name:
            importlib.import_module(found.name)
    for name in LATE:
        with suppress(ImportError):
            importlib.import_module(name)


def serve(door: socket.socket) -> Callable[[], None]:
    """Fork for each that asks, until standard input ends; returns in the fork, with what that has to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who mind commands
    while True:
        ready, _, _ = select.select([door, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)
        call, _ = door.accept()
        if os.fork() == 0:
            door.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return mind(call)
        call.close()


def mind(call: socket.socket) -> Callable[[], None]:
    """Fork once more for the command, say its pid and how it ended; kill it if who asked has gone."""
    length, streams, _, _ = socket.recv_fds(call, 8, 3)
    with call.makefile("rb") as file:
        words, folder, environ = marshal.loads(file.read(int(length)))
    pid = os.fork()
    if pid == 0:
        call.close()
        return become(streams, words, folder, environ)
    for stream in (0, 1, 2, *streams):
        os.close(stream)
    call.sendall(b"%d\n" % pid)
    ended = os.pidfd_open(pid)
    gone, _, _ = select.select([call.fileno(), ended], [], [])
    if ended not in gone:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        call.sendall(b"%d\n" % code)
    os._exit(0)


def become(streams: list[int], words: list[str], folder: str, environ: dict[str, str]) -> Callable[[], None]:
    """Take on streams, folder, environment and arguments; returns the program."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        setattr(sys, name, reopened(getattr(sys, name), mode))
        setattr(sys, f"__{name}__", getattr(sys, name))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    program, *arguments = words
    is_script = program in PROGRAMS  # else it is `python -m`, which looks into the folder first
    first = os.path.dirname(sys.executable) if is_script else folder  # noqa: PTH120
    sys.path[:1] = [first, *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[:] = [program, *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()
    main: Callable[[], None] = importlib.import_module(PROGRAMS.get(program, program)).main
    return main


def reopened(stream: io.TextIOWrapper, mode: str) -> io.TextIOWrapper:
    """As Python opens it in a process that begins: what it knew of the file before may not be so any more."""
    number, is_error = stream.fileno(), stream is sys.stderr
    raw = open(number, f"{mode}b", closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=is_error or raw.isatty())


def finish(program: Callable[[], None]) -> None:
    """Run it, and end as Python does, but for taking apart all that was imported."""
    try:
        program()
        code: object = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  # as the interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as listening:
        warm()
        listening.bind(sys.argv[1])
        listening.listen(64)
        gc.disable()
        gc.collect()
        gc.freeze()
        command = serve(listening)
    finish(command)
