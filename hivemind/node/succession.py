"""Both sides of a hand-over of live messages, from the process that ends to the one that follows it.

The successor subscribes while the old process still receives, and holds back what comes. When the old one has ended,
the successor enters in its ledgers how far that one came, and lets go what it holds: what the old one had is a
duplicate then and reaches no handler, what neither had is missed, and counted. A message without a number, from outside
the hive, is the old one's if it came before that one unsubscribed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from ..bus.bus import Bus
from ..data.registry import NOTICES
from ..errors import RedisDenied
from ..topics import is_pattern
from .relay import Relay
from .subscription import Subscription

LOOK = 0.03  #: seconds between two looks at whether it is our turn
LEAVING = "leaving"  #: the event that tells a successor from where on messages are its own


class Succession:
    """A process that takes over from another, as ``instance``."""

    def __init__(self, relay: Relay, bus: Bus, instance: str, subscriptions: Sequence[Subscription]) -> None:
        self._relay, self._bus, self._instance, self._subscriptions = relay, bus, instance, subscriptions
        self._held: list[Subscription] = []
        self._knows_end = False

    async def wait(self, *, resolved: bool) -> None:
        """Receive, and hold back what comes; say that we are ready; return when it is our turn.

        ``resolved``: the patterns of the hive are for nodes to resolve. Those cannot be subscribed to before we are
        registered: what passes by until then is missed, and counted.
        """
        live = self._bus.live
        live.listen(self._bus.names.control(NOTICES), self._heard)
        if self._bus.shards is None:
            self._held = [one for one in self._subscriptions if not (resolved and is_pattern(one.name))]
        for one in self._held:
            one.live.hold()
            live.add(one.live)
        for subscription in (*(each.live for each in self._held), None):
            with suppress(RedisDenied):  # as it is for whoever starts: it is asked for again later
                await live.confirmed(subscription)
        self._relay.say_ready()
        while not self._relay.go.exists():  # noqa: ASYNC110 - it is another process that says so
            await asyncio.sleep(LOOK)

    def take(self) -> None:
        """It is ours now: go on where the old process ended."""
        self._bus.live.unlisten(self._bus.names.control(NOTICES), self._heard)
        if not self._knows_end:
            self._end_known()
        for one in self._subscriptions:
            for sender, incarnation, last in places_of(one, self._relay.left()):
                one.live.ledger.tail(sender, incarnation, last)
                self._bus.watch_sender(sender)

    def _heard(self, body: bytes) -> None:
        try:
            notice = orjson.loads(body)
            is_it = notice["event"] == LEAVING and notice["instance"] == self._instance
        except (ValueError, TypeError, KeyError):
            return  # anybody may publish there
        if is_it and not self._knows_end:
            self._end_known()

    def _end_known(self) -> None:
        self._knows_end = True
        for one in self._held:
            one.live.drop_unnumbered()


def places(subscriptions: Iterable[Subscription]) -> list[dict[str, Any]]:
    """How far each subscription came, for who follows."""
    return [
        {"member": one.node.name, "pattern": one.name, "senders": one.live.ledger.places()} for one in subscriptions
    ]


def places_of(one: Subscription, left: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, dict[str, int]]]:
    """Sender, incarnation and the last number by topic, of what was ``left`` for this subscription.

    Two with the same pattern have received the same: the one that came further counts.
    """
    found: dict[str, tuple[int, dict[str, int]]] = {}
    for each in left:
        if (each.get("member"), each.get("pattern")) == (one.node.name, one.name):
            for sender, place in _senders(each.get("senders")):
                found[sender] = max(found.get(sender, place), place, key=lambda it: (it[0], sum(it[1].values())))
    return [(sender, incarnation, last) for sender, (incarnation, last) in found.items()]


def _senders(raw: Any) -> list[tuple[str, tuple[int, dict[str, int]]]]:
    try:
        return [
            (str(name), (int(incarnation), {str(topic): int(last) for topic, last in topics.items()}))
            for name, (incarnation, topics) in raw.items()
        ]
    except (TypeError, ValueError, AttributeError):
        return []
