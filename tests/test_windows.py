"""Windows has no fcntl and few signals: what `hm` imports has to load there, also what only says "use WSL 2"."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import asyncio, multiprocessing, psutil, redis.asyncio, rich.console, signal, starlette.applications, subprocess, sys
import sysconfig, tempfile, uvicorn, watchfiles

sysconfig.get_config_vars()
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
    delattr(signal, name)
sys.platform = "win32"

import click
from hivemind.cli.hived import hived
from hivemind.cli.hm import hm
import hivemind.picture.declared, hivemind.cli.foreground, hivemind.supervisor.control, hivemind.supervisor.dev
import hivemind.supervisor.lifecycle, hivemind.supervisor.reload, hivemind.supervisor.status, hivemind.root.controller

for group in (hm, hived):
    for name in group.list_commands(click.Context(group)):
        group.get_command(click.Context(group), name)
"""


def test_everything_that_a_command_imports_loads_without_what_only_unix_has() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
