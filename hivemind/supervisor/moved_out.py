"""What hived does here when its hive has moved to another Redis: the hive's own one is not started any more.

Nobody is restarted for the move. hived's listener is: it has read its settings when it began.
"""

from __future__ import annotations

from ..bus.embedded import Embedded
from .apply import apply
from .engine import Engine
from .plan import load
from .processes import REDIS
from .render import LISTENER
from .stopping import stop
from .topology import Program

STOPPED = 10.0  # seconds within which the listener ends


def leave_own_redis(engine: Engine) -> bool:
    """End the hive's own Redis, which has been left; its data stay where they are. False if it did not run.

    ``engine`` has the settings of after the move. Raises SupervisorError.
    """
    with engine.lock():
        own, client = Embedded.of(engine.settings), engine.client()
        ran = own.answers()
        if engine.is_running():
            if load(engine.paths).program(REDIS) is not None:
                apply(engine, _is_redis)
            stop(client, [LISTENER], STOPPED)
            client.start(LISTENER)
        own.stop()
        return ran


def _is_redis(program: Program) -> bool:
    return program.kind == "redis"
