"""`hived reload`: bring about what has changed in the files of a hive that runs, and say what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from . import output
from .groups import FAILED, WELL
from .hived import problems, rings, trouble

if TYPE_CHECKING:
    from ..settings import Settings
    from ..supervisor.apply import Applied
    from ..supervisor.arrival import Arrival

PATIENCE, POLL = 10.0, 0.1  #: seconds in which what was restarted has registered, and between two looks


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
    import os

    from ..last_settings import last_settings
    from ..settings import load_settings, variables
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
        here, settings = variables(os.environ), load_settings(hive, environ)
        _not_taken([name for name, value in here.items() if value != environ.get(name)])
    engine = engine_for(settings, environ)
    check_settings(settings, engine.environ)
    before = last_settings(hive)
    is_other = before is not None and settings.redis_url not in ("", before.redis_url)
    if is_other and (fault := trouble(settings)):  # all would go to where nobody is
        output.error(fault)
        return FAILED
    done = apply_anew(engine)
    problems(done.problems)
    rings(settings)
    rolled = done.rolled
    found = lasting(engine, arrivals(engine, {*done.added, *done.changed} - {*rolled.outcomes}))
    became = list(_became(done, found))
    for name, text, is_well in became:
        output.say(f"{name}: {text}", "" if is_well else "red")
    said = told([(name, text) for name, text, _ in became])
    note(settings, f"hived reload by {who()}: {said}")
    if done.rights:
        output.say(f"what they may do in Redis was changed: {', '.join(done.rights)}")
    elif not (became or rolled.outcomes or rolled.held):
        output.say("nothing was touched" if done.problems else "nothing changed: nothing was touched")
    if before is not None and before.constants.PATTERNS != settings.constants.PATTERNS:
        _tell_patterns(settings, done.changed)
    is_well = rolled.is_well and not done.problems and all(each.is_well for each in found.values())
    return WELL if is_well else FAILED


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


def _not_taken(names: Sequence[str]) -> None:
    """Say which variables are set where this is typed and are not, or are others, where the hive was started."""
    if names:
        are = "is" if len(names) == 1 else "are"
        output.warn(
            f"{' and '.join(names)} {are} set here, but not so for the hive that runs, which goes by what it was "
            "started with: `hived stop` and `hived start` apply it, or write it into config/hive.py"
        )
