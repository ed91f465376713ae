"""How a peer's program chooses between its two roles; asyncio runs on uvloop, as Hivemind does."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import uvloop

from ..task import Task


def run(**roles: Callable[[Task], Any]) -> None:
    """Play the role that the command line names."""
    result = roles[sys.argv[1]](Task.here())
    if inspect.iscoroutine(result):
        uvloop.run(result)
