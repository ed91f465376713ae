"""Commands that begin something: new, create_node."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from . import output


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Name every file that is written.")
@click.option(
    "--dir",
    "parent",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="The directory to place it in (cwd by default).",
)
@click.argument("name")
def new(name: str, parent: Path, *, verbose: bool) -> None:
    """Set up a new hive!

    NAME becomes the name of its folder and of the hive.

    Examples:
      hm new gotham
      hm new --dir ~/repos gotham
    """
    from ..settings import find_hive
    from .scaffold import plan_hive

    plan = plan_hive(name, parent.absolute())
    if (around := find_hive(parent.absolute(), None, {})) is not None and around in plan.folder.parents:
        output.warn(f"it lies inside of the hive {around}: with --dir it is placed elsewhere")
    _list_files(plan.write(), verbose=verbose)
    output.say(f"New hive at: {plan.folder}")
    output.say("Next:")
    output.say(f"  cd {shlex.quote(str(parent / name))}")
    output.say("  hm dev")


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Name every file that is written.")
@click.option("-c", "--node-class", default="hivemind._Node", metavar="PACKAGE.CLASS", help="The class to derive from.")
@click.argument("name")
@click.pass_context
def create_node(ctx: click.Context, name: str, node_class: str, *, verbose: bool) -> None:
    """Generate a new node within a hive.

    Folder, module, node and log are NAME in lower case; the class is NAME with its first letter upper case.

    Examples:
      hm create_node BatSignal
      hm create_node -c nodes.base.Hero Robin
    """
    from . import scaffold
    from .context import hive_settings

    node = scaffold.node_name(name)
    hive, settings = hive_settings(ctx)
    plan = scaffold.plan_node(name, hive, settings.name, node_class)
    written = plan.write()
    _list_files([*written, scaffold.offer_node(hive, node)], verbose=verbose)
    output.say(f"New node at: {plan.folder}")
    output.say(f"To enable it, uncomment this line in {hive / scaffold.NODES_FILE}:")
    output.say(f"  # {scaffold.enabling_line(node)}")


def _list_files(files: list[Path], *, verbose: bool) -> None:
    if verbose:
        for file in sorted(files):
            output.note(f"wrote {file}")
