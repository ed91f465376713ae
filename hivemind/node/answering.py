"""What a node with responders does beside its handlers: take requests, and stop to. A component of the node."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from ..errors import RedisError
from .keeping import insist
from .responder import Responder

if TYPE_CHECKING:
    from .base import BaseNode

HANDLERS = 5.0  #: seconds that running handlers have when the node stops


class Answering:
    """The responders of a node. It begins when all else of the node runs, and ends first."""

    def __init__(self, responders: list[Responder]) -> None:
        self._responders = responders

    async def start(self, node: BaseNode) -> None:
        """Take requests from now on; wait for Redis as long as it takes.

        Raises ConfigurationError where another node of this process has one of the names.
        """
        requests = node.bus.requests
        requests.start()
        for one in self._responders:
            one.start()
            await insist(node, f"responder {one.name}", partial(requests.answering.serve, one.name, one))

    async def stop(self, node: BaseNode) -> None:
        """Take no new requests; hand back what was not begun; wait for the handlers that run."""
        answering = node.bus.requests.answering
        for one in self._responders:
            with contextlib.suppress(RedisError):  # then nobody asks, or they ask again
                await answering.leave(one.name)
        hangs = await asyncio.gather(*(one.stopped(HANDLERS) for one in self._responders))
        for one, where in zip(self._responders, hangs, strict=True):
            if where:
                node.logger.error("responder %s did not finish; who asked is told. It is in\n%s", one.name, where)
        for one in self._responders:
            answering.end(one.name)
