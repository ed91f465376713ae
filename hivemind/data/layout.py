"""The layout of what a hive keeps in Redis: which one this version reads and writes, and how one becomes the next.

The layout is a number. It changes only where an older version would misread what a newer one writes; what is merely
added (a key, a field) is no other layout, for whoever does not know it leaves it alone. Whoever finds another layout
than its own touches nothing.

::

    stored < here ── nobody lives ──► backup ──► step, number, step, number ... ──► stored = here
    stored > here ──► LayoutMismatch: upgrade here
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from ..bus.commands import Commands, checked
from ..errors import ConfigurationError, LayoutMismatch, RedisDenied, RedisRefused
from ..topics import Names

log = logging.getLogger("hivemind.layout")

LAYOUT = 1  #: what this version reads and writes
Step = Callable[[Commands, Names], Awaitable[None]]  #: may be called again on what it has half done
Backup = Callable[[], Awaitable[None]]
STEPS: Mapping[int, Step] = {}  #: each makes the next layout of the one that it stands at; there has been only one


def way(hive: str, stored: int, here: int = LAYOUT, steps: Mapping[int, Step] = STEPS) -> dict[int, Step]:
    """The steps from the layout that is stored to ours, in their order.

    Raises LayoutMismatch if a newer version wrote it, or a step is missing.
    """
    if stored > here or any(at not in steps for at in range(stored, here)):
        raise LayoutMismatch(hive, stored, here)
    return {at: steps[at] for at in range(stored, here)}


async def stored_layout(commands: Commands, names: Names) -> int | None:
    """The layout of a hive; None if there is nothing of it. One that does not say has the first. Raises RedisError."""
    said, traces = await commands.pipeline(
        [("GET", names.layout()), ("EXISTS", names.nodes(), names.patterns(), names.kept())]
    )
    if isinstance(said, RedisRefused):  # somebody wrote something else in its place
        said = None
    if (found := checked(said)) is not None and found.isdigit():
        return int(found[:9])
    return 1 if checked(traces) else None


async def check_layout(commands: Commands, names: Names, here: int = LAYOUT) -> None:
    """Raise LayoutMismatch if the hive has another layout than ours, RedisError if Redis does not answer.

    An ACL that lets nobody look is no reason to refuse.
    """
    try:
        stored = await stored_layout(commands, names)
    except RedisDenied:
        return
    if stored is not None and stored != here:
        raise LayoutMismatch(names.hive, stored, here)


async def migrate(
    commands: Commands, names: Names, backup: Backup | None, here: int = LAYOUT, steps: Mapping[int, Step] = STEPS
) -> list[int]:
    """Bring a hive to our layout, one step after the other, after a backup; return the layouts that it passed through.

    What fails in between is gone on with when it is called again. Raises LayoutMismatch as ``way`` does and where no
    ``backup`` can be made, ConfigurationError while an instance lives, and RedisError.
    """
    stored = await stored_layout(commands, names)
    todo = way(names.hive, here if stored is None else stored, here, steps)
    if not todo or stored is None:
        return []
    if living := await living_instances(commands, names):
        raise ConfigurationError(
            f"{names.hive} has layout {stored}, here it is {here}: stop the hive on every host, then start it; "
            f"{living[0]} lives"
        )
    if backup is None:
        raise LayoutMismatch(names.hive, stored, here)
    await backup()
    for at, step in todo.items():
        await step(commands, names)
        await commands.execute("SET", names.layout(), at + 1)
        log.warning("%s has layout %d now", names.hive, at + 1)
    return [at + 1 for at in todo]


async def living_instances(commands: Commands, names: Names) -> list[str]:
    """Those whose lease lives, sorted, whichever layout they have. Raises RedisError."""
    members = [each.decode(errors="replace") for each in await commands.execute("SMEMBERS", names.nodes())]
    leases = await commands.pipeline([("EXISTS", names.node(each)) for each in members])
    return sorted(name for name, lives in zip(members, leases, strict=True) if checked(lives))
