"""`hm lag`: how far the groups of durable topics are behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import completing, output

if TYPE_CHECKING:
    from ..data.backlog import GroupBacklog
    from ..settings import Settings

EVERY = 2.0  #: seconds between two looks of --watch
CLEAR = "\x1b[H\x1b[2J"  # to the upper left corner of an empty terminal


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of groups; with --watch one list a line.")
@click.option("--watch", is_flag=True, help=f"Look again every {EVERY:g} s, until Ctrl-C.")
@click.argument("pattern", default="*", shell_complete=completing.topics)
@click.pass_context
def lag(ctx: click.Context, pattern: str, *, as_json: bool, watch: bool) -> None:
    """How far is each group of readers behind on each kept topic? The worst comes first.

    LAG messages have not been given to the group yet; PENDING ones were, and are handled now, or wait for their next
    try. OLDEST is how long ago the oldest of both was sent. READERS are the living copies that
    have been given some of it so far. A group that has retired is marked: its node left the configuration.

    Examples:
      hm lag
      hm lag 'orders.*' --watch
      hm lag --json | jq '.[] | select(.lag > 1000)'
    """
    from ..topics import check_pattern
    from .context import announce, context_hive, settings_or_last

    check_pattern(pattern)
    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    if watch:
        _watch(settings, pattern, as_json)
    else:
        _show(_groups(settings, pattern), as_json)


def unread(group: GroupBacklog) -> str:
    """How many messages a group has yet to be given."""
    return f"{group.lag:,}{'+' if group.is_more else ''}"


def _readers(group: GroupBacklog) -> str:
    """Who reads in a group, or why nobody does."""
    return ", ".join(group.readers) or ("nobody: retired" if group.is_retired else "nobody")


def _groups(settings: Settings, pattern: str) -> list[GroupBacklog]:
    from .reading import read_backlogs

    found = [group for topic in read_backlogs(settings, pattern) for group in topic.groups]
    return sorted(found, key=lambda one: one.badness, reverse=True)


def _show(groups: list[GroupBacklog], as_json: bool) -> None:
    from ..english import age

    if as_json:
        output.as_json([one.to_json() for one in groups])
        return
    if not groups:
        output.note("no group reads durably there")
        return
    rows = [(one.topic, one.group, unread(one), f"{one.pending:,}", age(one.oldest), _readers(one)) for one in groups]
    styles = ["yellow" if one.lag and not one.readers and not one.is_retired else "" for one in groups]
    output.table(("topic", "group", "lag", "pending", "oldest", "readers"), rows, styles=styles)


def _watch(settings: Settings, pattern: str, as_json: bool) -> None:
    import asyncio

    asyncio.run(_watch_until(settings, pattern, as_json))


async def _watch_until(settings: Settings, pattern: str, as_json: bool) -> None:
    import asyncio
    import sys
    from contextlib import suppress

    from ..errors import RedisError
    from .streams import stop_on_signals

    stop, is_terminal = asyncio.Event(), sys.stdout.isatty() and not as_json
    stop_on_signals(stop)
    while not stop.is_set():
        try:
            groups = await asyncio.to_thread(_groups, settings, pattern)
        except RedisError as error:
            output.warn(str(error))
        else:
            if is_terminal:
                output.write_lines([CLEAR])
            _show(groups, as_json)
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY):
                await stop.wait()
