"""`hm` and `hived` for tests that need what they do and not how they start: forked from a process that is warm.

A command costs a tenth of its CPU so. How programs start is tested by who starts them as users do: ``python -m``, the
installed programs (test_packaging), the pages for newcomers (test_docs), and everything that stays or is sent signals.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from .waiting import eventually

HERE = Path(__file__).resolve().parent
#: variables that Python and the loader read before a program begins: where they differ, it starts as usual
SHAPING = ("PYTHON", "LC_", "LANG", "LD_", "DYLD_", "TZ", "TMPDIR", "COVERAGE_")
CAN = hasattr(os, "pidfd_open")


def command(program: str, *arguments: str, environ: Mapping[str, str]) -> list[str]:
    """The words that run ``python -m hivemind.cli.PROGRAM`` with ``environ``."""
    if not CAN or shape(environ) != shape(os.environ):
        return [sys.executable, "-m", f"hivemind.cli.{program}", *arguments]
    return [*asking(), f"hivemind.cli.{program}", *arguments]


def scripts(folder: Path) -> Path:
    """Make a folder with `hm` and `hived`, for PATH; an empty one where that cannot be had."""
    folder.mkdir()
    for program in ("hm", "hived") if CAN else ():
        (folder / program).write_text(f'#!/bin/sh\nexec {" ".join(asking())} {program} "$@"\n')
        (folder / program).chmod(0o755)
    return folder


def shape(environ: Mapping[str, str]) -> dict[str, str]:
    names = (name for name in environ if name.startswith(SHAPING) and name != "PYTHONPATH")
    return {name: environ[name] for name in names}


def asking() -> list[str]:
    return [sys.executable, "-IS", str(HERE / "warm_client.py"), str(server())]


@cache
def server() -> Path:
    """The socket of this process's own, which ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="hm-"))
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "warm_server.py"), str(folder / "socket")],
            cwd=HERE.parent,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def end() -> None:
        process.kill()
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)

    def listens() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        return (folder / "socket").exists()

    eventually(listens, within=60)
    return folder / "socket"
