"""`hm why`: what is known of one node, in words, from everything that knows something of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from . import completing, output
from .groups import FAILED, WELL

if TYPE_CHECKING:
    from ..data.records import Instance
    from ..settings import Settings
    from .why_counts import Line
    from .why_look import Look


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One object: the sentences, and what they were made from.")
@click.argument("node", shell_complete=completing.nodes)
@click.pass_context
def why(ctx: click.Context, node: str, *, as_json: bool) -> int:
    """Tell in words what is known of a node.

    A paragraph: does it run, since when; if not, why, how it ended last and in which line, when it is tried again, and
    what it waits for; how far its groups are behind, and what Redis did to it. Below it what it counts, and where its
    log is. NODE may be one copy of it: batsignal.1; or root, hived, or redis.

    Examples:
      hm why batsignal
      hm why batsignal.1
      hm why batsignal --json | jq -r .paragraph
    """
    from ..data.durability import Durability
    from ..errors import RedisError
    from .context import announce, context_hive, settings_or_last
    from .reading import read_durability, read_instances
    from .why_look import Look
    from .why_words import colour, paragraph

    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    if node == "hived" and settings.hive is not None:
        return _hived(settings, as_json=as_json)
    if node == "redis" and settings.hive is not None and (told := _of_redis(settings, as_json=as_json)) is not None:
        return told
    instances: list[Instance] = []
    durable, away = Durability(), ""
    try:
        instances = read_instances(settings)
        durable = read_durability(settings, instances)
    except RedisError as error:
        away = str(error)
    look = Look(settings, node, instances, durable, away.rstrip("."))
    known = look.known()
    if as_json:
        output.as_json(_object(look, away))
    else:
        output.say(_wrapped(paragraph(known)), colour(known))
        for line in _below(look):
            output.say(*line)
    if away:
        output.error(away)
        return FAILED
    return WELL


def _hived(settings: Settings, *, as_json: bool) -> int:
    """What is known of hived itself; exits 1 where that is not well."""
    from .why_counts import log_lines
    from .why_hived import HIVED, logs_of, sentences

    found, logs = sentences(settings), logs_of(settings)
    text = " ".join(f"{one}." for one, _ in found)
    styles = {style for _, style in found}
    style = next((one for one in ("red", "yellow") if one in styles), "green")
    if as_json:
        named = {name: str(path) for name, path in logs.items()}
        output.as_json({"node": HIVED, "paragraph": text, "sentences": [one for one, _ in found], "logs": named})
    else:
        output.say(_wrapped(text), style)
        for line in (*log_lines(logs[HIVED]), (f"  log of supervisord: {logs['supervisord']}", "")):
            output.say(*line)
    return FAILED if style == "red" else WELL


def _of_redis(settings: Settings, *, as_json: bool) -> int | None:
    """What is known of the hive's own Redis; None where it has none."""
    from ..supervisor.engine import engine_for
    from .why_hived import of_redis

    found = of_redis(settings)
    if found is None:
        return None
    log = engine_for(settings).paths.program_log("redis")
    text, is_red = " ".join(f"{one}." for one, _ in found), any(style == "red" for _, style in found)
    if as_json:
        sentences = [one for one, _ in found]
        output.as_json({"node": "redis", "paragraph": text, "sentences": sentences, "logs": {"redis": str(log)}})
    else:
        output.say(_wrapped(text), "red" if is_red else "green")
        output.say(f"  log: {log}")
    return FAILED if is_red else WELL


def _object(look: Look, away: str) -> dict[str, object]:
    """One object; stable names. ``logs`` are the files of the copies that have one."""
    from .why_words import lives_of, paragraph, sentences

    known = look.known()
    return {
        "node": look.node,
        "process": look.process,
        "paragraph": paragraph(known),
        "sentences": [text for text, _ in (*sentences(known), *_below(look))],
        "instances": [one.to_json() for one in look.instances],
        "should_run": [name for name in look.should.instances if look.is_mine(name)],
        "stopped": [name for name in look.should.stopped if look.is_mine(name)],
        "lives": lives_of(known.copies),
        "groups": [one.to_json() for one in known.groups],
        "logs": {name: str(path) for name, path in look.logs.items() if look.is_mine(name)},
        "error": away or None,
    }


def _below(look: Look) -> Iterator[Line]:
    """What each copy counts, and the end of its log."""
    from .why_counts import log_lines, member_counts

    found = {one.instance: one for one in look.instances}
    names = [*found, *(name for name in look.logs if look.is_mine(name) and name not in found)]
    for name in names:
        one = found.get(name)
        lines = [] if one is None or one.is_lost else member_counts(one, look.node)
        lines += log_lines(look.logs[name]) if name in look.logs else []
        if lines:
            yield f"{name}:", ""
            yield from lines


def _wrapped(text: str) -> str:
    """In lines as wide as a person's terminal; through a pipe one line."""
    if not sys.stdout.isatty():
        return text
    import shutil
    import textwrap

    return textwrap.fill(
        text, max(40, shutil.get_terminal_size().columns), break_on_hyphens=False, break_long_words=False
    )
