"""Starting supervisord for a hive, and waiting until it answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ..errors import SupervisorError
from ..identity import PidFile, ProcessIdentity
from ..node.relay import VARIABLE as RELAY
from .engine import QUICK, Engine

ROOM = " " * 1000  # an argument that means nothing: in its place the command lines of programs are shown
START_TIMEOUT = 60.0  # seconds until a supervisord that was just started must answer: hundreds may start beside it
POLL = 0.02


def launch(engine: Engine) -> subprocess.Popen[bytes]:
    """Start supervisord with the configuration that lies in ``var``, in a session of its own; return when it answers.

    It goes on when we end. The caller holds the lock and knows that none runs.

    Raises SupervisorError with the end of its log if it fails.
    """
    paths = engine.paths
    log = paths.log / "supervisord.log"
    before = log.stat().st_size if log.exists() else 0
    with (paths.log / "supervisord.out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hivemind.supervisor.supervisord", "-c", str(paths.conf), ROOM],
            cwd=paths.var,
            env=clean(engine.environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    identity = ProcessIdentity.of(process.pid)
    if identity is not None:
        PidFile(paths.supervisord).write(identity)
    _wait_for_answer(engine, process, before)
    return process


def _wait_for_answer(engine: Engine, process: subprocess.Popen[bytes], log_offset: int) -> None:
    client, deadline = engine.client(QUICK), time.monotonic() + START_TIMEOUT
    while True:
        try:
            if client.pid() == process.pid:
                return
        except SupervisorError as error:
            if process.poll() is not None:
                raise SupervisorError(f"supervisord did not start: {_why(engine, log_offset)}") from None
            if time.monotonic() > deadline:
                raise SupervisorError(f"supervisord does not answer after {START_TIMEOUT:g} s: {error}") from None
        time.sleep(POLL)


def _why(engine: Engine, offset: int) -> str:
    """The last lines that supervisord wrote in this try."""
    text = _tail(engine.paths.log / "supervisord.out", 0) + _tail(engine.paths.log / "supervisord.log", offset)
    return " | ".join(line for line in text.splitlines() if line.strip()) or "it said nothing"


def _tail(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()[-2000:].decode(errors="replace")
    except OSError:
        return ""


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """What programs inherit: nothing of a supervisord that we ourselves may run under."""
    dropped = ("SUPERVISOR_", "HIVEMIND_SUPERVISED", RELAY)
    kept = {name: value for name, value in environ.items() if not name.startswith(dropped)}
    return {**kept, "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1")}
