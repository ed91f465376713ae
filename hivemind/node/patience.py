"""Handlers that run long: how long, as somebody sees who looks now and then, so that no message has to be timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..bus.delivery import Delivery

LONG = 60.0  #: seconds after which a handler is worth a word; then again whenever that time has doubled


class Patience:
    """Looks at what is being handled whenever that is shown; calls ``tell(delivery, seconds)`` of what takes long."""

    def __init__(self, tell: Callable[[Delivery, float], None]) -> None:
        self._tell = tell
        self._began: dict[tuple[Delivery, int], float] = {}
        self._told: dict[tuple[Delivery, int], float] = {}

    def longest(self, handling: Iterable[Delivery], now: float) -> float:
        """Seconds for which one of these has been handled at ``now``, since somebody looked first."""
        before, self._began = self._began, {}
        for one in handling:
            key = (one, one.number)
            self._began[key] = before.get(key, now)
        self._told = {key: due for key, due in self._told.items() if key in self._began}
        for key, began in self._began.items():
            if now - began >= self._told.get(key, LONG):
                self._told[key] = 2 * (now - began)
                self._tell(key[0], now - began)
        return max((now - began for began in self._began.values()), default=0.0)
