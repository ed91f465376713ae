"""Commands that look at a hive: status, nodes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from . import output
from .groups import FAILED, WELL
from .seconds import Seconds

if TYPE_CHECKING:
    from ..data.records import Instance
    from ..settings import Settings

_STYLES = {"running": "green", "lost": "red", "fenced": "red", "broken": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One object; `well` is what the exit code says.")
@click.option("--wait", type=Seconds(), metavar="SECONDS", help="Until it is well, so long at the most.")
@click.pass_context
def status(ctx: click.Context, wait: float | None, *, as_json: bool) -> int:
    """Is the hive well? One sentence, and exit code 0 or 1.

    Well is a hive whose Redis answers, whose enabled nodes all run, where no instance is lost, no service fails, and
    nobody asks durably for what is sent live only. A node in quarantine ends --wait at once.

    Examples:
      hm status
      hived start && hm status --wait 30
      hm status --json || notify-send 'Gotham is in trouble'
    """
    from ..errors import RedisError
    from ..patterns import SERVER
    from .context import announce, context_hive, redis_address, settings_or_last
    from .well import look

    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    about = {"hive": settings.name, "redis": redis_address(settings)}
    try:
        seen = look(settings, wait or 0.0)
    except RedisError as error:
        sentence = f"{settings.name} cannot be seen: {error}"
        if as_json:
            output.as_json({**about, "well": False, "sentence": sentence, "troubles": [str(error)], "notes": []})
        else:
            output.say(sentence, "red")
        return FAILED
    health, mode = seen.health, seen.patterns
    if not as_json and mode and (mode != SERVER or mode != settings.constants.PATTERNS):
        output.note(f'it runs with PATTERNS = "{mode}"{_other_than(settings, mode)}')
    if as_json:
        about["patterns"] = mode
        found = {"troubles": health.troubles, "notes": health.notes, "starting": health.starting}
        counts = {"instances": health.running, "nodes": health.nodes}
        output.as_json({**about, "well": health.is_well, "sentence": health.sentence, **found, **counts})
    else:
        output.say(
            health.sentence, "red" if health.troubles else "yellow" if health.notes or health.starting else "green"
        )
    return WELL if health.is_well else FAILED


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


def _other_than(settings: Settings, mode: str) -> str:
    said = settings.constants.PATTERNS
    if said == mode:
        return ""
    return f', although {settings.sources["PATTERNS"]} says "{said}": stop the whole hive, on every host, then start it'


def _rows(one: Instance, state: str, now: float) -> list[tuple[object, ...]]:
    from .members import common_of, part_of

    found = [_row(common_of(one), state, now)]
    for member in one.stats.members:
        row = _row(part_of(one, member), "", now)
        found.append((f"  {member.name}", member.state if one.state == "running" else state, "", "", "", *row[5:]))
    return found


def _row(one: Instance, state: str, now: float) -> tuple[object, ...]:
    from ..english import duration
    from .health import problems

    about = one.about
    sends = ", ".join(f"{service.name} {service.sent:,}" for service in one.stats.services)
    receives = ", ".join(f"{each.pattern} {each.received:,}" for each in one.stats.subscriptions)
    answers = ", ".join(f"{each.name} {each.received:,}" for each in one.stats.responders)
    uptime = duration(now - about.started) if about.started else ""
    where = (about.host, about.pid or "", uptime)
    return (one.instance, state, *where, sends, receives, answers, "; ".join(problems(one)))


def nobody(settings: Settings) -> str:
    """What to say where no node has joined yet."""
    begin = "`hm dev` starts the hive" if settings.hive else "`hm run FILE` starts one"
    return f"no node has joined yet: {begin}"
