"""Commands that listen and speak: tail, pub, request."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from . import completing, output
from .seconds import Seconds


class Since(click.ParamType[str]):
    """Where to begin with what is kept: ``10m``, a number of messages of each topic, ``all`` or ``new``."""

    name = "since"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same word, if it is one."""
        from ..errors import ConfigurationError
        from ..since import check_since

        try:
            return check_since(value)
        except ConfigurationError:
            self.fail(f"{value!r}: write a span such as 10m, a number of messages, all, or new", param, ctx)


SINCE = click.option(
    "--since", type=Since(), default="new", metavar="WHEN", help="First what is kept: 10m, 5 (of each topic), all."
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One object a line, and nothing else on standard output.")
@click.option("--raw", is_flag=True, help="Only the payloads.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@click.option("--grep", metavar="TEXT", default="", help="Only messages with TEXT in topic or payload.")
@SINCE
@click.argument("patterns", metavar="PATTERN...", nargs=-1, required=True, shell_complete=completing.topics)
@click.pass_context
def tail(
    ctx: click.Context, patterns: tuple[str, ...], count: int | None, grep: str, since: str, *, as_json: bool, raw: bool
) -> None:
    """Show messages as they pass by; with --since, of topics that are kept, first those that did.

    PATTERN is a topic or a glob; put globs in quotes. No node notices, and Ctrl-C ends with a summary.

    Examples:
      hm tail 'bat-signal-*'
      hm tail 'orders.*' --since 10m
      hm tail --json --count 100 'host.*' 'alert.*' > messages.jsonl
    """
    from ..topics import check_pattern
    from .context import announce, context_settings
    from .forms import Form
    from .tailing import Wanted
    from .tailing import tail as show

    if as_json and raw:
        raise click.UsageError("--json or --raw, not both")
    for pattern in patterns:
        refuse_file(pattern)
        check_pattern(pattern)
    settings = context_settings(ctx)
    announce(settings)
    form = Form.JSON if as_json else Form.RAW if raw else Form.TEXT
    show(settings, Wanted(patterns, grep, count or 0, since), form)


@click.command()
@click.option("--text", is_flag=True, help="PAYLOAD is text, even if it could be JSON.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="N a second, until Ctrl-C.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="N times; of standard input, each line.")
@click.option("--durable", is_flag=True, help="Keep it, until every group that reads it durably has handled it.")
@click.argument("topic", shell_complete=completing.topics)
@click.argument("payload")
@click.pass_context
def pub(
    ctx: click.Context, topic: str, payload: str, rate: float | None, count: int | None, *, text: bool, durable: bool
) -> None:
    """Send messages, and wait until Redis has confirmed them.

    PAYLOAD is sent as JSON if it is JSON, else as text; `-` reads standard input, a line a message.

    Examples:
      hm pub bat-signal-main 'Batman! We need help!'
      hm pub lamp '{"on": true}' --rate 10 --count 100
      hm pub orders.web '{"id": 7}' --durable
      cat events.jsonl | hm pub events -
    """
    from ..topics import check_topic
    from .context import announce, context_settings
    from .sending import Sending, send

    check_topic(topic)
    settings = context_settings(ctx)
    announce(settings)
    lines = sys.stdin.fileno() if payload == "-" else None
    what = Sending(topic, payload, lines, rate or 0.0, count, is_text=text, is_durable=durable)
    output.note(send(settings, what))


@click.command()
@click.option("--text", is_flag=True, help="PAYLOAD is text, even if it could be JSON.")
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="SECONDS",
    default=10.0,
    help="How long to wait for a reply, and for each further one. 10.",
)
@click.argument("name", shell_complete=completing.requests)
@click.argument("payload", default="null")
@click.pass_context
def request(ctx: click.Context, name: str, payload: str, timeout: float, *, text: bool) -> None:
    """Ask a responder, and print its reply, as JSON; of many replies one a line.

    PAYLOAD is sent as JSON if it is JSON, else as text. Exit code 1: nobody answers, too late, or the responder raised.

    Examples:
      hm request sum '[1, 2, 3]'
      hm request report '"today"' --timeout 60 | jq .total
    """
    from ..topics import check_topic
    from .asking import ask
    from .context import announce, context_settings

    check_topic(name)
    settings = context_settings(ctx)
    announce(settings)
    ask(settings, name, payload, timeout, is_text=text)


def refuse_file(pattern: str) -> None:
    """A shell turns a glob that is not quoted into the names of files: those are not what was meant."""
    if Path(pattern).exists():
        raise click.UsageError(
            f"{pattern!r} is a file here: if the shell made it from a pattern, quote that, as in hm tail '*'; "
            f"if it is a topic, write '[{pattern[0]}]{pattern[1:]}'"
        )
