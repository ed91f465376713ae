"""hm nodes: who runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from . import output

if TYPE_CHECKING:
    from ..data.records import Instance
    from ..settings import Settings

_STYLES = {"running": "green", "lost": "red", "fenced": "red", "broken": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of instances, with all that the registry knows.")
@click.pass_context
def nodes(ctx: click.Context, *, as_json: bool) -> None:
    """List every running copy of every node; under a process that several share, each of them.

    Examples:
      hm nodes
      hm nodes --json
    """
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
    if as_json:
        output.as_json([{**one.to_json(), "state": state} for one, state in zip(instances, states, strict=True)])
        return
    if not instances:
        output.note(nobody(settings))
    columns = ("instance", "state", "host", "pid", "uptime", "sends", "receives", "answers", "problems")
    rows = [row for one, state in zip(instances, states, strict=True) for row in _rows(one, state, time.time())]
    rows += rows_of_others(settings, instances)
    output.table(columns, rows, styles=[_STYLES.get(str(row[1]), "yellow") for row in rows])


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
