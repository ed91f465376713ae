"""hived's look at the hive's own Redis: does it go on, and do others get in?

One that stands still is killed, and one whose socket was removed is asked to end; supervisord starts it again at once,
with its data. What it never does is to end one that is busy (redis_judge.py), or one whose data is gone from the disk,
in part, too, or replaced by a copy: what that has in its memory is all that is left. If a signal has stopped that it is
let go on.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time

from ..bus.embedded import Embedded
from ..identity import ProcessIdentity
from ..process_table import doing, waits_for_disk, waits_of
from . import stood
from .engine import Engine
from .keeper import kill, kill_group
from .lives import say_hung
from .processes import REDIS
from .redis_judge import Entrance, Progress, Socket
from .stood import Stood

log = logging.getLogger("hived")

LOOK = 1.0  # seconds between two looks
PING = 2.0  # seconds for an answer, of whatever kind


class RedisVigil:
    """Watches over the Redis that hived runs; where the settings name one elsewhere there is nothing to do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._redis: ProcessIdentity | None = None
        self._progress, self._entrance = Progress(), Entrance()
        self._told: tuple[ProcessIdentity, bool] | None = None  # of whom it was said that its socket is gone, with data

    async def run(self) -> None:
        """Watch for ever."""
        if self._engine.settings.redis_url:
            await asyncio.Event().wait()
        server = Embedded.of(self._engine.settings)
        while True:
            await asyncio.sleep(LOOK)
            await asyncio.to_thread(self._look, server)

    def _look(self, server: Embedded) -> None:
        redis = server.pidfile.living() or self._redis
        if redis is None or not redis.is_alive() or self._engine.paths.stopping.exists():
            redis = None
        if redis != self._redis:
            self._redis = redis
            self._progress.heard()
        if redis is not None:
            self._look_at_work(redis, server)
            self._look_at_socket(redis, server)

    def _look_at_work(self, redis: ProcessIdentity, server: Embedded) -> None:
        seen = doing(redis.pid)
        self._progress.look(LOOK, seen, waits_of(redis.pid))
        if seen is None:
            return
        if self._progress.is_mute and (waits_for_disk(redis.pid) or server.ask("PING", timeout=PING)):
            self._progress.heard()
        if self._progress.is_stopped or self._progress.is_mute:
            self._revive(redis, seen.state, server)
            self._progress.heard()

    def _revive(self, redis: ProcessIdentity, state: str, server: Embedded) -> None:
        """Kill what stands still; where its data is gone from the disk it may only be let go on."""
        if not server.has_data(redis):
            log.error(
                "the hive's own Redis (process %d) stands still, and its data in %s is gone: it is not killed, but "
                "told to go on",
                *(redis.pid, server.folder),
            )
            kill(redis, signal.SIGCONT)
            return
        seconds = max(self._progress.stood, self._progress.mute)
        found = Stood("the hive's own Redis", redis.pid, state, seconds, time.time(), is_told=True)
        stood.write(self._engine.paths.stood, found)
        log.error("%s; it is started again with its data", found.text)
        say_hung(self._engine.paths, REDIS, redis.pid)
        kill_group(redis)

    def _look_at_socket(self, redis: ProcessIdentity, server: Embedded) -> None:
        found = _socket_at(server)
        if found is not None and not self._entrance.knows(redis) and server.serves(redis):
            self._entrance.opened(redis, found)
        if not self._entrance.look(LOOK, redis, found):
            return
        has_data = server.has_data(redis)
        if self._told != (redis, has_data):
            self._told = redis, has_data
            _tell(redis, server, "is gone" if found is None else "was replaced", has_data=has_data)
        if has_data:
            kill(redis, signal.SIGTERM)


def _tell(redis: ProcessIdentity, server: Embedded, what: str, *, has_data: bool) -> None:
    """Say what became of its socket, and what is done."""
    if has_data:
        log.warning(
            "%s, the socket of the hive's own Redis (process %d), %s: nobody else can connect; it is started again",
            *(server.socket, redis.pid, what),
        )
    else:
        log.error(
            "%s, the socket of the hive's own Redis (process %d), %s, and so is its data in %s: all of it is in "
            "its memory, and it is not started again; `hived stop` and `hived start` begin without data",
            *(server.socket, redis.pid, what, server.folder),
        )


def _socket_at(server: Embedded) -> Socket | None:
    try:
        found = server.socket.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
