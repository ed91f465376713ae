"""`hm redis`: the server that a hive without REDIS_URL has of its own."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..errors import ConfigurationError
from . import output
from .copying import backup, restore
from .groups import FAILED, HELP, WELL, NamingGroup
from .moving import move

if TYPE_CHECKING:
    from ..settings import Settings


@click.group(cls=NamingGroup, context_settings=HELP)
def redis() -> None:
    """The Redis server that a hive without REDIS_URL has of its own.

    With backup, restore and move it may be any Redis.

    Examples:
      hm redis status
      hm redis backup monday.hive
      hm redis restore monday.hive
      hm redis move redis://there:6379
      hm redis stop
    """


redis.add_command(backup)
redis.add_command(restore)
redis.add_command(move)


@redis.command()
@click.option("--json", "as_json", is_flag=True, help="One object.")
@click.pass_context
def status(ctx: click.Context, *, as_json: bool) -> int:
    """Does it run, and where is its data? Exits 1 if it does not.

    Examples:
      hm redis status
      hm redis status --json
    """
    from ..bus.embedded import Embedded

    found = Embedded.of(_settings(ctx)).status()
    if as_json:
        output.as_json(asdict(found))
    else:
        state = "answers" if found.is_answering else "does not answer" if found.is_running else "not running"
        memory = None if found.memory is None else f"{found.memory / 2**20:.1f} MiB"
        rows: list[tuple[str, object]] = [("state", state), ("version", found.version), ("pid", found.pid)]
        rows += [("memory", memory), ("socket", found.socket), ("data", found.folder)]
        output.table(("redis", ""), [row for row in rows if row[1] is not None])
    return WELL if found.is_answering else FAILED


@redis.command()
@click.pass_context
def stop(ctx: click.Context) -> None:
    """End it. Its data stays, and the next node or command that is started and needs it starts it again.

    Nodes that run wait for it, and do not start it: they are named.

    Examples:
      hm redis stop
    """
    from ..bus.embedded import Embedded
    from ..identity import PidFile
    from ..supervisor.paths import HivePaths

    settings = _settings(ctx)
    if PidFile(HivePaths.of(settings).supervisord).living() is not None:
        raise ConfigurationError("hived runs this hive and would start its Redis again: use `hived stop`")
    users = _users(settings)
    stopped = Embedded.of(settings).stop()
    output.say("stopped" if stopped else "it was not running")
    if stopped and users:
        output.warn(
            f"still running, and waiting for it from now on: {', '.join(users)}; `hm run` of any node starts it"
        )


def _users(settings: Settings) -> list[str]:
    """Who lives, and will miss it."""
    from ..errors import RedisError
    from ..picture.health import is_gone
    from .reading import read_instances

    try:
        return [one.instance for one in read_instances(settings) if not one.is_lost and not is_gone(one)]
    except RedisError:
        return []  # it does not answer, or does not run


def _settings(ctx: click.Context) -> Settings:
    """The settings of the hive that the command is about; ConfigurationError if its Redis is elsewhere."""
    from .context import announce, context_hive, settings_or_last

    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    if settings.redis_url:
        raise ConfigurationError(
            f"this hive's Redis is not its own: REDIS_URL is set by {settings.sources['REDIS_URL']}"
        )
    return settings
