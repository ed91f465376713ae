"""`hived`: this machine's daemon. What is about nodes, from any host, is `hm`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from .. import __version__
from . import output
from .groups import FAILED, VERSION, WELL, SectionGroup

if TYPE_CHECKING:
    from ..settings import Settings
    from ..supervisor.apply import Applied
    from ..supervisor.arrival import Arrival
    from ..supervisor.engine import Engine
    from ..supervisor.plan import Plan
    from ..supervisor.status import ProgramStatus
    from ..supervisor.topology import Problem

PATIENCE, POLL = 10.0, 0.1  #: seconds in which what was restarted has registered, and between two looks

SECTIONS = {
    "Commands": {
        "start": "hived:start",
        "stop": "hived:stop",
        "status": "hived:status",
        "reload": "hived:reload",
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
    _problems(started.plan.problems)
    _rings(settings)
    _found(started.killed, started.adopted)
    if started.process is None:
        output.say(f"hive {settings.name} already runs; `hived reload` applies what changed, `hived status` shows it")
        return WELL
    started.process.returncode = 0  # it goes on without us
    wait_for_redis(engine)
    check_own_redis(engine)
    if trouble := _trouble(settings):
        output.warn(f"{trouble}; all that is enabled was started, and waits for it")
    found = arrivals(engine, [program.name for program in started.plan.programs])
    output.say(f"hive {settings.name} runs: {', '.join(program.name for program in started.plan.programs)}")
    _not_here(engine, started.plan)
    _arrived(found)
    return FAILED if trouble and _trouble(settings) else WELL


@click.command()
@click.pass_context
def stop(ctx: click.Context) -> int:
    """Stop the hive's programs on this machine, Redis last; returns when all have ended.

    Examples:
      hived stop
    """
    from ..supervisor.engine import engine_for
    from ..supervisor.lifecycle import stop as end
    from .context import hive_folder, settings_or_last

    settings = settings_or_last(hive_folder(ctx))
    ran = end(engine_for(settings))
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
    from ..supervisor.engine import engine_for
    from ..supervisor.releases import way_out
    from ..supervisor.sharing import unshared
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
        output.say(f"hive {found.name} does not run here: `hived start` starts it")
        return FAILED
    if found.redis_away:
        lonely = unshared(settings)
        output.warn(f"{found.redis_away}; hived goes on, and nodes wait for it{f'. {lonely}' if lonely else ''}")
    if said := found.standing or found.silent:
        output.warn(said)
    if settings.constants.HOSTS:
        output.note(f"this is {found.host}")
    rows = [
        (p.name, p.state, p.pid, _duration(p.uptime), p.revivals or "", _detail(p, found.silent))
        for p in found.programs
    ]
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


@click.command()
@click.pass_context
def reload(ctx: click.Context) -> int:
    """Apply a changed configuration and changed code, to what changed only.

    What is not named in the answer was not touched. Changed code and settings are taken up by one instance at a time;
    where one does not come up, the other copies of its node go on as they were.

    Examples:
      hived reload
    """
    return reload_hive(ctx)


def reload_hive(ctx: click.Context) -> int:
    """What `hived reload` does."""
    from ..last_settings import last_settings
    from ..settings import load_settings
    from ..supervisor.arrival import arrivals, lasting
    from ..supervisor.check import check_settings
    from ..supervisor.engine import engine_for, inherited
    from ..supervisor.journal import note, told, who
    from ..supervisor.lifecycle import reload as apply_anew
    from ..supervisor.paths import HivePaths
    from .context import hive_settings

    hive, settings = hive_settings(ctx)
    environ = inherited(HivePaths.of(settings))
    if environ is not None:  # what is set where this is typed must not count
        settings = load_settings(hive, environ)
    engine = engine_for(settings, environ)
    check_settings(settings, engine.environ)
    before = last_settings(hive)
    is_other = before is not None and settings.redis_url not in ("", before.redis_url)
    if is_other and (trouble := _trouble(settings)):  # all would go to where nobody is
        output.error(trouble)
        return FAILED
    done = apply_anew(engine)
    _problems(done.problems)
    _rings(settings)
    rolled = done.rolled
    found = lasting(engine, arrivals(engine, {*done.added, *done.changed} - {*rolled.outcomes}))
    became = list(_became(done, found))
    for name, text, is_well in became:
        output.say(f"{name}: {text}", "" if is_well else "red")
    said = told([(name, text) for name, text, _ in became])
    note(settings, f"hived reload by {who()}: {said}")
    if not (done.added or done.changed or done.removed or rolled.outcomes or rolled.held):
        output.say("nothing was touched" if done.problems else "nothing changed: nothing was touched")
    if before is not None and before.constants.PATTERNS != settings.constants.PATTERNS:
        _tell_patterns(settings, done.changed)
    is_well = rolled.is_well and not done.problems and all(each.is_well for each in found.values())
    return WELL if is_well else FAILED


def _trouble(settings: Settings) -> str:
    """Why the hive's Redis does not answer, and what to do; "" if it does."""
    from ..errors import RedisError
    from .reading import read_mode

    try:
        read_mode(settings)
    except RedisError as error:
        return str(error)
    return ""


def _became(done: Applied, found: Mapping[str, Arrival]) -> Iterator[tuple[str, str, bool]]:
    """What became of each program that a reload changed: its name, that in words, and whether all is well with it."""
    from ..supervisor.rolling import held

    for what, names in (("started", done.added), ("restarted", done.changed), ("stopped", done.removed)):
        for name in names:
            if name not in done.rolled.outcomes:
                arrival = found.get(name)
                yield name, arrival.told(what) if arrival else what, arrival is None or arrival.is_well
    for name, outcome in done.rolled.outcomes.items():
        yield name, outcome.text, outcome.is_well
    for name, first in done.rolled.held.items():
        yield name, held(first), False


def _tell_patterns(settings: Settings, restarted: Sequence[str]) -> None:
    """What became of a change of PATTERNS, as soon as those that were ``restarted`` are there: it holds for all or for
    nobody.
    """
    import time

    from ..errors import RedisError
    from .reading import read_instances, read_mode

    wanted, deadline = settings.constants.PATTERNS, time.monotonic() + PATIENCE
    waiting = {name if "." in name else f"{name}.0" for name in restarted}
    while True:
        try:
            waiting -= {one.instance for one in read_instances(settings) if one.state == "running"}
            mode = read_mode(settings)
        except RedisError:
            mode = ""
        if mode == wanted or not waiting or time.monotonic() > deadline:
            break
        time.sleep(POLL)
    if mode == wanted:
        output.say(f'the hive runs with PATTERNS = "{wanted}" now')
    else:
        output.warn(
            f'PATTERNS = "{wanted}" does not hold yet, because others of this hive live: stop it on every host, with '
            "what was started by hand, then start it"
        )


def _problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
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


def _rings(settings: Settings) -> None:
    from ..data.needs import in_words, needed, rings

    for ring in rings(needed(settings.constants.NODES)):
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


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def main() -> None:
    """What the console script `hived` runs."""
    hived(prog_name="hived")


if __name__ == "__main__":
    main()
