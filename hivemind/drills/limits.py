"""What is promised when something breaks, as numbers that a drill is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..constants import Constants

SECOND_TIER = 2.0  #: seconds of what was confirmed that a Redis killed with `appendfsync everysec` may lose
FAILOVER = 4.0  #: seconds for which a primary takes messages after Sentinels have begun to replace it: these are lost
UNTOLD = 1.5  #: seconds for which what was handled may not be acknowledged
LOOK = 2.0  #: seconds that whoever watches leases needs beyond the lease
STACKS = 1.0  #: seconds that a hung process gets to write its stacks
ASKED = 1.0  #: seconds after which who asks hived or supervisord gives up
TOLD = 2.0  #: seconds after which a probe says that Redis does not take what it sent
START = 2.0  #: seconds in which a node that died is there again, on a machine that has nothing else to do
NOMINAL = 1.5  #: seconds in which such a machine starts the three probes


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds until it is ``noticed`` and until all is ``back``; of ``lost`` and ``doubled``, the seconds' worth of
    messages before the fault that may be (None: any number, but what is lost is shown).

    ``from_end``: what is back is timed from when the cause was gone. No message may be out of order, no live one be
    missed uncounted, and nobody be restarted who was not hit.
    """

    noticed: float
    back: float
    lost: float | None = 0.0
    doubled: float = 0.0
    from_end: bool = False

    def stretched(self, by: float) -> Limits:
        """On a machine that is so many times slower."""
        return replace(self, noticed=round(self.noticed * by, 2), back=round(self.back * by, 2))

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def promised(constants: Constants) -> Mapping[str, Limits]:
    """The limits of every fault, by what it does to what, for a hive with these settings."""
    lease, beat = constants.LEASE, constants.HEARTBEAT * 1.2
    lost = SECOND_TIER if constants.CONFIRM in ("memory", "second") else 0.0
    amnesia = SECOND_TIER + UNTOLD
    return {
        "kill node": Limits(0.5, START),
        "kill root": Limits(0.5, 5.0),
        "freeze root": Limits(lease + LOOK, lease + LOOK + STACKS + 5.0),
        "freeze hived": Limits(ASKED + 1.0, 2.0, from_end=True),
        "freeze supervisord": Limits(ASKED + 1.0, 2.0, from_end=True),
        "kill probe": Limits(0.5, START, doubled=UNTOLD),
        "kill hived": Limits(1.5, 5.0),
        "kill supervisord": Limits(1.5, 10.0),
        "kill redis": Limits(1.0, beat + 0.5, lost, amnesia, from_end=True),
        "freeze node": Limits(lease + LOOK, lease + LOOK + STACKS + START),
        "freeze probe": Limits(lease + LOOK, LOOK, doubled=UNTOLD, from_end=True),
        "freeze redis": Limits(6.0, beat + 1.0, from_end=True),
        "slow redis": Limits(1.0, 2.0, from_end=True),
        "cut node": Limits(1.0, 2.0, from_end=True),
        "cut redis": Limits(1.0, 2.0, from_end=True),
        "flush redis": Limits(beat, 2 * beat, None, amnesia, from_end=True),
        "fill redis": Limits(TOLD + 1.0, 5.0, from_end=True),
        "fill disk": Limits(TOLD + 2.0, 5.0, doubled=UNTOLD, from_end=True),
        "failover sentinel": Limits(3.0, 3.0, FAILOVER, FAILOVER + UNTOLD),
        "failover cluster": Limits(3.0, 3.0),
        "storm": Limits(0.5, 10.0, doubled=UNTOLD),
    }


def stretch(start: float) -> float:
    """How many times slower than it ought to be a machine is, that took so many seconds to start the probes."""
    return round(max(1.0, start / NOMINAL), 2)
