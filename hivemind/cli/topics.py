"""`hm topics`: what is sent, and what others send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import completing, output
from .groups import HELP, NamingGroup

if TYPE_CHECKING:
    from ..data.backlog import TopicBacklog


@click.group(cls=NamingGroup, context_settings=HELP, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One object with `topics` and `unfed`; with -v also `kept`.")
@click.option("-v", "--verbose", is_flag=True, help="Also what is kept of each, and how far its groups are.")
@click.pass_context
def topics(ctx: click.Context, *, as_json: bool, verbose: bool) -> None:
    """List what is sent, or kept: who sends it, who listens, and what finds nobody.

    Examples:
      hm topics
      hm topics -v
      hm topics --json
      hm topics add sensors.roof
    """
    if ctx.invoked_subcommand is not None:
        return
    from ..picture.columns import outside
    from ..picture.traffic import traffic
    from .context import announce, context_hive, settings_or_last
    from .reading import read_backlogs, read_instances, read_kept, read_topics, stopped_here
    from .watch import nobody

    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    instances = read_instances(settings)
    lasting = read_kept(settings)
    found = traffic(instances, [*read_topics(settings), *lasting])
    kept = read_backlogs(settings) if verbose else []
    if as_json:
        output.as_json({**found.to_json(), **({"kept": [one.to_json() for one in kept]} if verbose else {})})
        return
    if not instances:
        output.note(nobody(settings))
    rows = [
        (
            one.topic,
            ", ".join(f"{sender.instance} {sender.sent:,}" for sender in one.senders)
            or ("(kept)" if one.topic in lasting else "(announced)"),
            ", ".join(f"{each.who} {each.pattern}" for each in one.subscribers),
            one.note,
        )
        for one in found.topics
    ]
    feeds = outside(stopped_here(settings))
    rows += [(one.pattern, feeds, ", ".join(each.who for each in one.subscribers), "") for one in found.outside]
    rows += [(one.pattern, "", ", ".join(each.who for each in one.subscribers), one.note) for one in found.unfed]
    output.table(("topic", "sent by", "listening", ""), rows, styles=["yellow" if row[-1] else "" for row in rows])
    if verbose:
        output.say()
        _show_kept(kept)


def _show_kept(kept: list[TopicBacklog]) -> None:
    from ..english import age, size_of
    from .lag import unread

    rows: list[tuple[object, ...]] = []
    for one in kept:
        how = "durable" if one.kept.durable else ""
        how = " ".join(filter(None, (how, one.kept.keep and f"keep {one.kept.keep}")))
        mine = (one.kept.topic, how, f"{one.length:,}", size_of(one.size), f"{one.letters:,}")
        groups = [(each.group, unread(each), f"{each.pending:,}", age(each.held)) for each in one.groups]
        rows += [
            (*(mine if at == 0 else [""] * len(mine)), *group) for at, group in enumerate(groups or [("", "", "", "")])
        ]
    columns = ("kept topic", "how", "messages", "memory", "dead", "group", "lag", "pending", "oldest pending")
    output.table(columns, rows)


@topics.command()
@click.argument("names", metavar="TOPIC...", nargs=-1, required=True, shell_complete=completing.topics)
@click.pass_context
def add(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Announce topics that programs of another kind send on, such as redis-cli.

    Where PATTERNS is "resolved" a wildcard subscription hears of a topic when it is announced. Nodes, `connect()` and
    `hm pub` do that themselves. It returns when those who listen have subscribed.

    Examples:
      hm topics add sensors.roof sensors.cellar
    """
    from ..english import amount
    from ..patterns import SERVER
    from .context import announce, context_settings
    from .reading import add_topics

    for name in names:
        _check(name)
    settings = context_settings(ctx)
    announce(settings)
    mode, new = add_topics(settings, list(dict.fromkeys(names)))
    if new:
        output.say(f"announced {amount(len(new), 'topic')}")
    for name in dict.fromkeys(names):
        if name not in new:
            output.say(f"{name} is announced already")
    if mode == SERVER:
        output.note('this hive runs with PATTERNS = "server": there all topics are found without that')


def _check(name: str) -> None:
    from ..errors import InvalidName
    from ..topics import check_topic, is_pattern

    if is_pattern(name):
        raise InvalidName("topic", name, "it is a pattern: announce each topic on which something is sent")
    check_topic(name)
