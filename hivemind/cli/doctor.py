"""`hm doctor`: is everything that a hive stands on as it should be? Looks at all of it, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import output
from .groups import FAILED, WELL

if TYPE_CHECKING:
    from ..data.checkup import Finding
    from .doctor_look import Checkup

_STYLES = {"red": "red", "yellow": "yellow", "unknown": "dim", "green": "green"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One object: findings, and the facts behind them.")
@click.option("--report", is_flag=True, help="Write all of it into a file for a bug report, without secrets.")
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool, report: bool) -> int:
    """Look at all that the hive stands on, and say what to do. Exits 1 if anything is red.

    Redis: version, eviction, persistence, limits, the rights of our user, its clock; each host's file descriptors,
    disk, port, clock and version. What Redis does not let us look at is unknown, and no fault.

    Examples:
      hm doctor
      hm doctor --report
      hm doctor --json | jq '.findings[] | select(.level == "red")'
    """
    from .context import announce, context_hive, settings_or_last
    from .doctor_look import look
    from .doctor_report import write_report

    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    found = look(settings)
    if as_json:
        output.as_json(found.to_json())
    else:
        for one in found.findings:
            _show(one)
        output.say(_summary(found), "red" if found.is_red else "green")
    if report:
        output.note(f"written: {write_report(found)}")
    return FAILED if found.is_red else WELL


def _show(one: Finding) -> None:
    style = _STYLES[one.level]
    output.say(f"{one.level:8}{one.subject}: {one.found}", "" if style == "green" else style)
    for part in (one.means, one.todo):
        if part:
            output.say(f"{'':10}{part}")


def _summary(found: Checkup) -> str:
    counts = {level: sum(one.level == level for one in found.findings) for level in _STYLES}
    return ", ".join(f"{count} {level}" for level, count in counts.items() if count)
