"""Commands of recordings: record, play."""

from __future__ import annotations

from pathlib import Path

import click

from . import completing, output
from .groups import INTERRUPTED, WELL
from .talk import SINCE, refuse_file


class Rate(click.ParamType[float]):
    """How fast: ``2x``, ``0.5x``, or ``max``; as a factor, 0.0 for as fast as it goes."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The factor."""
        if value == "max":
            return 0.0
        try:
            factor = float(str(value).removesuffix("x"))
        except ValueError:
            factor = 0.0
        if not (str(value).endswith("x") and 0 < factor < float("inf")):
            self.fail(f"{value!r}: write 2x for twice as fast as it was recorded, 0.5x, or max", param, ctx)
        return factor


class Span(click.ParamType[float]):
    """How long: ``90s``, ``10m``, ``2h``, ``1d``; as seconds."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        from ..since import span

        if not (seconds := span(str(value))):
            self.fail(f"{value!r}: write 90s, 10m, 2h or 1d", param, ctx)
        return seconds


@click.command()
@click.option("--for", "seconds", type=Span(), metavar="TIME", help="End after so long: 10s, 5m, 2h.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@SINCE
@click.argument("pattern", shell_complete=completing.topics)
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def record(ctx: click.Context, pattern: str, file: Path, seconds: float | None, count: int | None, since: str) -> None:
    """Write messages into a file, for `hm play`: one JSON object a line, with time, topic and envelope.

    It goes on until Ctrl-C, --for or --count. FILE must not be there yet.

    Examples:
      hm record '*' night.jsonl
      hm record 'orders.*' orders.jsonl --for 10m
      hm record 'orders.*' kept.jsonl --since all --for 1s
    """
    from ..topics import check_pattern
    from .context import announce, context_settings
    from .recording import record as write
    from .tailing import Wanted

    refuse_file(pattern)
    check_pattern(pattern)
    settings = context_settings(ctx)
    announce(settings)
    wanted = Wanted((pattern,), count=count or 0, since=since, seconds=seconds or 0.0)
    output.note(write(settings, wanted, file))


@click.command()
@click.option("--rate", type=Rate(), default="1x", metavar="RATE", help="2x is twice as fast; max: without pauses.")
@click.option(
    "--into", metavar="TOPIC", default="", help="Send all of it on this topic.", shell_complete=completing.topics
)
@click.option("--durable", is_flag=True, help="Keep it, until every group that reads it durably has handled it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def play(ctx: click.Context, file: Path, rate: float, into: str, *, durable: bool) -> int:
    """Send what `hm record` wrote, with the pauses that were between.

    Payloads and headers are as they were, the sender is new. What goes to a topic that is kept is kept, too;
    with --durable, all of it.

    Examples:
      hm play night.jsonl
      hm play orders.jsonl --rate 10x --into orders.test
      hm play orders.jsonl --rate max
    """
    from ..topics import check_topic
    from .context import announce, context_settings
    from .playing import play as send

    if into:
        check_topic(into)
    settings = context_settings(ctx)
    announce(settings)
    summary, is_whole = send(settings, file, into, rate, durable=durable)
    output.note(summary)
    return WELL if is_whole else INTERRUPTED
