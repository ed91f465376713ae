"""`hm redis move`: a hive goes over to another Redis while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..bus.credentials import is_secured
from ..errors import ConfigurationError, HivemindError, RedisError
from . import output
from .copying import PATIENT, confirm_removal, served, single, told_now_and_then

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ..bus.endpoint import Endpoint
    from ..data.copy_file import Counts
    from ..data.destination import Leaving
    from ..data.move import Done
    from ..settings import Settings
    from ..states import MoveStage
    from ..supervisor.engine import Engine
    from ..whereabouts import Moved

T = TypeVar("T")
HERE = "; nothing was changed: the hive is where it was"


@click.command()
@click.option("--replace", is_flag=True, help="Remove what a hive of this name has there.")
@click.option("--yes", is_flag=True, help="Do not ask before something is removed.")
@click.argument("url")
@click.pass_context
def move(ctx: click.Context, url: str, *, replace: bool, yes: bool) -> None:
    """Let the hive go over to the Redis at URL, while it runs: streams, groups with what is pending, dead letters,
    data, incarnations, all that it keeps. Nobody is restarted.

    Nobody can write for a moment: what is sent waits. Before the hive goes it is counted whether all is there; if
    anything fails until then it stays where it was. Where it is from then on is written to var/moved.json, and holds
    instead of the REDIS_URL that it was set to. On other hosts of the hive do the same afterwards.

    Examples:
      hm redis move redis://:secret@there:6379
      hm redis move redis://there:6379 --replace
    """
    from .context import announce

    engine = _engine(ctx)
    settings = engine.settings
    announce(settings)
    if is_secured(settings.var):
        raise ConfigurationError(
            "the hive is secured, and the other Redis knows none of its users: `hived secure --undo`, move, and then "
            "`hived secure` there"
        )
    target = _target(url, settings)
    began = time.monotonic()
    try:
        if settings.moved is not None and settings.redis_url == target.url:
            _run(_finish(target, settings.moved.number))
            _tidy(engine, settings.moved.was)
            output.say(f"the hive {settings.name} is at {target} already")
            return
        done = _moved(_Way(settings, target, replace=replace, yes=yes))
    except RedisError as error:
        raise HivemindError(f"{error}{HERE}") from error
    finally:
        output.end_progress()
    if done is None:
        output.say(f"the hive {settings.name} had moved to {target}: this host follows")
    else:
        _say(done, time.monotonic() - began)
    _tidy(_engine(ctx), settings.redis_url)


def _run(what: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop. Raises what it raises."""
    import asyncio

    from .reading import quiet

    quiet()
    return asyncio.run(what)


def _engine(ctx: click.Context) -> Engine:
    """The hive, with the settings that hold for what runs. Raises ConfigurationError."""
    import os

    from ..settings import load_settings
    from ..supervisor.engine import engine_for, inherited
    from ..supervisor.paths import HivePaths
    from .context import context_hive

    hive = context_hive(ctx)
    settings = load_settings(hive, os.environ)
    environ = inherited(HivePaths.of(settings)) if hive is not None else None
    return engine_for(settings if environ is None else load_settings(hive, environ), environ)


def _target(url: str, settings: Settings) -> Endpoint:
    """Raises HivemindError where no hive can be moved to that URL."""
    from ..bus.embedded import Embedded
    from ..bus.endpoint import Endpoint
    from ..data.destination import as_mover

    endpoint = single(Endpoint.parse(url))
    if "hive=" in url and endpoint.hive != settings.name:
        raise HivemindError(f"this is the hive {settings.name}, and the URL says {endpoint.hive}{HERE}")
    if endpoint.url == Embedded.of(settings).url:
        raise HivemindError(f"{endpoint} is the hive's own server, which nothing is moved to{HERE}")
    return as_mover(endpoint.of(settings.name))


@dataclass(frozen=True, slots=True)
class _Way:
    """From where the hive is to ``target``."""

    settings: Settings
    target: Endpoint
    replace: bool
    yes: bool


def _moved(way: _Way) -> Done | None:
    """Move it; None if it had gone there already, by a move on another host or one that was killed."""
    import socket

    from ..data.destination import as_mover

    with served(way.settings) as old:
        source = as_mover(old)
        plan = _plan(way, source)
        if _run(_followed(way, source, plan)):
            return None
        leaving, there = _run(_looked_at(way, source))
        confirm_removal(there, way.settings.name, yes=way.yes)
        done = _run(_move(way, source, plan))
    for host in leaving.elsewhere(socket.gethostname()):
        output.warn(f"there are nodes on {host}: they wait until you do the same there")
    return done


def _plan(way: _Way, source: Endpoint) -> Moved:
    import secrets

    from ..bus.embedded import Embedded
    from ..whereabouts import Moved

    was = way.settings.redis_url
    own = "" if was else Embedded.of(way.settings).url
    sources = {was, source.url, *({own} if own else ())}
    before = way.settings.as_set.REDIS_URL
    return Moved(secrets.token_hex(8), tuple(sorted(sources)), way.target.url, own, before)


async def _followed(way: _Way, source: Endpoint, plan: Moved) -> bool:
    from ..bus.commands import Commands
    from ..data.hold import MOVER
    from ..data.move import follow
    from ..topics import Names

    async with Commands(source, MOVER) as here, Commands(way.target, MOVER) as there:
        return await follow(here, there, Names(way.settings.name), plan, way.settings.var)


async def _looked_at(way: _Way, source: Endpoint) -> tuple[Leaving, int]:
    """Who lives here, and how much of a hive of this name is there. Raises HivemindError where it cannot be moved."""
    from ..bus.commands import Commands
    from ..data.checkup import Needs
    from ..data.destination import look_at_source, look_at_target, refuse_if_used
    from ..data.hold import MOVER
    from ..topics import Names

    names = Names(way.settings.name)
    try:
        async with Commands(source, MOVER) as commands:
            leaving = await look_at_source(commands, names)
            needs = Needs(way.settings.constants.CONFIRM, len(leaving.instances), leaving.patterns)
            there = await look_at_target(way.target, names, needs, commands)
            refuse_if_used(there, names, replace=way.replace)
    except RedisError:
        raise
    except HivemindError as error:
        raise HivemindError(f"{error}{HERE}") from error
    return leaving, there


async def _move(way: _Way, source: Endpoint, plan: Moved) -> Done:
    from ..bus.commands import Commands
    from ..data.hold import MOVER
    from ..data.move import Move
    from ..topics import Names

    async with (
        Commands(source, MOVER, timeout=PATIENT) as here,
        Commands(way.target, MOVER, timeout=PATIENT) as there,
    ):
        one = Move(here, there, Names(way.settings.name), plan, way.settings.var, _telling())
        try:
            return await one.run()
        except (HivemindError, OSError) as error:
            raise HivemindError(f"{error}{'' if one.may_have_gone else HERE}") from error


async def _finish(target: Endpoint, number: str) -> None:
    from ..bus.commands import Commands
    from ..data.hold import MOVER
    from ..data.move import let_in
    from ..topics import Names

    async with Commands(target, MOVER) as there:
        await let_in(there, Names(target.hive), number)


def _telling() -> Callable[[MoveStage, Counts], None]:
    tell = told_now_and_then(lambda at: f"{at[0]}: {at[1].text}")
    return lambda stage, counts: tell((stage, counts))


def _say(done: Done, took: float) -> None:
    found = done.counts
    lost = f"; of {found.left_out:,} more pending the message was gone" if found.left_out else ""
    text = f"{found.keys:,} keys, {found.streams:,} streams, {found.entries:,} entries, {found.pending:,} pending"
    output.say(f"moved {text} in {took:.1f} s{lost}; nobody could write for {done.held:.2f} s")


def _tidy(engine: Engine, was: str) -> None:
    """The hive's own Redis is not needed any more, if that is what it left."""
    from ..bus.embedded import Embedded
    from ..supervisor.moved_out import leave_own_redis

    own = Embedded.of(engine.settings)
    if was in ("", own.url):
        leave_own_redis(engine)
        output.note(f"its own Redis has ended; what it had is in {own.folder} until you remove it")
