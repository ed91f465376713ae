"""What is asked of hived while supervisord does not answer: it says for whom it waits, and does it when that goes on.

Where supervisord is replaced hived ends with it: then nothing of what was asked has been done, and who asked is to ask
again, until the next hived hears it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from ..errors import SupervisorError
from .engine import QUICK, Engine
from .standing import is_stopped
from .stillness import BUSY, STILL

LOOK = 0.2  # seconds between two looks
REPEAT = 5.0  # seconds after which it is said again
MOST = BUSY + STILL  # seconds after which supervisord has been replaced, whatever it did


async def until_supervisord_answers(engine: Engine, tell: Callable[[str], None]) -> None:
    """Wait for our supervisord, for MOST seconds, or until the hive is to stop; ``tell`` hears for whom we wait."""
    deadline, due = time.monotonic() + MOST, 0.0
    while trouble := await asyncio.to_thread(_trouble, engine):
        now = time.monotonic()
        if now > deadline or engine.paths.stopping.exists():
            return  # who acts now says what is wrong
        if now > due:
            tell(trouble)
            due = now + REPEAT
        await asyncio.sleep(LOOK)


def _trouble(engine: Engine) -> str:
    """Why our supervisord does not answer; "" if it does. One that has followed it is not ours."""
    supervisord = engine.supervisord()
    if supervisord is None:
        return "waits for supervisord, which has ended"
    who = f"waits for supervisord (process {supervisord.pid})"
    if is_stopped(supervisord):
        return f"{who}, which is stopped by a signal"
    try:
        is_ours = engine.client(QUICK).pid() == os.getppid()
    except SupervisorError:
        is_ours = False
    return "" if is_ours else f"{who}, which does not answer"
