"""Tells, on both sides and once, that a node sends live what another reads durably: that one gets nothing of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import orjson

from ..cancelling import end
from ..data.entries import Reading
from ..data.kept import Kept
from ..data.mismatch import UNKEPT, unkept_among
from ..tolerance import tolerated
from ..topics import is_instance, is_topic, matches

if TYPE_CHECKING:
    from .base import BaseNode

MOST = 1000  #: topics of which a reader tells
LOOK = 20.0  #: seconds, about, between two looks at who reads durably


class Agreement:
    """The sender's side: a component that looks whether somebody reads durably what its services, or its handlers, send
    live. ``topics`` are those of its services.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = set(topics)
        self._told: set[tuple[str, str, str]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def start(self, node: BaseNode) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look_on(node), name="agreement")

    async def stop(self, node: BaseNode) -> None:  # noqa: ARG002 - a component is told
        """Look no more."""
        await end(self._looking)

    async def _look_on(self, node: BaseNode) -> None:
        bus = node.bus
        kept = Kept(bus.streams)
        while True:
            with tolerated(node.logger, "who reads durably"):
                if readings := await kept.readings():
                    self._tell(node, readings, await kept.now())
            await asyncio.sleep(LOOK * random.uniform(0.8, 1.2))

    def _tell(self, node: BaseNode, readings: Sequence[Reading], now: int) -> None:
        living = [one for one in readings if not one.is_retired(now)]
        if node.instance.rpartition(".")[0] == node.name:  # else others share the process, and what they send is theirs
            self._topics.update(node.bus.outbox.spool.topics()[: max(0, MOST - len(self._topics))])
        for one in unkept_among(
            [(topic, node.instance) for topic in self._topics if not node.bus.keeps(topic)], living
        ):
            said = (one.topic, one.reading.group, one.reading.pattern)
            if said not in self._told:
                self._told.add(said)
                node.logger.error("%s", one.text)
            notice = {"topic": one.topic, "live": one.instance, "group": one.reading.group}
            node.bus.notify(UNKEPT, notice)  # each time, for readers that were not there yet


class Objecting:
    """The reader's side: hears of topics that are sent live though its ``groups``, by pattern, ask for them durably."""

    def __init__(self, node: BaseNode, groups: Mapping[str, str]) -> None:
        self._node, self._groups = node, groups
        self._told: set[tuple[str, str]] = set()
        node.bus.live.listen(node.bus.names.control(UNKEPT), self._heard)

    def close(self) -> None:
        """Hear no more."""
        self._node.bus.live.unlisten(self._node.bus.names.control(UNKEPT), self._heard)

    def _heard(self, body: bytes) -> None:
        try:
            notice = orjson.loads(body)
            topic, instance = notice["topic"], notice["live"]
        except (ValueError, TypeError, KeyError):
            return  # a notice of another kind, or none of ours: anybody may publish there
        if (
            not is_topic(topic)
            or not is_instance(instance)
            or (topic, instance) in self._told
            or len(self._told) >= MOST
        ):
            return
        for pattern, group in self._groups.items():
            if matches(pattern, topic):
                self._told.add((topic, instance))
                (one,) = unkept_among([(topic, instance)], [Reading(group, pattern, "new", 0)])
                self._node.logger.error("%s", one.text)
                return
