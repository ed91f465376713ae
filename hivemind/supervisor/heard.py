"""The signals that a process has got, for one that waits with ``select``."""

from __future__ import annotations

import os
import select
import signal

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGTERM)})
FORWARDED = (
    *STOP_SIGNALS,
    *(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)),
)


class Heard:
    """From now on the signals that supervisord may send are heard here, and do nothing else."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in FORWARDED:
            signal.signal(number, lambda got, _: self.received.append(got))

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether one of them means stop."""
        return not STOP_SIGNALS.isdisjoint(self.received)

    def wait(self, seconds: float, event: int | None = None) -> None:
        """Return when a signal came, when ``event`` is readable, or after so many seconds."""
        watched = [self._reader] if event is None else [self._reader, event]
        if self._reader in select.select(watched, (), (), max(0.0, seconds))[0]:
            os.read(self._reader, 1024)
