"""`hm start`, `stop`, `restart` and `scale`: ask every hived of the hive, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import completing, output
from .groups import FAILED, WELL

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..settings import Settings
    from ..supervisor.actions import Request
    from ..supervisor.control import Answer

BRIEF = 1.0  #: seconds in which other hosts answer, where nobody can on this one
NODES = click.argument("nodes", nargs=-1, required=True, metavar="NODE...", shell_complete=completing.targets)


@click.command()
@NODES
@click.pass_context
def start(ctx: click.Context, nodes: tuple[str, ...]) -> int:
    """Start nodes that `hm stop` stopped.

    NODE is a node, one instance such as batman.1, @tag, or @all.

    Examples:
      hm start batman
      hm start @all
    """
    from ..supervisor.actions import Request, Verb

    return _ask(ctx, Request(Verb.START, nodes))


@click.command()
@NODES
@click.pass_context
def stop(ctx: click.Context, nodes: tuple[str, ...]) -> int:
    """Stop nodes until `hm start`; no reload and no restart of the hive starts them.

    NODE is a node, one instance such as batman.1, @tag, or @all.

    Examples:
      hm stop batman
      hm stop @heroes
    """
    from ..supervisor.actions import Request, Verb

    return _ask(ctx, Request(Verb.STOP, nodes))


@click.command()
@NODES
@click.pass_context
def restart(ctx: click.Context, nodes: tuple[str, ...]) -> int:
    """Stop nodes and start them again, with their code as it is now.

    NODE is a node, one instance such as batman.1, @tag, or @all.

    Examples:
      hm restart batman
    """
    from ..supervisor.actions import Request, Verb

    return _ask(ctx, Request(Verb.RESTART, nodes))


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, metavar="NODE... REPLICAS", shell_complete=completing.nodes)
@click.pass_context
def scale(ctx: click.Context, words: tuple[str, ...]) -> int:
    """Run REPLICAS copies of each node, until it is scaled again.

    Examples:
      hm scale batman 3
    """
    from ..supervisor.actions import Request, Verb
    from .nodes import WrongName

    nodes, replicas = _how_many(words)
    for one in nodes:
        node, dot, number = one.rpartition(".")
        if dot and number.isdigit():
            raise WrongName(f"{one} is one copy, and a node is scaled: `hm scale {node} {replicas}`")
    return _ask(ctx, Request(Verb.SCALE, nodes, replicas))


def _how_many(words: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """The nodes and the number behind them. Raises UsageError in our words: click's speak of what nobody has typed."""
    from ..supervisor.actions import MOST_COPIES

    *nodes, number = words or ("",)
    if number.isdecimal() and not nodes:
        raise click.UsageError(f"which node? `hm scale NODE {number}`")
    if number.isdecimal() and int(number) <= MOST_COPIES:
        return tuple(nodes), int(number)
    if number.removeprefix("-").isdecimal():
        raise click.UsageError(f"{number}: a node has 0 to {MOST_COPIES:,} copies")
    if number.startswith("-"):
        raise click.UsageError(f"there is no option {number}")
    raise click.UsageError(f"how many copies? The number comes last: `hm scale {' '.join(words) or 'NODE'} 3`")


def _ask(ctx: click.Context, request: Request) -> int:
    acting = answered(ctx, request)
    shown = [_show(answer, many=len(acting) > 1) for answer in acting]
    return WELL if shown and all(shown) else FAILED


def answered(ctx: click.Context, request: Request, *, tell: Callable[[Answer], None] | None = None) -> list[Answer]:
    """What those hiveds answered that the request concerns; none, and said, if no hived answers. ``tell`` hears each
    answer as it comes.

    Raises ClickException for targets that nobody knows.
    """
    from dataclasses import replace

    from ..picture.unheard import at_home_somewhere, unheard
    from ..supervisor.actions import Verb
    from ..supervisor.journal import BY, who
    from .context import announce, as_it_runs, context_settings
    from .reading import read_instances

    request = replace(request, options={**request.options, BY: who()})
    settings = as_it_runs(context_settings(ctx))
    announce(settings)
    read_instances(settings)  # at once, and in words, if Redis is away
    standing, patience = _standing(settings)
    if len(request.targets) > 1:  # one by one: none is done if another is mistyped
        found = _answers(settings, replace(request, verb=Verb.FIND), patience)
        known = {result.program for answer in found for result in answer.results if result.ok}
        known |= at_home_somewhere(settings, request.targets)
        if found and (unknown := [target for target in request.targets if target not in known]):
            raise _unknown(settings, unknown[0])
    answers = _answers(settings, request, patience, _telling(tell))
    if not answers:
        output.error(standing or "no hived of this hive answers: `hived start` starts it on this machine")
        return []
    silent = unheard(settings, request, answers)
    if tell is not None:
        for answer in silent:
            tell(answer)
    acting = [answer for answer in (*answers, *silent) if answer.programs]
    if not acting:
        raise _unknown(settings, request.targets[0])
    return acting


def _telling(tell: Callable[[Answer], None] | None) -> Callable[[Answer], None]:
    """``tell``, and once for each hived whom it waits for before it does anything."""
    told = set()

    def hear(answer: Answer) -> None:
        if answer.is_put_off and answer.doing not in told:
            told.add(answer.doing)
            output.note(f"hived on {answer.hived.host} {answer.doing}; then it does what you ask")
        if tell is not None:
            tell(answer)

    return hear


def _standing(settings: Settings) -> tuple[str, float]:
    """Who of this host's hived and supervisord is stopped by a signal, in words, and for how many seconds a first
    answer is waited for: where both are, nobody here replaces either.
    """
    import os

    from ..supervisor.control import ANSWER_TIMEOUT, START_TIMEOUT
    from ..supervisor.engine import engine_for
    from ..supervisor.standing import in_words, stopped

    if os.name == "nt":
        return "", ANSWER_TIMEOUT
    engine = engine_for(settings)
    found = stopped(engine)
    said = in_words(engine, found)
    if len(found) > 1:
        return said, BRIEF
    if said:
        output.warn(said)
    return said, START_TIMEOUT if engine.is_running() else ANSWER_TIMEOUT


def _answers(
    settings: Settings,
    request: Request,
    patience: float,
    tell: Callable[[Answer], None] | None = None,
) -> list[Answer]:
    """What every hived of the hive answers, if one says within ``patience`` seconds that it heard."""
    import asyncio

    from ..bus.endpoint import Endpoint
    from ..supervisor.control import ask, nobody, silence
    from ..supervisor.engine import redis_url

    timeout = silence(request.verb, settings.constants.STOP_TIMEOUT)
    endpoint = Endpoint.parse(redis_url(settings), settings.var)
    hosts = settings.constants.HOSTS
    return asyncio.run(ask(endpoint, settings.name, request, timeout, patience, tell or nobody, hosts))


def _unknown(settings: Settings, first: str) -> click.ClickException:
    """What to say of a target that no hived of the hive knows, or that it has put aside."""
    from .nodes import WrongName, known_nodes, known_processes, what_else

    if first == "all":
        return WrongName("no hived here knows all: every node is @all")
    if first == "redis":
        return WrongName("the hive's Redis starts and stops with the hive: `hived start`, `hived stop`")
    if first.startswith("@"):
        return WrongName(f"no hived here knows {first}: no node has that tag in NODES (config/hive.py)")
    node, _, number = first.partition(".")
    if told := _put_aside(settings, node):
        return click.ClickException(told)
    known, shared = known_nodes(settings), known_processes(settings)
    if node in shared:
        return WrongName(f"no hived here runs {first}, a process that nodes share; `hived status` shows what runs")
    if node in known:
        what = "runs a copy with that number" if number else "runs that node: enable it in nodes/__init__.py"
        return WrongName(f"no hived here {what}: {first}; `hived status` shows what runs")
    return WrongName(f"no hived here knows {first}{what_else(settings, node, known, shared)}")


def _put_aside(settings: Settings, node: str) -> str:
    """Why an enabled node does not run here, and what to do; "" where hived has not put it aside."""
    import os

    from ..supervisor.paths import HivePaths
    from ..supervisor.plan import load
    from ..supervisor.releases import way_out

    if settings.hive is None or os.name == "nt":
        return ""
    paths = HivePaths.of(settings)
    found = next((each for each in load(paths).problems if each.node == node), None)
    if found is None:
        return ""
    out = way_out(paths)
    return f"{found}: it is quarantined, and tried again as soon as that file changes{f'; {out}' if out else ''}"


def _show(answer: Answer, *, many: bool) -> bool:
    """Print one line a program; return whether all went well."""
    where = f" on {answer.hived.host}" if many else ""
    if not answer.done:
        for name in answer.programs:
            output.say(f"{name}{where}: no answer in time; `hived status` on {answer.hived.host} shows it", "red")
        return False
    for result in answer.results:
        output.say(f"{result.program}{where}: {result.text}", "" if result.ok else "red")
    if answer.waiting:
        waiting = f"there are changes{where} for {and_(answer.waiting)}"
        output.note(f"{waiting}: `hived reload`{where} applies them")
    return all(result.ok for result in answer.results)


def and_(names: list[str]) -> str:
    """All of ``names`` as they stand in a sentence."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
