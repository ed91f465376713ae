"""`hived rollback`: the files with which all was well before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import output
from .groups import FAILED, WELL
from .reload import reload_hive

if TYPE_CHECKING:
    from ..supervisor.paths import HivePaths

FORWARD = "`hived reload` applies the files as they are"


@click.command()
@click.pass_context
def rollback(ctx: click.Context) -> int:
    """Go back to the Python files with which all was well before, and apply them.

    What it takes away is kept in var/releases. Each further time goes back one release more.

    Examples:
      hived rollback
    """
    from ..supervisor.engine import engine_for
    from ..supervisor.journal import note, who
    from ..supervisor.lifecycle import go_back
    from ..supervisor.returning import told
    from .context import hive_folder, settings_or_last

    engine = engine_for(settings_or_last(hive_folder(ctx)))
    gone = go_back(engine)
    if gone is None:
        _nothing(engine.paths)
        return FAILED
    release, files, undone = gone
    said = f"to the files of {told(release)}: {', '.join(files)}"
    output.say(f"rolled back {said}")
    if undone is not None:
        output.note(f"the files as they were until now are in {undone}")
        output.note(f"to go forward copy from there what you need, mended; {FORWARD}")
    note(engine.settings, f"hived rollback by {who()}, {said}")
    if not engine.is_running():
        output.note("the hive does not run here: `hived start` starts it with them")
        return WELL
    return reload_hive(ctx)


def _nothing(paths: HivePaths) -> None:
    """Say where the files stand, and which way leads on."""
    from ..supervisor.releases import last_undone, release_of_files
    from ..supervisor.returning import told

    release, undone = release_of_files(paths), last_undone(paths)
    if release is None:
        output.error("there is nothing to go back to: no release of this hive has other files than it has now")
    else:
        output.error(f"there is nothing to go back to: the files are those of {told(release)}, and no other is left")
    if undone is not None:
        output.note(f"what the last rollback took away is in {undone}: to go forward copy from there what you need")
    output.note(FORWARD)
