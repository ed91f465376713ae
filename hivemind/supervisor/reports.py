"""What each hived of a hive says of what is at home on its host: asked over the bus by whoever looks at all of it.

Apart from ``report``, for who asks loads all of the bus.
"""

from __future__ import annotations

from collections.abc import Collection

from ..bus.endpoint import Endpoint
from ..errors import RedisError
from ..settings import Settings
from .actions import Request, Verb
from .control import ask
from .engine import redis_url
from .report import Report, report_in

HEARD, ANSWERED = 2.0, 5.0  # seconds in which a hived answers, and in which those that heard us have


async def reports(settings: Settings, hosts: Collection[str]) -> dict[str, Report]:
    """What the hiveds of ``hosts`` say, by host; nothing of those that do not answer, or are older."""
    endpoint = Endpoint.parse(redis_url(settings), settings.var)
    try:
        answers = await ask(endpoint, settings.name, Request(Verb.STATUS, ()), ANSWERED, HEARD, hosts=hosts)
    except RedisError:
        return {}
    told = {each.hived.host: report_in(one.text) for each in answers for one in each.results}
    return {host: report for host, report in told.items() if report is not None and host in hosts}
