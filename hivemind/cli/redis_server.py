"""`hm redis`: the server that a hive without REDIS_URL has of its own."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..errors import ConfigurationError
from . import output
from .groups import FAILED, HELP, WELL

if TYPE_CHECKING:
    from ..bus.embedded import Embedded


@click.group(context_settings=HELP)
def redis() -> None:
    """The Redis server that a hive without REDIS_URL has of its own.

    Examples:
      hm redis status
      hm redis stop
    """


@redis.command()
@click.option("--json", "as_json", is_flag=True, help="One object.")
@click.pass_context
def status(ctx: click.Context, *, as_json: bool) -> int:
    """Does it run, and where is its data? Exits 1 if it does not run.

    Examples:
      hm redis status
      hm redis status --json
    """
    found = _own_server(ctx).status()
    if as_json:
        output.as_json(asdict(found))
    else:
        output.table(("what", "value"), list(asdict(found).items()))
    return WELL if found.running else FAILED


@redis.command()
@click.pass_context
def stop(ctx: click.Context) -> None:
    """Stop it. Its data stays, and the next program that needs it starts it again.

    Examples:
      hm redis stop
    """
    stopped = _own_server(ctx).stop()
    output.say("stopped" if stopped else "it was not running")


def _own_server(ctx: click.Context) -> Embedded:
    """The embedded server of the hive that the command is about; ConfigurationError if its Redis is elsewhere."""
    from .context import announce, context_settings

    settings = context_settings(ctx)
    announce(settings)
    if settings.redis_url:
        source = settings.sources["REDIS_URL"]
        raise ConfigurationError(f"this hive's Redis is {settings.redis_url} ({source}): it is not ours to look after")
    from ..bus.embedded import Embedded

    return Embedded(folder=settings.var / "redis", socket=settings.runtime / "redis.sock")
