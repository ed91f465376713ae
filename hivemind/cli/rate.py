"""hm rate: how much passes by, and how long it took."""

from __future__ import annotations

import click

from . import completing
from .seconds import Seconds


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One object a window, a line each.")
@click.option("--window", type=Seconds(), default=1.0, metavar="SECONDS", help="How long each is. 1.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N windows.")
@click.argument("patterns", metavar="PATTERN...", nargs=-1, required=True, shell_complete=completing.topics)
@click.pass_context
def rate(ctx: click.Context, patterns: tuple[str, ...], window: float, count: int | None, *, as_json: bool) -> None:
    """How many messages pass by, how large, and how long they took to come here.

    A line a window: messages and bytes a second; the delay, from being sent to being received here, half of them and 99
    of 100; and how many took how long. No node notices, and Ctrl-C ends with a summary.

    Examples:
      hm rate 'orders.*'
      hm rate '*' --window 10 --count 6 --json > minute.jsonl
    """
    from ..topics import check_pattern
    from .context import announce, context_settings
    from .rating import Windows
    from .rating import rate as show
    from .talk import refuse_file

    for pattern in patterns:
        refuse_file(pattern)
        check_pattern(pattern)
    settings = context_settings(ctx)
    announce(settings)
    show(settings, patterns, Windows(window, count or 0, as_json))
