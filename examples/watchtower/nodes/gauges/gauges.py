"""Measures the machine it runs on: CPU, memory, disk, network and processes, each on a topic of its own."""

from __future__ import annotations

import psutil

from hivemind import Service, service

from ..common.options import OPTIONS
from ..common.records import Reading
from ..common.tally import TALLY
from .measure import Meter, core_seconds

EVERY = OPTIONS.every
CPU = Meter(core_seconds(OPTIONS.tree))
NETWORK = Meter(lambda: sum(psutil.net_io_counters()[:2]))


@service("host.cpu", every=EVERY)
def cpu(service: Service) -> None:
    """How busy the cores are, as percent of one: two busy cores are 200 %."""
    if (busy := CPU.rate()) is not None:
        tell(service, Reading(100 * busy, "% of a core", {"cores": psutil.cpu_count() or 1}))


@service("host.memory", every=EVERY)
def memory(service: Service) -> None:
    """How much memory is taken; that which can be freed at once does not count."""
    found = psutil.virtual_memory()
    tell(service, Reading(found.percent, "%", {"total": found.total, "available": found.available}))


@service("host.disk", every=EVERY)
def disk(service: Service) -> None:
    """How full the disk is on which the hive lies."""
    found = psutil.disk_usage(str(service.node.settings.var.parent))
    tell(service, Reading(found.percent, "%", {"total": found.total, "free": found.free}))


@service("host.network", every=EVERY)
def network(service: Service) -> None:
    """What all network interfaces send and receive together."""
    if (rate := NETWORK.rate()) is not None:
        tell(service, Reading(rate, "bytes/s"))


@service("host.processes", every=EVERY)
def processes(service: Service) -> None:
    """How many processes there are."""
    tell(service, Reading(len(psutil.pids()), "processes"))


def tell(service: Service, reading: Reading) -> None:
    """Count it, and send it on the service's own topic."""
    TALLY.sends(service.node, service.name)
    service.send(reading)
