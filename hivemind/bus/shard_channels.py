"""What is received from one shard of a Cluster, by SSUBSCRIBE."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..errors import RedisUnavailable
from ..topics import ShardedNames
from .channels import Channels, Told
from .cluster import Address, redirection
from .link import Link
from .translation import reply_error

AWAY = 0.5  #: seconds without a connection after which nobody waits for a shard any more


class ToldOfShards(Told, Protocol):
    """Who is told, also of channels that a shard serves no more."""

    def redirected(self, shard: ShardChannels, channel: bytes, slot: int, address: Address) -> None:
        """A shard does not serve ``channel``, and says who does."""

    def disowned(self, shard: ShardChannels, channel: bytes) -> None:
        """A shard does not serve ``channel`` any more; it does not say who does."""


class ShardChannels(Channels):
    """Channels of one shard.

    ``is_away`` when there has been no connection for a moment, though one was tried.
    """

    def __init__(self, home: Link, address: Address, names: ShardedNames, told: ToldOfShards) -> None:
        super().__init__(home.endpoint.at(address), home.name, names, told)
        self.address = address
        self.is_away = False
        self._leaving: asyncio.TimerHandle | None = None
        self._told_of_shards = told
        self._lost: list[bytes] = []  # channels that this shard has stopped serving

    async def aclose(self) -> None:
        """Close the connection. May be called twice."""
        self._stay()
        await super().aclose()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is wanted from here."""
        return not self._subscriptions

    def forget(self, channel: bytes) -> None:
        """The shard does not serve ``channel`` any more: there is nothing to unsubscribe from."""
        self._subscriptions.pop(channel, None)
        self._confirmed.discard(channel)
        self._denied.pop(channel, None)

    # -- as the owner of its link

    def _after_messages(self) -> None:
        lost, self._lost = self._lost, []
        for channel in lost:
            self._told_of_shards.disowned(self, channel)
        super()._after_messages()

    def link_ready(self) -> None:
        """The shard is there: who waits for its answers does so again."""
        self._stay()
        super().link_ready()

    def _stay(self) -> None:
        self.is_away = False
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _left(self) -> None:
        self.is_away = True
        self._notify()

    def link_lost(self, reason: str) -> None:
        """What was under way is gone: nothing is waited for any more."""
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().call_later(AWAY, self._left)
        super().link_lost(reason)

    def _kind(self, channel: bytes) -> str:  # noqa: ARG002 - all are of one kind here
        return "S"

    def _answered(self, reply: object) -> None:
        if reply.__class__ is list and reply[0] == b"sunsubscribe":
            channel = reply[1]
            if not self._asked or self._asked[0] != ("UNSUBSCRIBE", channel):
                self._lost.append(channel)
                return
        verb, channel = self._asked[0]
        if verb == "SUBSCRIBE" and isinstance(reply, Exception) and self._is_elsewhere(channel, reply):
            self._asked.popleft()
            self._notify()
        else:
            super()._answered(reply)

    def _is_elsewhere(self, channel: bytes, reply: Exception) -> bool:
        """Whether a channel is refused because this is not, or not now, the place to ask for it."""
        if (found := redirection(reply, self.address)) is not None:
            self._told_of_shards.redirected(self, channel, *found)
            return True
        if isinstance(reply_error(reply), RedisUnavailable):
            self.link.drop(str(reply))
            return True
        return False
