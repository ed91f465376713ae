"""Where the past is kept: a stream of so many entries, one for each step, whichever of several roots wrote it.

The id of an entry is the time at which its step began, in milliseconds: so whoever comes second is refused by Redis. An
hour after the last root has gone there is nothing left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from ..bus.commands import Argument, Commands
from ..errors import RedisError
from ..topics import Names
from .past import HOUR, STEP, Step, step_from

log = logging.getLogger(__name__)

KEPT = int(HOUR / STEP)  #: entries
LEAST = STEP  #: seconds between two looks
AHEAD = 60  #: seconds by which the clocks of two roots may differ
AT_ONCE = 20  #: steps that are written in one go, after Redis was away


class Chronicle:
    """Writes and reads it. Where Redis refuses, or is away, nothing is kept, and nobody is told but the log."""

    def __init__(self, commands: Commands, names: Names, clock: Callable[[], float] = time.time) -> None:
        self._commands, self._key, self._clock = commands, names.past(), clock
        self._known, self._looked, self._writes = "", 0.0, False

    async def keep(self, finished: Sequence[Step]) -> list[Step]:
        """Write these steps, unless others have; what was written since the last look, at first of the last hour."""
        now = self._clock()
        if not finished and now - self._looked < LEAST:
            return []
        self._looked = now
        last = self._known or str(int((now - HOUR) * 1000))
        asked: list[tuple[Argument, ...]] = [
            ("XADD", self._key, "MAXLEN", "~", KEPT, f"{round(one.at * 1000)}-0", "b", one.raw)
            for one in finished[-AT_ONCE:]
        ]
        first, end = f"({last}" if self._known else last, int((now + AHEAD) * 1000)
        asked.append(("XRANGE", self._key, first, end, "COUNT", 2 * KEPT))
        # What a stranger wrote in our place ends when nobody of us could write there for an hour.
        asked.append(("PEXPIRE", self._key, int(HOUR * 1000), *(() if self._writes else ("NX",))))
        try:
            *written, entries, _ = await self._commands.pipeline(asked)
        except RedisError as error:
            log.debug("the past cannot be kept: %s", error)
            return []
        self._writes = any(not isinstance(one, RedisError) for one in written)
        if isinstance(entries, RedisError) or not entries:
            return []
        self._known = entries[-1][0].decode()
        return [step for one in entries if (step := _step(*one)) is not None]


def _step(entry: bytes, fields: Sequence[bytes] | None) -> Step | None:
    said = dict(zip(fields[::2], fields[1::2], strict=False)) if fields else {}
    at = int(entry.partition(b"-")[0]) / 1000
    return step_from(said[b"b"], at) if b"b" in said else None
