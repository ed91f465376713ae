"""hm status: is the hive well?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import output
from .groups import FAILED, WELL
from .seconds import Seconds

if TYPE_CHECKING:
    from ..picture.health import Health
    from ..picture.limits import Limits
    from ..picture.snapshot import Snapshot
    from ..settings import Settings

TEXT, JSON, NAGIOS, PROMETHEUS = "text", "json", "nagios", "prometheus"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--format",
    "how",
    type=click.Choice([TEXT, JSON, NAGIOS, PROMETHEUS]),
    default=TEXT,
    help="A sentence; an object; a plugin's line, for Nagios and the like; metrics, for Prometheus.",
)
@click.option("--max-lag", type=click.IntRange(min=0), metavar="N", help="Not well with a group more messages behind.")
@click.option("--max-age", type=Seconds(), metavar="SECONDS", help="Not well with a message that waits for longer.")
@click.option("--max-loss", type=click.IntRange(min=0), metavar="N", help="Not well with more messages lost.")
@click.option("--wait", type=Seconds(), metavar="SECONDS", help="Until it is well, so long at the most.")
@click.pass_context
def status(
    ctx: click.Context,
    wait: float | None,
    how: str,
    max_lag: int | None,
    max_age: float | None,
    max_loss: int | None,
    *,
    as_json: bool,
) -> int:
    """Is the hive well? One sentence, and exit code 0 or 1.

    Well is a hive whose Redis answers, whose enabled nodes all run, where no instance is lost, no service fails, and
    nobody asks durably for what is sent live only. A node in quarantine ends --wait at once. With --format nagios the
    exit code is 0, 1 (worth a look), 2 (not well) or 3 (cannot be seen).

    Examples:
      hm status
      hived start && hm status --wait 30
      hm status --json || notify-send 'Gotham is in trouble'
      hm status --format nagios --max-lag 1000 --max-age 60
    """
    from ..picture.limits import Limits
    from .context import announce, context_hive, settings_or_last
    from .well import look

    settings = settings_or_last(context_hive(ctx))
    if as_json and how not in (TEXT, JSON):
        raise click.UsageError(f"--json is --format json, not {how}: choose one")
    how = JSON if as_json else how
    if how == TEXT:
        announce(settings)
    limits = Limits(max_lag, max_age, max_loss)
    seen = look(settings, wait or 0.0, limits)
    return _SAYS[how](settings, seen.health, seen.snapshot, limits)


def _as_text(settings: Settings, health: Health, snapshot: Snapshot, _: Limits) -> int:
    from ..patterns import SERVER

    mode = snapshot.state.patterns
    if mode and (mode != SERVER or mode != settings.constants.PATTERNS):
        output.note(f'it runs with PATTERNS = "{mode}"{_other_than(settings, mode)}')
    bad = health.troubles or health.unseen
    output.say(health.sentence, "red" if bad else "yellow" if health.notes or health.starting else "green")
    return WELL if health.is_well else FAILED


def _as_json(settings: Settings, health: Health, snapshot: Snapshot, _: Limits) -> int:
    from ..picture.limits import Figures
    from .formats import as_object

    about = {"hive": settings.name, "redis": snapshot.redis, "patterns": snapshot.state.patterns}
    output.as_json({**about, **as_object(health, Figures.of(snapshot))})
    return WELL if health.is_well else FAILED


def _as_plugin(_: Settings, health: Health, snapshot: Snapshot, limits: Limits) -> int:
    from ..picture.limits import Figures
    from .formats import nagios

    line, code = nagios(health, Figures.of(snapshot), limits)
    output.say(line)
    return code


def _as_metrics(_: Settings, health: Health, snapshot: Snapshot, __: Limits) -> int:
    from ..picture.metrics import exposition

    output.say(exposition(snapshot)[0].decode().rstrip())
    return WELL if health.is_well else FAILED


_SAYS = {TEXT: _as_text, JSON: _as_json, NAGIOS: _as_plugin, PROMETHEUS: _as_metrics}


def _other_than(settings: Settings, mode: str) -> str:
    said = settings.constants.PATTERNS
    if said == mode:
        return ""
    return f', although {settings.sources["PATTERNS"]} says "{said}": stop the whole hive, on every host, then start it'
