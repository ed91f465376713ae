"""What can be seen of the hive's own Redis by who does not reach it: its process, its socket, its data."""

from __future__ import annotations

import os
import time

from ..bus.embedded import Embedded
from ..identity import PidFile, ProcessIdentity
from ..settings import Settings
from .paths import HivePaths
from .redis_judge import STANDS
from .standing import is_stopped

YOUNG = 2.0  # seconds, from its pidfile on, in which one that begins has opened its socket


def why_away(settings: Settings) -> str:
    """Why nobody reaches the hive's own Redis, and what hived does about it; "" where that cannot be seen, and where
    the settings name a Redis elsewhere.
    """
    if os.name == "nt":
        return ""
    server = Embedded.of(settings)
    if settings.redis_url not in ("", server.url):  # hived tells who runs under it where its own Redis is
        return ""
    redis = server.pidfile.living()
    if redis is None:
        todo = "hived starts it again" if _is_kept(settings) else "`hived start` starts it"
        return f"the hive's own Redis does not run: {todo}"
    if is_stopped(redis):
        said = f"the hive's own Redis (process {redis.pid}) is stopped by a signal"
        return f"{said}: hived replaces it after {STANDS:.0f} s" if _is_kept(settings) else said
    return socket_gone(settings)


def socket_gone(settings: Settings) -> str:
    """As ``why_away``, where its process lives and its socket was removed."""
    server = Embedded.of(settings)
    redis = server.pidfile.living()
    if redis is None or server.socket.exists() or _has_just_begun(server):
        return ""
    said = f"the hive's own Redis runs (process {redis.pid}), but its socket {server.socket} is missing: "
    return said + _way_out(settings, server, redis)


def _way_out(settings: Settings, server: Embedded, redis: ProcessIdentity) -> str:
    if not server.has_data(redis):
        return f"so is its data in {server.folder}; `hived stop` and `hived start` begin without data"
    if _is_kept(settings):
        return "hived starts it again in a few seconds, with its data"
    return f"`kill {redis.pid}` ends it; `hived start`, or a node that is run by hand, starts it again with its data"


def _is_kept(settings: Settings) -> bool:
    """Whether hived looks after it."""
    return PidFile(HivePaths.of(settings).listener).living() is not None


def _has_just_begun(server: Embedded) -> bool:
    try:
        return time.time() - server.pidfile.path.stat().st_mtime < YOUNG
    except OSError:
        return True
