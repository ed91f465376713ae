"""`hm graph`: who sends what to whom, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import completing, output

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..picture.graph import Graph

FORMATS = ("text", "dot", "mermaid", "svg", "json")


@click.command()
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", help="How; text if nothing is said.")
@click.option(
    "--filter",
    "pattern",
    metavar="PATTERN",
    default="*",
    help="Only topics, and those of nodes, that match.",
    shell_complete=completing.topics,
)
@click.option("--rates", is_flag=True, help="Look for as long as two beats take, and say how much goes there.")
@click.pass_context
def graph(ctx: click.Context, form: str, pattern: str, *, rates: bool) -> None:
    """Show who sends what to whom: senders, topics, subscribers.

    The copies of a node are one. What nobody hears, a pattern that nothing matches, and where messages were lost, is
    marked. A topic is shown with all of its senders and subscribers if PATTERN matches its name or that of one of
    these.

    Examples:
      hm graph
      hm graph --rates
      hm graph --filter 'sensors.*'
      hm graph --format svg > hive.svg
      hm graph --format dot | dot -Tpdf > hive.pdf
    """
    from ..picture.graph import graph as drawn
    from ..picture.graph import narrowed
    from ..topics import check_pattern
    from .context import announce, context_hive, settings_or_last
    from .reading import read_instances, read_rates, read_topics, stopped_here
    from .watch import nobody

    check_pattern(pattern)
    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    instances = read_instances(settings)
    whole = drawn(instances, read_topics(settings), read_rates(settings, instances) if rates else ())
    found = narrowed(whole, pattern)
    if not instances:
        output.note(nobody(settings))
    elif whole.rows and not found.rows:
        output.note(f"{pattern} matches no topic and no node")
    if form == "text":
        _text(found, stopped_here(settings))
    else:
        _SHOW[form](found)


def _text(found: Graph, stopped: Collection[str]) -> None:
    from ..english import rate
    from ..picture.columns import ARROW, columns

    rows, styles = list[tuple[str, ...]](), list[str]()
    for line in columns(found, stopped):
        arrow = ARROW if line.is_first else ""
        speed = "" if line.rate is None else rate(line.rate)
        rows.append((line.sender, arrow, line.name, speed, arrow, line.subscriber, line.note))
        styles.append("yellow" if line.note else "")
    head: tuple[str, ...] = ("senders", "", "topics", "rate", "", "subscribers", "")
    if not any(row[3] for row in rows):
        head, rows = (*head[:3], *head[4:]), [(*row[:3], *row[4:]) for row in rows]
    output.table(head, rows, styles=styles)


def _json(found: Graph) -> None:
    output.as_json(found.to_json())


def _dot(found: Graph) -> None:
    from ..picture.dot import dot

    output.write_lines([dot(found)])


def _mermaid(found: Graph) -> None:
    from ..picture.mermaid import mermaid

    output.write_lines([mermaid(found)])


def _svg(found: Graph) -> None:
    from ..picture.svg import svg

    output.write_lines([svg(found)])


_SHOW = {"json": _json, "dot": _dot, "mermaid": _mermaid, "svg": _svg}
