"""A copy of an example hive, run by the real hived, so that nothing is written into the examples themselves."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.data.records import Instance
from hivemind.data.registry import Registry
from hivemind.errors import RedisError
from hivemind.supervisor.engine import redis_url
from hivemind.topics import Names

from .hive_kit import Hive

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NOT_COPIED = shutil.ignore_patterns("var", "__pycache__", ".*_cache")
OURS = ("HIVE", "SUPERVISOR_", "WATCHTOWER_")


class Example(Hive):
    """The example ``name`` in ``folder``: its settings are its own, but logs, port and home are ours."""

    def __init__(self, name: str, folder: Path, **environ: str) -> None:
        self.folder, self._name = folder / name, name
        self.logs = folder / "logs"
        shutil.copytree(EXAMPLES / name, self.folder, ignore=NOT_COPIED)
        self.environ = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        self.environ |= {"XDG_RUNTIME_DIR": "", "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self.environ |= {"HIVEMIND_LOG_LOCATION": str(self.logs), "HIVEMIND_HIVE_DEFAULT_PORT": "0"} | environ

    def foreground(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Begin ``hived start --foreground``; what it shows goes to ``output``."""
        command = self.command("hived", "--hive", str(self.folder), "start", "--foreground")
        return subprocess.Popen(
            command, env=self.environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )

    def stop(self, process: subprocess.Popen[bytes], within: float = 20.0) -> int:
        """Press Ctrl-C in the foreground, and return the exit code."""
        process.send_signal(signal.SIGINT)
        return process.wait(within)

    def instances(self) -> dict[str, Instance]:
        """What the registry says; nothing while Redis is away."""
        try:
            return {one.instance: one for one in asyncio.run(self._instances())}
        except RedisError:
            return {}

    async def _instances(self) -> list[Instance]:
        settings = self.engine.settings
        async with Commands(Endpoint.parse(redis_url(settings))) as commands:
            return await Registry(commands, Functions(commands), Names(settings.name)).instances()
