"""`hm drill`: breaks something in a hive on purpose, watches it heal, and holds that against what is promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import completing, output
from .groups import FAILED, WELL

if TYPE_CHECKING:
    from ..drills.choice import Chosen
    from ..drills.report import Report
    from ..settings import Settings
    from ..supervisor.engine import Engine

VERBS = ("kill", "freeze", "slow", "cut", "flush", "fill", "failover", "storm")
ALL = "all"


@click.command()
@click.argument("what", type=click.Choice([*VERBS, ALL]))
@click.argument("target", required=False, shell_complete=completing.nodes)
@click.option("-y", "--yes", is_flag=True, help="Do not ask first.")
@click.option("--yes-i-mean-it", "is_meant", is_flag=True, help="Even if the hive is in production.")
@click.option("--quick", is_flag=True, help="With all: leave out those that take long.")
@click.option("--flush", "with_flush", is_flag=True, help="With all: flush, too. What the hive keeps is lost.")
@click.option("--json", "as_json", is_flag=True, help="One object a drill.")
@click.pass_context
def drill(  # noqa: PLR0913 - an option each
    ctx: click.Context,
    what: str,
    target: str | None,
    *,
    yes: bool,
    is_meant: bool,
    quick: bool,
    with_flush: bool,
    as_json: bool,
) -> int:
    """Break something on purpose, and see whether what is promised is kept.

    TARGET is a node, one instance such as batman.1, @tag, @all, root, hived, supervisord, redis, disk, or probe. Three
    probes send and receive meanwhile, and are gone afterwards. Exits 1 when a promise is not kept.

    flush loses all that the hive keeps, so all leaves it out, unless --flush is given. Where Redis is killed, or
    replaced, the last seconds of what it had confirmed may be lost, as docs/promises.md says.

    Examples:
      hm drill kill batman
      hm drill freeze batman.1
      hm drill cut redis
      hm drill slow
      hm drill failover
      hm drill flush
      hm drill all --quick
    """
    from ..supervisor.engine import engine_for
    from .context import announce, hive_settings
    from .reading import quiet as log_nothing

    log_nothing()
    _, settings = hive_settings(ctx)
    announce(settings)
    engine = engine_for(settings)
    _refuse_production(settings, is_meant=is_meant)
    chosen = _chosen(engine, what, target, quick=quick, with_flush=with_flush)
    _tell_of_flush(settings, what, chosen)
    if not yes and not _is_wanted(settings, chosen):
        return FAILED
    return WELL if _do(engine, chosen, as_json=as_json) else FAILED


def _refuse_production(settings: Settings, *, is_meant: bool) -> None:
    """Raise ConfigurationError if this hive is in production, and that was not meant."""
    from ..errors import ConfigurationError

    if settings.constants.PRODUCTION and not is_meant:
        where = settings.sources.get("PRODUCTION", "the settings")
        raise ConfigurationError(f"{where}: PRODUCTION = True: a drill breaks things; --yes-i-mean-it if it is to here")


def _chosen(engine: Engine, what: str, target: str | None, *, quick: bool, with_flush: bool) -> list[Chosen]:
    """What is to be done. Raises UsageError, and SupervisorError where no node runs."""
    from ..drills.choice import USUAL, Chosen, every, where
    from ..drills.site import first_node

    if what == ALL:
        if target is not None:
            raise click.UsageError("`hm drill all` takes no TARGET")
        return every(first_node(engine), where(engine.settings), is_quick=quick, with_flush=with_flush)
    if with_flush:
        raise click.UsageError("--flush goes with `hm drill all`; `hm drill flush` is that alone")
    if target is None and what not in USUAL:
        raise click.UsageError(f"{what} what? `hm drill {what} TARGET`")
    return [Chosen(what, target or USUAL[what])]


def _tell_of_flush(settings: Settings, what: str, chosen: list[Chosen]) -> None:
    """Say what is lost, before anything is done; or that nothing is, for it is left out."""
    if any(one.verb == "flush" for one in chosen):
        output.warn(f"flush loses what hive {settings.name} has in Redis, kept messages too")
    elif what == ALL:
        output.note("flush is left out, for it loses what the hive keeps: --flush adds it")


def _do(engine: Engine, chosen: list[Chosen], *, as_json: bool) -> bool:
    """Do it all, and show what came of it; whether all promises were kept.

    Raises WrongName for a target that nothing is called, SupervisorError.
    """
    import asyncio

    from ..drills.drill import drill as run_drills
    from ..drills.report import summary
    from ..drills.targets import NoSuchTarget
    from .nodes import WrongName

    reports: list[Report] = []

    def tell(text: str) -> None:
        output.progress(text, len(reports) / len(chosen) if len(chosen) > 1 else None)

    def show(report: Report) -> None:
        reports.append(report)
        output.end_progress()
        if as_json:
            output.as_json(report.to_json())
        else:
            output.say(report.words, "" if report.kept else "red")

    try:
        asyncio.run(run_drills(engine, chosen, tell, show))
    except NoSuchTarget as error:
        raise WrongName(str(error)) from error
    if len(reports) > 1:
        output.note(summary(reports))
    return all(one.kept for one in reports)


def _is_wanted(settings: Settings, chosen: list[Chosen]) -> bool:
    """Say what will be done; whether somebody agrees."""
    from .asked import confirmed

    what = ", ".join(f"{one.verb} {one.target}" for one in chosen)
    wanted = confirmed(f"In hive {settings.name}: {what}?", "nothing was broken")
    if not wanted:
        output.note("nothing was broken")
    return wanted
