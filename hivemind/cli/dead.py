"""`hm dead`: the messages that groups gave up. Look at them, have them handled again, or drop them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from . import completing, output
from .groups import FAILED, HELP, WELL, NamingGroup
from .logs import Since

if TYPE_CHECKING:
    from ..data.letters import Letters
    from ..data.picking import Picked

T = TypeVar("T")

WHICH = click.argument("which", nargs=-1, required=True, metavar="WHICH...", shell_complete=completing.topics)
GROUP = click.option(
    "--group", metavar="NAME", default="", help="Only those that this group gave up.", shell_complete=completing.groups
)
SINCE = click.option(
    "--since", type=Since(), metavar="TIME", help="Only what died since: 90s, 10m, 2h, 1d, 2026-01-31T12:00."
)
JSON = click.option("--json", "as_json", is_flag=True, help="One object a line, and nothing else on standard output.")


@click.group(cls=NamingGroup, context_settings=HELP)
def dead() -> None:
    """Dead letters: messages that a group gave up, after all tries.

    WHICH is a topic, a pattern in quotes, or one letter as `hm dead list` calls it: orders.new:1795333478064-0.

    Examples:
      hm dead list
      hm dead show orders.new:1795333478064-0
      hm dead replay 'orders.*' --group shop
      hm dead drop 'orders.*' --since 1h
    """


@dead.command("list")
@click.argument("which", nargs=-1, metavar="[WHICH]...", shell_complete=completing.topics)
@GROUP
@SINCE
@JSON
@click.pass_context
def list_(ctx: click.Context, which: tuple[str, ...], group: str, since: float | None, *, as_json: bool) -> None:
    """List them, oldest first: topic and id, who gave up, when, after how many tries, and why.

    Examples:
      hm dead list
      hm dead list 'orders.*' --group shop --since 1d
      hm dead list --json | jq -r .id
    """
    from ..data.picking import count_of
    from .letters import list_letters

    total = _with(ctx, which or ("*",), group, since, lambda letters, picked: list_letters(letters, picked, as_json))
    output.note(count_of(total))


@dead.command()
@WHICH
@GROUP
@SINCE
@JSON
@click.pass_context
def show(ctx: click.Context, which: tuple[str, ...], group: str, since: float | None, *, as_json: bool) -> None:
    """Show all of them: payload, traceback, tries, when, who, and why.

    Examples:
      hm dead show orders.new:1795333478064-0
      hm dead show orders.new --since 10m --json
    """
    from ..data.picking import count_of
    from .letters import show_letters

    total = _with(ctx, which, group, since, lambda letters, picked: show_letters(letters, picked, as_json))
    if not total:
        output.note(count_of(total))


@dead.command()
@WHICH
@GROUP
@SINCE
@click.option("--every-group", is_flag=True, help="For every group that reads the topic, not only for who gave up.")
@click.pass_context
def replay(ctx: click.Context, which: tuple[str, ...], group: str, since: float | None, *, every_group: bool) -> int:
    """Have them handled again: by the group that gave up, as if they had just been sent.

    Each is appended to its topic's stream and removed from the dead letters in one step: none is lost, and none goes
    twice. Its tries begin anew. Live subscriptions, and other groups, do not get it again.

    Examples:
      hm dead replay orders.new:1795333478064-0
      hm dead replay 'orders.*' --group shop
    """
    from .letters import replay_letters

    is_well = _with(ctx, which, group, since, lambda letters, picked: replay_letters(letters, picked, every_group))
    return WELL if is_well else FAILED


@dead.command()
@WHICH
@GROUP
@SINCE
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def drop(ctx: click.Context, which: tuple[str, ...], group: str, since: float | None, *, yes: bool) -> int:
    """Remove them for good. It counts them, and asks first.

    Examples:
      hm dead drop 'orders.*' --since 1h
      hm dead drop orders.new:1795333478064-0 --yes
    """
    from .asked import confirmed
    from .letters import count_letters, drop_letters, told

    picked, counts = _with(ctx, which, group, since, count_letters)
    if not counts:
        output.note("no dead letters there: nothing was dropped")
        return WELL
    if not yes and not confirmed(f"Drop {told(counts)} for good?", "nothing was dropped"):
        output.note("nothing was dropped")
        return FAILED
    _with(ctx, picked, group, since, drop_letters)
    return WELL


def _with(
    ctx: click.Context,
    which: tuple[str, ...] | Picked,
    group: str,
    since: float | None,
    job: Callable[[Letters, Picked], Awaitable[T]],
) -> T:
    """Do ``job`` with the letters that were picked, or that ``which`` picks now."""
    from ..bus.streams import Streams
    from ..data.letters import Letters
    from .context import announce, context_settings
    from .letters import pick
    from .reading import work

    settings = context_settings(ctx)
    if isinstance(which, tuple):
        announce(settings)

    async def begin(streams: Streams) -> T:
        letters = Letters(streams)
        picked = await pick(letters, which, since or 0.0, group) if isinstance(which, tuple) else which
        return await job(letters, picked)

    return work(settings, begin)
