"""hm nodes: who runs."""

from __future__ import annotations

import time
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

import click

from . import output

if TYPE_CHECKING:
    from ..data.records import Instance
    from ..settings import Settings
    from ..supervisor.status import ProgramStatus


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of instances, with all that the registry knows.")
@click.pass_context
def nodes(ctx: click.Context, *, as_json: bool) -> None:
    """List every running copy of every node; under a process that several share, each of them. What hived is to keep
    alive and is not there is listed, too, with its state and why.

    Examples:
      hm nodes
      hm nodes --json
    """
    from ..picture.nodes import BAD
    from .context import announce, context_hive, settings_or_last
    from .reading import read_instances, refusal
    from .roots import rows_of_others

    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    instances = read_instances(settings)
    refused = refusal(settings) if any(one.is_lost for one in instances) else ""
    if refused:
        output.warn(f"Redis refuses writes: {refused}; no lease can be renewed, who is unknown may well live")
    states = ["unknown" if refused and one.is_lost else one.state for one in instances]
    absent = _absent(settings, {one.instance for one in instances})
    if as_json:
        known = [{**one.to_json(), "state": state} for one, state in zip(instances, states, strict=True)]
        output.as_json([*known, *({"instance": name, **_bare(one)} for name, one in absent.items())])
        return
    if not (instances or absent):
        output.note(nobody(settings))
    columns = ("instance", "state", "host", "pid", "uptime", "sends", "receives", "answers", "problems")
    rows = [row for one, state in zip(instances, states, strict=True) for row in _rows(one, state, time.time())]
    rows += rows_of_others(settings, instances)
    rows += [(name, one.state, "", one.pid or "", "", "", "", "", one.detail) for name, one in absent.items()]
    colours = {"running": "green", **dict.fromkeys(BAD, "red")}
    output.table(columns, rows, styles=[colours.get(str(row[1]), "yellow") for row in rows])


def _absent(settings: Settings, there: AbstractSet[str]) -> dict[str, ProgramStatus]:
    """What hived says of copies that are not ``there``, by instance, or by node where no copy of it could begin."""
    from ..picture.declared import declared
    from ..supervisor.processes import REDIS, ROOT

    found = {f"{ROOT}.0" if name == ROOT else name: one for name, one in declared(settings).programs.items()}
    return {name: one for name, one in sorted(found.items()) if name not in there and name != REDIS}


def _bare(one: ProgramStatus) -> dict[str, object]:
    return {"node": one.name.partition(".")[0], "state": one.state, "pid": one.pid, "problem": one.detail}


def _rows(one: Instance, state: str, now: float) -> list[tuple[object, ...]]:
    from .members import common_of, part_of

    found = [_row(common_of(one), state, now)]
    for member in one.stats.members:
        row = _row(part_of(one, member), "", now)
        found.append((f"  {member.name}", member.state if one.state == "running" else state, "", "", "", *row[5:]))
    return found


def _row(one: Instance, state: str, now: float) -> tuple[object, ...]:
    from ..english import duration
    from ..picture.health import problems

    about = one.about
    sent = [(each.name, each.sent) for each in one.stats.services]
    sent += [(each.name, each.sent) for each in one.stats.sends]
    sends = ", ".join(f"{name} {count:,}" for name, count in sent)
    receives = ", ".join(f"{each.pattern} {each.received:,}" for each in one.stats.subscriptions)
    answers = ", ".join(f"{each.name} {each.received:,}" for each in one.stats.responders)
    uptime = duration(now - about.started) if about.started else ""
    where = (about.host, about.pid or "", uptime)
    return (one.instance, state, *where, sends, receives, answers, "; ".join(problems(one)))


def nobody(settings: Settings) -> str:
    """What to say where no node has joined yet."""
    begin = "`hm dev` starts the hive" if settings.hive else "`hm run FILE` starts one"
    return f"no node has joined yet: {begin}"
