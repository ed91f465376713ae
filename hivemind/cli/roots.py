"""The roots that the registry does not name: each host of a hive has one, and one of them alone has the number 0."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..data.records import Instance
from ..english import duration
from ..settings import Settings
from ..supervisor.processes import ROOT

Row = tuple[object, ...]


def rows_of_others(settings: Settings, instances: Sequence[Instance]) -> list[Row]:
    """A row, as of `hm nodes`, for each root on a host whose root is not registered, as its hived says."""
    registered = [one for one in instances if one.node == ROOT and not one.is_lost]
    hosts = settings.constants.HOSTS.keys() - {one.about.host for one in registered}
    if len(settings.constants.HOSTS) < 2 or not hosts:
        return []
    from ..supervisor.reports import reports

    found = asyncio.run(reports(settings, hosts))
    why = f"{registered[0].instance} is on {registered[0].about.host}; it serves its page" if registered else ""
    return [
        (ROOT, "standby" if why else one.state, host, one.pid, duration(one.uptime or 0.0), "", "", "", why)
        for host, report in sorted(found.items())
        for one in report.programs
        if one.name == ROOT and one.pid
    ]
