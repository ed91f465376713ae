"""Waits for an instance that another process has, and takes it over when that one surely lives no more.

That it lives is judged by whether its beats leave signs, by our own clock and while Redis answers: what Redis says of
time is not believed. Its clock set forward ends all leases at once, though their owners live and register again within
a beat; set back, it keeps those of the dead for as long as it was set back. Whom we once saw has that time also where
Redis has lost its data.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from ..errors import InstanceHeld, RedisError
from .records import About, Stats
from .registry import Registry

LATE = 0.25  #: of a lease: if an answer takes longer, those of others do, too, and nobody is judged

ASLEEP = 0.5  #: of a lease: after so long without a look we have stood still ourselves, and missed what moved


@dataclass(frozen=True, slots=True)
class Sight:
    """Who holds it, as when we saw his last sign, or saw him for the first time, by the loop's clock."""

    held: InstanceHeld
    at: float


class Standby:
    """Registers one process, in the place of another if that has to be.

    ``lease`` is for how many seconds a lease has to stand still, where its owner did not say more.
    """

    def __init__(self, registry: Registry, lease: float) -> None:
        self._registry, self._lease = registry, lease
        self._seen: Sight | None = None
        self._holders: dict[str, int] = {}  # the last incarnation that we saw of each instance
        self._looked = -math.inf  # when, by the loop's clock

    async def register(self, instance: str, about: About, stats: Stats) -> int:
        """Enter ``instance`` in a new life and return its incarnation; call it again and again while it raises.

        Raises InstanceHeld while another process has it, or did not say goodbye and had less than a lease of time to
        show itself; RedisError when Redis does not do its part, and then everybody has his time anew.
        """
        asked = asyncio.get_running_loop().time()
        try:
            return await self._registry.register(instance, about, stats, before=self._holders.get(instance, 0))
        except InstanceHeld as held:
            self._holders[instance] = held.incarnation
            if not self._stands_still(held, asked):
                raise
            return await self._registry.register(instance, about, stats, held, held.incarnation)
        except RedisError:
            self.start_afresh()
            raise

    def start_afresh(self) -> None:
        """Give everybody his time anew."""
        self._seen = None

    def _stands_still(self, held: InstanceHeld, asked: float) -> bool:
        """Whether the holder has given no sign for a lease."""
        now, seen = asyncio.get_running_loop().time(), self._seen
        stood_still, self._looked = asked - self._looked > ASLEEP * self._lease, now
        if seen is None or stood_still or _moved(seen.held, held) or now - asked > LATE * self._lease:
            self._seen = Sight(held, now)
            return False
        return asked - seen.at >= max(self._lease, seen.held.lease)


def _moved(before: InstanceHeld, now: InstanceHeld) -> bool:
    return (before.instance, before.incarnation, before.sign) != (now.instance, now.incarnation, now.sign)
