"""Hosts of the hive of which no hived answers, and what is at home there, for who asks all of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigurationError
from ..settings import Settings
from ..supervisor.actions import Request, Result, Verb
from ..supervisor.control import Answer, Hived
from ..supervisor.topology import Program
from .declared import everywhere


def unheard(settings: Settings, request: Request, answers: Sequence[Answer]) -> list[Answer]:
    """For each host that did not answer, and where something that is meant is at home, an answer that says so."""
    silent = settings.constants.HOSTS.keys() - {each.hived.host for each in answers}
    if not silent:
        return []
    scale = dict.fromkeys(request.targets, request.replicas) if request.verb is Verb.SCALE else {}
    found: dict[str, list[Result]] = {}
    for one in _meant(settings, request.targets, scale):
        if one.home in silent:
            text = f"no hived answers on {one.home}, its home: `hived start` there, then ask again"
            found.setdefault(one.home, []).append(Result(one.name, False, text))
    return [
        Answer(Hived(host, "", 0), [each.program for each in results], results, done=True)
        for host, results in sorted(found.items())
    ]


def at_home_somewhere(settings: Settings, targets: Sequence[str]) -> set[str]:
    """Those of ``targets`` that name something with a home, whether its hived answers or not."""
    found = [one for one in _meant(settings, targets, {}) if one.home]
    return {target for target in targets if any(one.is_meant([target]) for one in found)}


def _meant(settings: Settings, targets: Sequence[str], scale: dict[str, int]) -> list[Program]:
    if not settings.constants.HOSTS:
        return []
    try:
        return [one for one in everywhere(settings, scale) if one.is_meant(targets)]
    except ConfigurationError:  # told where it is applied
        return []
