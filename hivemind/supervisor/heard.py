"""The signals that a process has got, for one that waits with ``select``."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGTERM)})
FORWARDED = (
    *STOP_SIGNALS,
    *(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)),
)


class Heard:
    """From now on the signals that supervisord may send, or other ``numbers``, are heard here, and do nothing else."""

    def __init__(self, numbers: Iterable[int] = FORWARDED) -> None:
        self.received: list[int] = []
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda got, _: self.received.append(got))

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether one of them means stop."""
        return not STOP_SIGNALS.isdisjoint(self.received)

    def wait(self, seconds: float, events: Iterable[int] = ()) -> None:
        """Return when a signal came, when one of ``events`` is readable, or after so many seconds."""
        if self._reader in select.select([self._reader, *events], (), (), max(0.0, seconds))[0]:
            os.read(self._reader, 1024)
