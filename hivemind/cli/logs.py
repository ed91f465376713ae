"""`hm logs`: the log files of a hive, on all of its hosts, as one log."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import completing, output

if TYPE_CHECKING:
    from ..log_lines import LogLine
    from ..settings import Settings
    from ..supervisor.far_logs import FarLogs
    from .log_view import LogView

LAST = 20  #: entries that `-f` begins with, without --since
STEP = 0.2  #: seconds between two looks at the files


class Since(click.ParamType[float]):
    """How far back: ``90s``, ``10m``, ``2h``, ``1d``, or a moment such as ``2026-01-31T12:00``; as unix seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The moment that ``value`` names, in unix seconds."""
        from datetime import datetime

        from ..since import span

        if (seconds := span(str(value))) is not None:
            return time.time() - seconds
        try:
            return datetime.fromisoformat(str(value)).astimezone().timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is no time: write 90s, 10m, 2h, 1d or 2026-01-31T12:00", param, ctx)


@click.command()
@click.option("-f", "--follow", is_flag=True, help=f"Begin with the last {LAST} entries, and go on until Ctrl-C.")
@click.option("--since", type=Since(), metavar="TIME", help="Only what is newer: 90s, 10m, 2h, 1d, 2026-01-31T12:00.")
@click.option("--json", "as_json", is_flag=True, help="One object a line, and nothing else on standard output.")
@click.option("--here", is_flag=True, help="Of this machine only.")
@click.argument("nodes", metavar="[NODE]...", nargs=-1, shell_complete=completing.nodes)
@click.pass_context
def logs(
    ctx: click.Context, nodes: tuple[str, ...], since: float | None, *, follow: bool, as_json: bool, here: bool
) -> None:
    """Show the logs of all nodes, or of some, merged by time.

    NODE is a node, or one copy of it: batsignal.1. Nodes that share a process share its log; each line has the name of
    the one that wrote it. The files of this machine are read; Redis is asked only where HOSTS names others, whose
    hiveds send the end of their logs over it.

    Examples:
      hm logs
      hm logs batsignal -f
      hm logs --since 10m --json
    """
    from heapq import merge as merged

    from ..log_files import merge
    from .context import context_hive, settings_or_last
    from .log_view import LogView

    settings = settings_or_last(context_hive(ctx))
    output.note(f"hive {settings.name}, logs in {settings.constants.LOG_LOCATION}")
    view = LogView(as_json=as_json)
    files, hosts = _chosen(settings, nodes), () if here else _others(settings)
    try:
        if follow:
            _follow(settings, nodes, since, view, hosts)
            return
        far = _far(settings, nodes, since, hosts)
        batch: list[LogLine] = []
        for line in merged(merge(files, since), far, key=lambda line: line.time):
            batch.append(line)
            if len(batch) == 1000:
                view.show(batch)
                batch.clear()
        view.show(batch)
    except PermissionError as error:
        raise click.ClickException(f"{error.filename} cannot be read: {error.strerror}") from error
    if not files and not far:
        output.note("nothing has been logged there yet: a node writes a file when hived runs it")


def _others(settings: Settings) -> tuple[str, ...]:
    """The hosts whose logs do not lie here."""
    from ..supervisor.engine import host_here
    from ..supervisor.paths import HivePaths

    if not settings.constants.HOSTS:
        return ()
    here = host_here(HivePaths.of(settings))
    return tuple(host for host in settings.constants.HOSTS if host != here)


def _far(settings: Settings, nodes: tuple[str, ...], since: float | None, hosts: tuple[str, ...]) -> list[LogLine]:
    """What ``hosts`` have, by time."""
    if not hosts:
        return []
    import asyncio

    from .far_logs import far_logs

    async def read() -> list[LogLine]:
        async with far_logs(settings, hosts, nodes) as far:
            return [] if far is None else await far.first(since, follow=False)

    return asyncio.run(read())


def _follow(
    settings: Settings, nodes: tuple[str, ...], since: float | None, view: LogView, hosts: tuple[str, ...]
) -> None:
    import asyncio

    asyncio.run(_follow_all(settings, nodes, since, view, hosts))


async def _follow_all(
    settings: Settings, nodes: tuple[str, ...], since: float | None, view: LogView, hosts: tuple[str, ...]
) -> None:
    if not hosts:
        await _follow_until(settings, nodes, since, view)
        return
    from .far_logs import far_logs

    async with far_logs(settings, hosts, nodes) as far:
        await _follow_until(settings, nodes, since, view, far)


async def _follow_until(
    settings: Settings, nodes: tuple[str, ...], since: float | None, view: LogView, far: FarLogs | None = None
) -> None:
    import asyncio

    from .log_view import Following, older
    from .streams import stop_on_signals

    stop, following = asyncio.Event(), Following()
    stop_on_signals(stop)
    lines = [] if far is None else await far.first(since, follow=True)
    files = _chosen(settings, nodes)
    lines += [] if since is None else older(files, since)
    lines += [line for line in following.read(files) if since is None or line.time >= since]
    lines.sort(key=lambda line: line.time)
    view.show(lines if since is not None else lines[-LAST:])
    while not stop.is_set():
        lines = following.read(_chosen(settings, nodes)) + ([] if far is None else far.take())
        view.show(sorted(lines, key=lambda line: line.time))
        with suppress(TimeoutError):
            async with asyncio.timeout(STEP):
                await stop.wait()
    following.close()


def _chosen(settings: Settings, nodes: tuple[str, ...]) -> list[Path]:
    """The log files of ``nodes``, or all. Raises WrongName for a node that neither has a log nor is in the hive."""
    from ..supervisor.log_tail import chosen, log_files, with_shared
    from .nodes import known_nodes, known_processes, no_such_node

    files, nodes = log_files(settings), with_shared(settings, nodes)
    with_log = {name.rpartition(".")[0] for name in files}
    known = {*with_log, *known_nodes(settings), *known_processes(settings)}
    for name in nodes:
        if name not in known and name not in files and name.rpartition(".")[0] not in known:
            raise no_such_node(name, known, settings)
    return chosen(files, nodes)
