"""Writes down every sighting. There are two of it, which share the work: each sighting is written down by one."""

from __future__ import annotations

from hivemind import Message, Node, Reject, subscription

from ..common.records import Entry, Sighting

BLOT = 10  # at one of so many the pen fails at first


class Clerk(Node):
    """A sighting in the fog becomes a dead letter; one for which there was no ink is tried again."""

    @subscription("sighting.*", durable=True, since="all", retries=3, backoff=(0.5, 5.0))
    async def write_down(self, payload: Sighting, message: Message) -> None:
        if not payload.name:
            raise Reject("a shape in the fog: nobody knows who it was")
        if message.sequence % BLOT == 0 and message.deliveries == 1:
            raise OSError("the pen ran dry")
        self.send("entry.sighting", Entry(payload.name, payload.seconds, self.instance))
