"""The facts of `hm doctor`, and all findings: as much of it as can be seen, also while Redis is away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..bus.embedded import Embedded
from ..bus.endpoint import Endpoint
from ..bus.facts import ServerFacts, facts_of
from ..bus.sentinels import SentinelFacts, sentinels_of
from ..constants import masked
from ..data.checkup import Finding, Level, Needs, findings
from ..data.quorum import of_sentinels
from ..data.records import Instance
from ..errors import RedisError
from ..patterns import RESOLVED
from ..picture.advice import of_network, of_settings
from ..settings import Settings
from ..supervisor.actions import Request, Verb
from ..supervisor.control import ask
from ..supervisor.engine import engine_for, redis_url
from ..supervisor.in_vain import fault_of_hive
from ..supervisor.machine import MachineFacts, facts_here, facts_in, findings_among, findings_of
from .context import outside, redis_address
from .reading import quiet, read_instances, read_mode, read_topics
from .well import look as look_at_health

HEARD = 2.0  #: seconds in which the first hived has to answer
ANSWERED = 3.0  #: seconds that one may take


@dataclass(frozen=True, slots=True)
class Checkup:
    """Everything that was seen, and what it means, the worst first."""

    settings: Settings
    findings: tuple[Finding, ...]
    servers: tuple[ServerFacts, ...]
    hosts: tuple[MachineFacts, ...]
    instances: tuple[Instance, ...]

    @property
    def is_red(self) -> bool:
        """Whether something breaks, or a promise does not hold."""
        return any(one.level is Level.RED for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """One object without secrets; stable names."""
        return {
            "hive": self.settings.name,
            "redis": redis_address(self.settings),
            "red": self.is_red,
            "findings": [one.to_json() for one in self.findings],
            "servers": [_shown(one) for one in self.servers],
            "hosts": [asdict(one) for one in self.hosts],
        }


def look(settings: Settings) -> Checkup:
    """Look at everything. Raises nothing because something is away."""
    quiet()
    servers = _servers(settings)
    is_up = any(not one.error for one in servers)
    instances, mode = _registry(settings) if is_up else ([], "")
    hosts = _hosts(settings) if is_up else []
    if os.name != "nt" and settings.hive is not None:
        here = facts_here(engine_for(settings))
        hosts_to_judge = [*[one for one in hosts if one.host != here.host], here]
    else:
        hosts_to_judge = hosts
    alive = sum(not one.is_lost for one in instances)
    found = [
        *_configuration(settings.hive),
        *of_sentinels(_sentinels(settings)),
        *findings(servers, Needs(settings.constants.CONFIRM, alive, mode)),
        *findings_among(hosts, instances, is_up),
        *(one for host in hosts_to_judge for one in findings_of(host)),
        *_health(settings, is_up),
        *_network(settings, instances, mode, is_up),
    ]
    order = [*Level]
    worst_first = sorted(found, key=lambda one: order.index(one.level))
    return Checkup(settings, tuple(worst_first), tuple(servers), tuple(hosts or hosts_to_judge), tuple(instances))


def _servers(settings: Settings) -> list[ServerFacts]:
    if not settings.redis_url and not Embedded.of(settings).socket.exists():
        todo = outside(settings).removeprefix("; ") or "`hived start` starts it"
        return [ServerFacts(redis_address(settings), f"the hive's own Redis does not run: {todo}")]
    return asyncio.run(facts_of(Endpoint.parse(redis_url(settings), settings.var), settings.name))


def _sentinels(settings: Settings) -> list[SentinelFacts]:
    if not settings.redis_url:
        return []
    return asyncio.run(sentinels_of(Endpoint.parse(settings.redis_url, settings.var)))


def _registry(settings: Settings) -> tuple[list[Instance], str]:
    try:
        return read_instances(settings), read_mode(settings)
    except RedisError:  # told by what our user may not do
        return [], ""


def _hosts(settings: Settings) -> list[MachineFacts]:
    """What every hived of the hive says of its machine; an older one says nothing."""
    endpoint = Endpoint.parse(redis_url(settings), settings.var)
    try:
        answers = asyncio.run(ask(endpoint, settings.name, Request(Verb.FACTS, ()), ANSWERED, HEARD))
    except RedisError:
        return []
    told = [facts_in(result.text) for answer in answers for result in answer.results]
    return [one for one in told if one is not None]


def _configuration(hive: Path | None) -> list[Finding]:
    fault = fault_of_hive(hive, os.environ)
    return [Finding(Level.RED, "settings", fault, "those of before hold", "mend that line")] if fault else []


def _health(settings: Settings, is_up: bool) -> list[Finding]:
    if not is_up:
        return []
    health = look_at_health(settings).health
    if health.unseen:
        return [Finding(Level.RED, "hive", health.unseen)]
    level = Level.RED if health.troubles else Level.YELLOW if health.notes or health.starting else Level.GREEN
    return [Finding(level, "hive", health.sentence, "", "" if level is Level.GREEN else "`hm why NODE` says more")]


def _network(settings: Settings, instances: Sequence[Instance], mode: str, is_up: bool) -> list[Finding]:
    """What of it works, and was hardly meant."""
    found = of_settings(settings.constants, settings.sources, instances)
    if not is_up or not instances:
        return found
    try:
        announced = read_topics(settings) if mode == RESOLVED else []
    except RedisError:
        announced = []
    return [*of_network(instances, announced), *found]


def _shown(one: ServerFacts) -> dict[str, Any]:
    return {str(key): masked(value) for key, value in asdict(one).items()}


def instances_shown(instances: Sequence[Instance]) -> list[Any]:
    """For a report."""
    return [masked(one.to_json()) for one in instances]
