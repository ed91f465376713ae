"""Which nodes a hive has, for commands that take their names: from its files and settings, without loading any."""

from __future__ import annotations

from collections.abc import Iterable

import click

from ..constants import did_you_mean
from ..settings import Settings
from ..supervisor.enabled import existing_imports
from .context import outside
from .groups import WRONG_USE


class WrongName(click.ClickException):
    """A name that leads nowhere: wrong use, whose remedy is another name and not another option."""

    exit_code = WRONG_USE


def known_nodes(settings: Settings) -> list[str]:
    """The nodes that lie in the hive, enabled or not, and those that NODES adds; none outside a hive."""
    if settings.hive is None:
        return []
    added = (name for name, tuning in settings.constants.NODES.items() if tuning.target)
    return sorted({*existing_imports(settings.hive), *added})


def known_processes(settings: Settings) -> list[str]:
    """The processes that several nodes share."""
    return sorted({tuning.process for tuning in settings.constants.NODES.values() if tuning.process})


def no_such_node(name: str, known: Iterable[str], settings: Settings) -> WrongName:
    """The answer to a mistyped name: what was probably meant, and what there is."""
    return WrongName(f"there is no node called {name!r}{what_else(settings, name, known)}")


def what_else(settings: Settings, name: str, known: Iterable[str], others: Iterable[str] = ()) -> str:
    """The end of a message about a wrong ``name``: what was probably meant, of ``known`` nodes or ``others``, or that
    one is in no hive.
    """
    nodes = sorted(set(known))
    hint = did_you_mean(name, [*nodes, *others])
    if hint:
        return f"{hint} The nodes are: {', '.join(nodes)}" if nodes else hint
    there = f"; the nodes are: {', '.join(nodes)}" if nodes else ""
    return there + outside(settings) or "; there is no node yet"
