"""`hm forget`: removes a durable group that nobody reads with any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import completing, output
from .groups import FAILED, WELL

if TYPE_CHECKING:
    from ..bus.streams import Streams
    from ..data.durability import Durability
    from ..data.records import Instance
    from ..settings import Settings


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("group", shell_complete=completing.groups)
@click.pass_context
def forget(ctx: click.Context, group: str, *, yes: bool) -> int:
    """Forget a durable group, such as that of a node which was tried once. It says what is lost, and asks first.

    No message is kept for GROUP any more, `hm status` and `hm lag` do not name it, and what waits for it it never gets.
    Its dead letters stay. While anybody reads in it, it is refused; a node that reads in it later begins anew.

    Examples:
      hm forget pin
      hm forget pin --yes
    """
    from .context import announce, context_settings
    from .nodes import WrongName
    from .reading import read_durability, read_instances, work

    settings = context_settings(ctx)
    announce(settings)
    instances = read_instances(settings)
    if living := _readers(group, instances):
        raise click.ClickException(f"{', '.join(living)} reads in group {group}: stop that first; nothing was changed")
    known = work(settings, _known)
    if group not in known:
        raise WrongName(_nobody(group, known))
    loses = _loses(group, read_durability(settings, instances))
    if not yes and not _is_sure(group, loses):
        output.note("nothing was changed")
        return FAILED
    work(settings, lambda streams: _forget(streams, group))
    output.say(f"group {group} is forgotten{f', with {loses}' if loses else ''}")
    if again := _declared(settings, group):
        output.note(f"{again} is enabled: when it runs again it begins anew")
    return WELL


def _readers(group: str, instances: list[Instance]) -> list[str]:
    """The living copies that read in a group."""
    alive = [one for one in instances if not one.is_lost]
    return sorted(one.instance for one in alive if any(each.group == group for each in one.stats.subscriptions))


async def _known(streams: Streams) -> set[str]:
    from ..data.kept import Kept

    return {one.group for one in await Kept(streams).readings()}


async def _forget(streams: Streams, group: str) -> None:
    from ..data.kept import Kept

    await Kept(streams).forget(group)


def _nobody(group: str, known: set[str]) -> str:
    from ..constants import did_you_mean

    there = f"; the groups are: {', '.join(sorted(known))}" if known else "; there is no durable group yet"
    return f"there is no group called {group!r}{did_you_mean(group, known) or there}"


def _loses(group: str, found: Durability) -> str:
    """How many messages it has not handled; "" for none."""
    from ..english import amount, listed

    theirs = [each for topic in found.topics for each in topic.groups if each.group == group]
    waiting = [each for each in theirs if each.lag + each.pending]
    total = sum(each.lag + each.pending for each in waiting)
    more = "more than " if any(each.is_more for each in waiting) else ""
    topics = listed([each.topic for each in waiting])
    return f"{more}{amount(total, 'message')} of {topics} that it has not handled" if total else ""


def _declared(settings: Settings, group: str) -> str:
    """The node of the group's name, if the hive is to run it."""
    from ..picture.declared import declared

    return group if any(name.rpartition(".")[0] == group for name in declared(settings).instances) else ""


def _is_sure(group: str, loses: str) -> bool:
    from .asked import confirmed

    return confirmed(f"Forget group {group}{f', with {loses}' if loses else ''}?", "nothing was changed")
