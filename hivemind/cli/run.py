"""Commands that run one process in this terminal: run, root."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import completing, output

if TYPE_CHECKING:
    from ..errors import NodeLoadError
    from ..node.base import BaseNode
    from ..settings import Settings


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Show DEBUG lines, and where a node that cannot be loaded fails.")
@click.argument("target", shell_complete=completing.files_or_nodes)
@click.pass_context
def run(ctx: click.Context, target: str, *, verbose: bool) -> int:
    """Run one node in this terminal, until Ctrl-C.

    TARGET is a hive's node, `package.module` or `file.py`; with `:Class` where a module has several. It joins the
    hive as one more copy: what hived runs is not disturbed.

    Examples:
      hm run batman
      hm run -v nodes/batman/batman.py
      hm run heroes.py:Robin
    """
    from ..node.runner import How, place_in
    from ..node.runner import run as run_node
    from .context import announce, context_settings

    settings = context_settings(ctx)
    announce(settings)
    node = _loaded(target, settings, verbose=verbose)
    return run_node(node, settings, How(place_in(settings, node.name), verbose))


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Show DEBUG lines.")
@click.pass_context
def root(ctx: click.Context, *, verbose: bool) -> int:
    """Serve the hive's page from this terminal, until Ctrl-C.

    It says where the page is. No node needs it, and several may run.

    Examples:
      hm root
      hm --hive ~/repos/gotham root -v
    """
    from ..node.runner import ensure_redis
    from ..root.controller import run_root
    from .context import announce, context_settings

    settings = context_settings(ctx)
    announce(settings)
    ensure_redis(settings)
    return run_root(settings, verbose)


def _loaded(target: str, settings: Settings, *, verbose: bool) -> BaseNode:
    from ..errors import NodeLoadError
    from ..node.loading import built, load_target

    try:
        return built(target, load_target(target, settings))
    except NodeLoadError as error:
        if error.file is None:
            raise _no_such(target, error, settings) from error
        if verbose:
            output.traceback(error.__cause__)
        raise


def _no_such(target: str, error: NodeLoadError, settings: Settings) -> click.ClickException:
    """The answer to a name that leads nowhere: what was probably meant, and what there is."""
    from .nodes import WrongName, known_nodes, what_else

    source = target.partition(":")[0]
    folder = Path(source).parent
    ending = "" if source.endswith(".py") or "/" in source else ".py"
    files = [str(path).removesuffix(ending) for path in folder.glob("*.py")] if folder.is_dir() else []
    nodes = known_nodes(settings)
    return WrongName(f"{error.reason}{what_else(settings, source, nodes, files)}")
