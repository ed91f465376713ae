"""`hm dev`: hived in the foreground, with a merged log and reload."""

from __future__ import annotations

import os

import click

from . import completing, output
from .groups import FAILED


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="DEBUG in the log files.")
@click.option(
    "-n",
    "--node",
    "nodes",
    multiple=True,
    metavar="NODE",
    help="Run only this node; may be given again.",
    shell_complete=completing.nodes,
)
@click.option("--no-root", is_flag=True, help="Without the root and its page.")
@click.option("--root-only", is_flag=True, help="Only the root and its page.")
@click.option("--reload/--no-reload", "is_reloading", default=True, help="Restart nodes whose files change.")
@click.option("--join", is_flag=True, help="Even if the hive is in production, or lives on other hosts.")
@click.pass_context
def dev(
    ctx: click.Context,
    nodes: tuple[str, ...],
    *,
    verbose: bool,
    no_root: bool,
    root_only: bool,
    is_reloading: bool,
    join: bool,
) -> int:
    """Run the hive in this terminal, with one merged log; Ctrl-C stops it.

    Nodes that exist but are not enabled are named. A node whose file changes is restarted.

    Examples:
      hm dev
      hm dev -v -n batman -n batsignal --no-root
    """
    from ..settings import load_settings
    from ..supervisor.check import check_settings
    from ..supervisor.dev import not_enabled, refuse_production
    from ..supervisor.engine import engine_for
    from ..supervisor.reload import Reloader
    from ..supervisor.topology import Selection
    from .context import hive_settings
    from .foreground import Terminal, watch

    if no_root and root_only:
        raise click.UsageError("--no-root and --root-only leave nothing to run")
    if nodes and root_only:
        raise click.UsageError("-n names nodes, but --root-only runs none")
    hive, settings = hive_settings(ctx)
    environ = {**os.environ, **({"HIVEMIND_LOG_LEVEL": "DEBUG"} if verbose else {})}
    engine = engine_for(load_settings(hive, environ), environ)
    if not join:
        refuse_production(engine)
    if engine.is_running():
        output.error(f"hive {settings.name} already runs: `hived stop` stops it, `hived status` shows it")
        return FAILED
    check_settings(engine.settings, environ)
    for sentence in not_enabled(engine, nodes):
        output.note(sentence)
    selection = Selection(nodes, root=not no_root, nodes=not root_only, here=True)
    job = Reloader(engine, Terminal()).job() if is_reloading else None
    return watch(engine, selection, job)
