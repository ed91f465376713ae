"""Slows down who guesses: what was wrong is answered the later the more often it was."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FIRST, LONGEST = 0.25, 8.0
"""Seconds that the first wrong answer takes, twice as many the next, and never more than that."""
FORGET = 300.0
"""Seconds without a wrong guess after which an address is as any other."""
EACH = 4
"""Guesses of one address that may wait for their answers; who comes then is not looked at."""
ADDRESSES = 4096
"""Addresses that are remembered; of more the one that guessed longest ago is forgotten."""


@dataclass(slots=True)
class _Guesser:
    wrong: int = 0
    waiting: int = 0
    last: float = 0.0


class Slowing:
    """What is known of the addresses that guessed wrong."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def admits(self, address: str) -> bool:
        """Whether a guess of that address is looked at: not while too many of its wrong ones wait."""
        found = self._guessers.get(network_of(address))
        return found is None or found.waiting < EACH

    async def wrong(self, address: str) -> None:
        """That guess was wrong: return when it may be answered."""
        found = self._guesser(network_of(address))
        found.wrong, found.last = min(found.wrong + 1, 30), self._clock()
        found.waiting += 1
        try:
            await asyncio.sleep(min(FIRST * 2 ** (found.wrong - 1), LONGEST))
        finally:
            found.waiting -= 1

    def _guesser(self, network: str) -> _Guesser:
        found = self._guessers.pop(network, None)
        if found is None or (self._clock() - found.last > FORGET and not found.waiting):
            found = _Guesser()
        self._guessers[network] = found
        if len(self._guessers) > ADDRESSES:
            self._guessers.popitem(last=False)
        return found


def network_of(address: str) -> str:
    """The address, of IPv6 the network of 64 bits: of those one guesser has as many addresses as he likes. A socket
    that listens for both writes addresses of IPv4 as some of IPv6, all of them in one such network.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
