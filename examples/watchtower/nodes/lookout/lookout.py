"""Sees which process is busiest, and says so durably; every now and then it asks what is in the register."""

from __future__ import annotations

from itertools import count

from hivemind import AsyncService, NoResponders, RequestLost, RequestTimeout, Service, service

from ..common.options import OPTIONS
from ..common.records import Entry, Sighting
from .busiest import Watch

FOG = 24  # one of so many sightings is of nobody knows whom
LOOKS = count(1)
WATCH = Watch()


@service("sighting.process", every=5 * OPTIONS.every, durable=True)
def watch(service: Service) -> None:
    """Whoever passes by is told to the clerks, also while none of them is there."""
    name, seconds = WATCH.busiest()
    is_foggy = next(LOOKS) % FOG == 0
    service.send(Sighting("" if is_foggy else name or "nobody", round(seconds, 3)))


@service("lookout.report", every=15 * OPTIONS.every)
async def report(service: AsyncService) -> None:
    """Nobody hears this, on purpose: `hm graph` and the page say so."""
    node = service.node
    try:
        latest = [Entry(**entry) async for entry in node.request_stream("register.latest", 3, timeout=5.0)]
        seen = {entry.name: await node.request("register.count", entry.name, timeout=5.0) for entry in latest}
    except (NoResponders, RequestTimeout, RequestLost):
        return  # the register is not there: the next report will be
    service.send({"seen": seen})
