"""hm top: the hive at this moment, and at the next."""

from __future__ import annotations

import click

from . import completing

SORTS = ("node", "state", "sends", "receives", "p99", "delay", "lost", "failed", "restarts", "cpu", "memory")


@click.command()
@click.option("--once", is_flag=True, help="Print it once, and end; so it is where nobody looks on.")
@click.option("--json", "as_json", is_flag=True, help="One object: hive, health, nodes, topics.")
@click.option("--topics", "by_topic", is_flag=True, help="Begin with the topics.")
@click.option("--sort", type=click.Choice(SORTS), metavar="COLUMN", help="By which column of the nodes.")
@click.option("--filter", "wanted", default="", metavar="TEXT", help="Only names that have TEXT in them, or match it.")
@click.argument("node", required=False, default="", shell_complete=completing.nodes)
@click.pass_context
def top(
    ctx: click.Context, node: str, sort: str | None, wanted: str, *, once: bool, as_json: bool, by_topic: bool
) -> None:
    """Watch nodes and topics: rates, lag, losses, how long handlers take, memory and CPU; with NODE, all of that.

    Keys: arrows choose, Enter opens a node, Esc goes back, Tab shows topics or nodes, s sorts by the next column, /
    filters, q ends. It shows what the root's page shows, and needs no root.

    Examples:
      hm top
      hm top --sort cpu
      hm top batman
      hm top --once --topics
    """
    from .context import announce, context_hive, settings_or_last
    from .top_view import NODE, NODES, TOPICS, View
    from .topping import show

    settings = settings_or_last(context_hive(ctx))
    view = View(NODE if node else TOPICS if by_topic else NODES, node, sort or "", wanted)
    if not as_json:
        announce(settings)
    show(settings, view, is_live=not once, as_json=as_json)
