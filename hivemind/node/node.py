"""The node that users derive from: a BaseNode that can run itself."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Self

from ..settings import Settings, find_hive, load_settings
from .base import BaseNode
from .runner import How, place_in, run


class Node(BaseNode):
    """A process with services and subscriptions. Derive from it, declare, and run it.

    Declare with ``@service`` and ``@subscription`` on methods, or override ``services()`` and ``subscriptions()`` and
    call ``add_service`` and ``add_subscription``. ``name`` is what the hive calls it (default: the class's name in
    lower case). Hooks, in the order in which they run: ``services``, ``subscriptions``, ``metadata``, ``on_start``,
    ``on_shutdown``; the last two may be ``async def``, and so may ``on_gap``, which is called when messages are lost.
    """

    def run(self, *, logging: str | None = None) -> None:
        """Run the node in this process until it is told to stop with SIGTERM or Ctrl-C.

        It joins the hive around the file that defines it, else the one around the current folder, else the hive
        ``default``. ``logging="verbose"`` shows DEBUG lines too. Raises SystemExit(1) when it cannot start.
        """
        settings = settings_for(type(self))
        code = run(self, settings, How(place_in(settings, self.name), verbose=logging is not None))
        if code:
            raise SystemExit(code)

    @classmethod
    def exec_(cls, name: str | None = None, logging: str | None = None) -> Self:
        """Build a node called ``name``, run it, and return it when it has stopped."""
        node = cls(name)
        node.run(logging=logging)
        return node


def settings_for(kind: type) -> Settings:
    """The settings of the hive that a class belongs to when its file is run by itself."""
    try:
        folder = Path(inspect.getfile(kind)).resolve().parent
    except (TypeError, OSError):  # typed at a prompt
        folder = Path.cwd()
    hive = find_hive(folder, None, os.environ) or find_hive(Path.cwd(), None, os.environ)
    return load_settings(hive)
