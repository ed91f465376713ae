"""A Redis Cluster: which of its primaries serves which of the 16,384 slots, as its nodes tell it.

When something is wrong a few nodes are asked at once, and the one that knows most counts: who is cut off from the
others, or has not heard of a change yet, has an older epoch.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redis import exceptions
from redis.asyncio import connection as connections
from redis.crc import key_slot

from ..errors import RedisDenied, RedisError, RedisUnavailable
from .server_info import OLDEST, info_in, major_version, server_name

ASKED = 3  #: nodes that are asked at once when something is wrong
PATIENCE = 1.0  #: seconds that a node has to answer
SLOTS, PORTS = 16_384, 65_536
LONGEST = 20  #: digits of a number that a server may say
Address = tuple[str, int]
Opener = Callable[[Address], Awaitable[connections.AbstractConnection]]
_FORBIDDEN = (exceptions.NoPermissionError, exceptions.AuthenticationError)
MAP_QUESTIONS = (("CLUSTER", "SLOTS"), ("CLUSTER", "INFO"))  #: what makes a map
QUESTIONS = (*MAP_QUESTIONS, ("INFO", "server"))  #: and whether its node is one that we can use


def slot_of(key: str) -> int:
    """The slot of a key or channel."""
    return int(key_slot(key.encode()))


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Which primary serves which slots, as it was at ``epoch``; ``corrections`` are what single nodes said since."""

    ranges: tuple[tuple[int, int, Address], ...] = ()  # sorted
    nodes: frozenset[Address] = frozenset()  # replicas, too
    epoch: int = -1
    is_ok: bool = False
    corrections: Mapping[int, Address] = field(default_factory=dict)

    def primary(self, slot: int) -> Address | None:
        """Who serves ``slot``; None if nobody is known to."""
        if slot in self.corrections:
            return self.corrections[slot]
        at = bisect_right(self.ranges, slot, key=_first) - 1
        return self.ranges[at][2] if at >= 0 and slot <= self.ranges[at][1] else None

    @property
    def primaries(self) -> set[Address]:
        """All who serve slots."""
        return {*(address for _, _, address in self.ranges), *self.corrections.values()}

    def corrected(self, slot: int, address: Address) -> SlotMap:
        """The same, but for one slot."""
        return replace(self, corrections={**self.corrections, slot: address}, nodes=self.nodes | {address})


def _first(served: tuple[int, int, Address]) -> int:
    return served[0]


async def learn(
    addresses: Iterable[Address], open_at: Opener, first: Iterable[Address] = (), at_once: int = ASKED
) -> SlotMap:
    """Ask some of ``addresses``, so many at a time, until one finds all well. Raises RedisUnavailable or RedisDenied.

    Those in ``first`` are asked first: of two that know as much it is they who are right.
    """
    others = list(addresses)
    random.shuffle(others)
    order = list(dict.fromkeys((*first, *others)))
    answers: list[SlotMap | BaseException] = []
    for start in range(0, len(order), at_once):
        some = order[start : start + at_once]
        answers += await asyncio.gather(*(_ask(address, open_at) for address in some), return_exceptions=True)
        if any(isinstance(answer, SlotMap) and answer.is_ok for answer in answers):
            break  # who finds that not all is well may be the one that is cut off
    if found := [answer for answer in answers if isinstance(answer, SlotMap)]:
        return max(found, key=lambda answer: (answer.is_ok, answer.epoch))
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    raise next((error for error in errors if isinstance(error, RedisDenied)), errors[-1])


async def _ask(address: Address, open_at: Opener) -> SlotMap:
    try:
        async with asyncio.timeout(PATIENCE):
            return read_answers(address, *await _answers(await open_at(address)))
    except RedisError:
        raise
    except (OSError, TimeoutError, exceptions.RedisError) as error:
        raise RedisUnavailable(f"{_name(address)}: {str(error) or 'no answer'}") from error


async def _answers(connection: connections.AbstractConnection) -> list[Any]:
    try:
        await connection.send_packed_command(connection.pack_commands(QUESTIONS), check_health=False)
        return [await _reply(connection) for _ in QUESTIONS]
    finally:
        await connection.disconnect(nowait=True)


async def _reply(connection: connections.AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error


def read_answers(address: Address, slots: Any, info: Any, server: Any) -> SlotMap:
    """The map in what one node answered. Raises RedisDenied if it is none that a hive could use."""
    if isinstance(slots, Exception):
        if "cluster support disabled" in str(slots):
            raise RedisDenied(f"{_name(address)} is no part of a cluster: write redis:// instead of redis+cluster://")
        kind = RedisDenied if isinstance(slots, _FORBIDDEN) else RedisUnavailable
        raise kind(f"{_name(address)} does not say who serves what: {slots}")
    about = info_in(server)
    if (major := major_version(about)) is not None and major < OLDEST:
        raise RedisDenied(
            f"{_name(address)} is {server_name(about)}: Hivemind needs Redis {OLDEST} or later, or Valkey"
        )
    state = info_in(info)
    try:
        ranges = [(int(first), int(last), _address(nodes[0], address)) for first, last, *nodes in slots]
        known = frozenset(_address(node, address) for _, _, *nodes in slots for node in nodes)
    except (TypeError, ValueError, LookupError):
        raise RedisUnavailable(f"{_name(address)} does not say who serves what: it says something else") from None
    return SlotMap(
        ranges=tuple(sorted(ranges)),
        nodes=known,
        epoch=_number(state.get("cluster_current_epoch", ""), 0),
        is_ok=state.get("cluster_state") == "ok",
    )


def is_halted(info: Any) -> bool:
    """Whether CLUSTER INFO says that nothing is written anywhere, because some slots are served by nobody.

    That a primary has failed the majority of them has agreed; who is cut off from the others only suspects it.
    """
    state = info_in(info)
    return state.get("cluster_state") == "fail" and state.get("cluster_slots_pfail") == "0"


def redirection(reply: object, asked: Address) -> tuple[int, Address] | None:
    """The slot and its new primary in an error ``MOVED <slot> <host>:<port>`` of the node ``asked``."""
    kind, slot, where = [*str(reply).split(), "", "", ""][:3]
    host, _, port = where.rpartition(":")
    if kind != "MOVED" or not 0 <= _number(slot, -1) < SLOTS or not 0 < _number(port, 0) < PORTS:
        return None
    return int(slot), (host or asked[0], int(port))


def _address(node: Sequence[Any], asked: Address) -> Address:
    """A node's address; one without a host is where the node that was asked is."""
    host = node[0].decode() if isinstance(node[0], bytes) else ""
    return host if host not in ("", "?") else asked[0], int(node[1])


def _number(text: str, otherwise: int) -> int:
    """The number that a server wrote; ``otherwise`` where it is none, or longer than any that is meant."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < LONGEST else otherwise


def _name(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
