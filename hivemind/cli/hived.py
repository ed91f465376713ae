"""`hived`: this machine's daemon. What is about nodes, from any host, is `hm`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from .. import __version__
from . import output
from .groups import FAILED, VERSION, WELL, SectionGroup

if TYPE_CHECKING:
    from ..settings import Settings
    from ..supervisor.arrival import Arrival
    from ..supervisor.engine import Engine
    from ..supervisor.plan import Plan
    from ..supervisor.status import HiveStatus, ProgramStatus
    from ..supervisor.topology import Problem

SECTIONS = {
    "Commands": {
        "start": "hived:start",
        "stop": "hived:stop",
        "status": "hived:status",
        "reload": "reload:reload",
        "rollback": "rollback:rollback",
        "secure": "secure:secure",
        "export": "export:export",
    },
}


@click.group(cls=SectionGroup, sections=SECTIONS)
@click.option("--hive", metavar="PATH", help="The hive's folder; else HIVEMIND_HIVE, or the hive one is in.")
@click.version_option(__version__, message=VERSION)
def hived(hive: str | None) -> None:
    """The daemon of this machine: keeps the nodes of a hive alive, whatever happens to them.

    `hived COMMAND -h` tells more, with examples. Everything about single nodes is `hm`.
    """


@click.command()
@click.option("--foreground", is_flag=True, help="Stay, show one merged log, and stop everything on Ctrl-C or SIGTERM.")
@click.pass_context
def start(ctx: click.Context, *, foreground: bool) -> int:
    """Start the hive's programs: its Redis, the root, and every enabled node.

    On a running hive it says so and exits 0. Where Redis does not answer all is started and waits for it; that exits 1.
    Of hived and supervisord, who was stopped by a signal is replaced.

    Examples:
      hived start
      hived --hive ~/repos/gotham start --foreground
    """
    from ..supervisor.arrival import arrivals
    from ..supervisor.check import check_settings
    from ..supervisor.engine import engine_for
    from ..supervisor.lifecycle import check_own_redis, wait_for_redis
    from ..supervisor.lifecycle import start as begin
    from ..supervisor.log_folder import claim
    from ..supervisor.sharing import unshared
    from ..supervisor.topology import Selection
    from .context import announce, hive_settings
    from .foreground import watch

    _, settings = hive_settings(ctx)
    engine = engine_for(settings)
    check_settings(settings, engine.environ)
    if foreground:
        return watch(engine, as_json=settings.constants.LOG_FORMAT == "json")
    announce(settings)
    if mixed := claim(settings):
        output.warn(mixed)
    started = begin(engine, Selection())
    if lonely := unshared(settings):
        output.warn(lonely)
    problems(started.plan.problems)
    rings(settings)
    _found(started.killed, started.adopted)
    if started.process is None:
        output.say(f"hive {settings.name} already runs; `hived reload` applies what changed, `hived status` shows it")
        return WELL
    started.process.returncode = 0  # it goes on without us
    wait_for_redis(engine)
    check_own_redis(engine)
    if fault := trouble(settings):
        output.warn(f"{fault}; all that is enabled was started, and waits for it")
    found = arrivals(engine, [program.name for program in started.plan.programs])
    output.say(f"hive {settings.name} runs: {', '.join(program.name for program in started.plan.programs)}")
    _not_here(engine, started.plan)
    _arrived(found)
    return FAILED if fault and trouble(settings) else WELL


@click.command()
@click.pass_context
def stop(ctx: click.Context) -> int:
    """Stop the hive's programs on this machine, Redis last; returns when all have ended. Who takes long is named.

    Examples:
      hived stop
    """
    from ..supervisor.engine import engine_for
    from ..supervisor.lifecycle import stop as end
    from .context import hive_folder, settings_or_last
    from .ending import told

    settings = settings_or_last(hive_folder(ctx))
    engine = engine_for(settings)
    with told(engine):
        ran = end(engine)
    output.say(f"hive {settings.name} has stopped" if ran else f"hive {settings.name} did not run")
    return WELL


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def status(ctx: click.Context, *, as_json: bool) -> int:
    """Show every program of the hive on this machine; exits 1 if one that should run does not, or Redis is silent.

    Examples:
      hived status
      hived status --json
    """
    from ..english import age
    from ..supervisor.engine import engine_for
    from ..supervisor.releases import way_out
    from ..supervisor.status import status as look
    from ..supervisor.strays import in_words
    from .context import announce, hive_folder, settings_or_last

    settings = settings_or_last(hive_folder(ctx))
    engine = engine_for(settings)
    found = look(engine)
    if as_json:
        output.as_json(found.to_json())
        return WELL if found.is_well else FAILED
    announce(settings)
    if found.strays:
        output.error(in_words(engine, found.strays))
        return FAILED
    if not found.running:
        output.say(found.absent, "red" if found.unguarded else "")
        return FAILED
    _warnings(engine, found)
    if settings.constants.HOSTS:
        output.note(f"this is {found.host}")
    rows = [(p.name, p.state, p.pid, age(p.uptime), p.revivals or "", _detail(p, found.silent)) for p in found.programs]
    colours = {"running": "green", "standby": "yellow", "starting": "yellow", "waiting": "yellow", "stopped": "dim"}
    styles = [colours.get(p.state, "red") for p in found.programs]
    output.table(["program", "state", "pid", "uptime", "revived", "remarks"], rows, styles=styles)
    _elsewhere(found.elsewhere)
    out = way_out(engine.paths) if found.problems else ""
    for note in (out, f"{found.stood}; all goes on" if found.stood else "", found.undone):
        if note:
            output.note(note)
    if found.page:
        output.say(f"page: {found.page}")
    return WELL if found.is_well else FAILED


def _warnings(engine: Engine, found: HiveStatus) -> None:
    """Say what of the hive is not well besides its programs."""
    import os

    from ..supervisor.engine import inherited
    from ..supervisor.in_vain import missing
    from ..supervisor.sharing import unshared

    if found.redis_away:
        lonely = unshared(engine.settings)
        output.warn(f"{found.redis_away}; hived goes on, and nodes wait for it{f'. {lonely}' if lonely else ''}")
    if said := found.standing or found.silent:
        output.warn(said)
    if said := missing(engine.settings.hive, inherited(engine.paths) or os.environ):
        output.warn(f"{said}; the settings applied last hold")


def trouble(settings: Settings) -> str:
    """Why the hive's Redis does not answer, and what to do; "" if it does."""
    from ..errors import RedisError
    from .reading import read_mode

    try:
        read_mode(settings)
    except RedisError as error:
        return str(error)
    return ""


def problems(found: Sequence[Problem]) -> None:
    """Warn of nodes that do not run as asked."""
    for problem in found:
        output.warn(f"{problem}; the others run")


def _found(killed: Sequence[str], adopted: Sequence[str]) -> None:
    """Say who of hived and supervisord stood still, and which programs were running without them."""
    if killed:
        output.note(f"{' and '.join(killed)} stood still, stopped by a signal: killed, to be replaced")
    for name in adopted:
        output.note(f"{name} was still running and goes on")


def _arrived(found: Mapping[str, Arrival]) -> None:
    """What is to be said of those that are not there as they should be."""
    for name, arrival in found.items():
        if arrival.has_ended and not arrival.is_well:
            output.warn(f"{name}: {arrival.told('started')}")
        elif arrival.waits_for and not arrival.has_ended:
            output.note(f"{name} waits for {arrival.waits_for}, which it needs")
    late = (name for name, arrival in found.items() if not (arrival.is_there or arrival.has_ended or arrival.waits_for))
    if waiting := list(late):
        output.warn(f"not consuming yet: {', '.join(waiting)}; `hived status` shows them")


def _not_here(engine: Engine, plan: Plan) -> None:
    """Say which nodes do not run here: those that are not enabled, and those at home on other hosts."""
    from ..supervisor.dev import not_enabled

    for sentence in not_enabled(engine, ()):
        output.note(sentence)
    _elsewhere({program.name: program.home for program in plan.elsewhere})


def _elsewhere(homes: Mapping[str, str]) -> None:
    """Say what is at home on other hosts: one line a host."""
    from ..english import listed

    for host in sorted({*homes.values()}):
        output.note(f"on {host}: {listed([name for name, home in homes.items() if home == host])}")


def rings(settings: Settings) -> None:
    """Say which nodes need one another."""
    from ..data.needs import in_words, needed
    from ..data.needs import rings as found

    for ring in found(needed(settings.constants.NODES)):
        who = in_words(ring)
        output.note(f"{who} need one another: none of them waits for another" if ring[1:] else f"{who} needs itself")


def _detail(program: ProgramStatus, said: str) -> str:
    """The remarks on one program, but for what was ``said`` of all."""
    own = program.detail if program.detail != said else ""
    return "; ".join(part for part in (own, _old_code(program)) if part)


def _old_code(program: ProgramStatus) -> str:
    if not program.old_code:
        return ""
    release = f" ({program.release})" if program.release else ""
    return f"{program.old_code} with the code of before{release}: its file is not well, mend it and `hived reload`"


def main() -> None:
    """What the console script `hived` runs."""
    hived(prog_name="hived")


if __name__ == "__main__":
    main()
