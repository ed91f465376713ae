"""The engine: one hive's settings, files and RPC in one hand; what changes what runs is done under its lock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ..bus.embedded import Embedded
from ..errors import ConfigurationError, SupervisorError
from ..identity import PidFile, ProcessIdentity, this_host
from ..process_table import environment_of
from ..settings import HIVE, Settings
from .check import Checker, node_checker
from .client import SupervisorClient
from .holding import PATIENCE, holding
from .paths import HivePaths
from .plan import Plan, RedisFor, make_plan, wanted_nodes
from .processes import NodePlan
from .topology import RedisProgram

RPC_TIMEOUT = 10.0  # seconds
QUICK = 2.0  # seconds: for questions whose answer may be "it is frozen"


@dataclass(frozen=True, slots=True)
class Engine:
    """All that hived needs to act on one hive. ``environ`` is what its programs inherit; ``patience`` is for how many
    seconds one waits for a holder of the lock that is stopped.
    """

    settings: Settings
    paths: HivePaths
    environ: Mapping[str, str]
    check: Checker
    redis: RedisFor
    patience: float = PATIENCE

    def client(self, timeout: float = RPC_TIMEOUT) -> SupervisorClient:
        """A client of this hive's supervisord, whether that runs or not."""
        return SupervisorClient(self.paths.socket, timeout)

    def plan(self, keep: frozenset[str] = frozenset()) -> Plan:
        """What should run; see make_plan."""
        return make_plan(self.settings, self.environ, check=self.check, redis=self.redis, keep=keep)

    def nodes(self) -> list[NodePlan]:
        """The nodes that should run, sound or not. Raises ConfigurationError."""
        return wanted_nodes(self.settings, self.paths, self.environ)[0]

    def supervisord(self) -> ProcessIdentity | None:
        """The supervisord of this hive, if it lives, even if it is frozen."""
        return PidFile(self.paths.supervisord).living()

    def is_running(self) -> bool:
        """Whether a supervisord of this hive lives and is not about to end."""
        if self.supervisord() is None:
            return False
        try:
            return not self.client(QUICK).is_stopping()
        except SupervisorError:
            return self.supervisord() is not None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Wait until nobody else changes what runs here, then keep others out.

        Raises SupervisorError for what the system refuses, here or in the body, and where who has it is stopped.
        """
        with self.paths.writing(), self._locked():
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.paths.make()
        with holding(self.paths.lock, self.patience):
            yield


def engine_for(settings: Settings, environ: Mapping[str, str] | None = None) -> Engine:
    """The engine of the hive that ``settings`` are of. Raises ConfigurationError on Windows."""
    if os.name == "nt":
        raise ConfigurationError("hived, hm dev and the embedded Redis need Linux or macOS: on Windows use WSL 2")
    paths = HivePaths.of(settings)
    mine = {**(os.environ if environ is None else environ), HIVE: str(paths.hive)}
    return Engine(settings, paths, mine, node_checker(paths.hive, mine), embedded_redis)


def inherited(paths: HivePaths) -> dict[str, str] | None:
    """The environment that this hive's supervisord was started with; None if it does not run.

    A reload has to see the same variables as the start did, wherever it is typed.
    """
    supervisord = PidFile(paths.supervisord).living()
    return environment_of(supervisord.pid) if supervisord is not None else None


def host_here(paths: HivePaths) -> str:
    """What this host is called in the hive: as its hived was told, if that runs, else as our own environment says."""
    return this_host(inherited(paths) or os.environ)


def embedded_redis(settings: Settings) -> RedisProgram | None:
    """How the hive's own Redis is started; None if the settings name one elsewhere.

    Raises ConfigurationError, with the extra to install, if there is no server program.
    """
    if settings.redis_url:
        return None
    server = Embedded.of(settings)
    return RedisProgram(tuple(server.command()), server.pidfile.path, server.url)


def redis_url(settings: Settings) -> str:
    """Where this hive's Redis is or will be; nothing is started."""
    return settings.redis_url or Embedded.of(settings).url
