"""Says when one of supervisord's children has ended: the kernel tells at once, supervisord looks once a second."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .keeper import exit_event

MOST = 400  # processes that are watched: each takes a file descriptor


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    event: int | None  # becomes readable when it ends; None: nothing does


class Exits:
    """Watches processes by the names of their programs, on the loop. Where the system tells nothing, it is idle."""

    def __init__(self, on_exit: Callable[[str], None]) -> None:
        self._on_exit = on_exit
        self._children: dict[str, _Child] = {}

    def watch(self, pids: Mapping[str, int]) -> None:
        """From now on watch these, by program, and no others. ``on_exit`` is told of each once."""
        for name in [name for name, child in self._children.items() if pids.get(name) != child.pid]:
            self._forget(name)
        for name, pid in pids.items():
            if name in self._children or pid <= 0:
                continue
            event = exit_event(pid) if len(self._children) < MOST else None
            self._children[name] = _Child(pid, event)
            if event is not None:
                asyncio.get_running_loop().add_reader(event, self._ended, name)

    def close(self) -> None:
        """Watch nobody any more. May be called twice."""
        for name in list(self._children):
            self._forget(name)

    def _ended(self, name: str) -> None:
        child = self._children[name]
        self._release(child)
        self._children[name] = _Child(child.pid, None)  # until supervisord has another one, there is nothing to see
        self._on_exit(name)

    def _forget(self, name: str) -> None:
        self._release(self._children.pop(name))

    def _release(self, child: _Child) -> None:
        if child.event is not None:
            asyncio.get_running_loop().remove_reader(child.event)
            os.close(child.event)
