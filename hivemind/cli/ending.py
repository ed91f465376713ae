"""`hived stop` says for whom it waits: a node that is busy, or stands still, takes until its time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from ..supervisor.engine import Engine

SILENT, EVERY = 2.0, 5.0  #: seconds until the first word, and between two


@contextmanager
def told(engine: Engine) -> Iterator[None]:
    """While the hive stops: say who has not ended yet, and by when everybody will have."""
    done, began = threading.Event(), time.monotonic()

    def run() -> None:
        wait = SILENT
        while not done.wait(wait):
            wait = EVERY
            if text := left(engine, time.monotonic() - began):
                output.note(text)

    teller = threading.Thread(target=run, name="who is left", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def left(engine: Engine, seconds: float) -> str:
    """Who is waited for, for so many seconds already; "" for nobody."""
    from ..english import listed
    from ..supervisor.halt import survivors
    from ..supervisor.processes import REDIS
    from ..supervisor.standing import is_stopped

    found = survivors(engine)
    names = [name for name in found if name != REDIS] or [*found]
    if not names:
        return ""
    who = listed([f"{name} (stopped by a signal)" if is_stopped(found[name]) else name for name in names])
    limit = engine.settings.constants.STOP_TIMEOUT
    return f"waiting for {who} to end, for {seconds:.0f} s: who has not ended after {limit:g} s is killed"
