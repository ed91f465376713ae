"""What Tab offers for a name: the nodes of the hive, the topics of its registry, and what else its commands ask for.

Whatever is wrong, such as a Redis that is away, or no hive at all, Tab offers less, and says nothing. It looks no
longer than ``PATIENCE``. Names that cannot be are left out: anybody may write in the registry, and what Tab offers ends
up on a command line.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..settings import Settings
    from .glance import Seen

PATIENCE = 0.25  #: seconds in which Redis has to answer

Offer = Callable[["Settings", str], Iterable[str]]
Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def _completing(offer: Offer) -> Complete:
    """What a click parameter calls: of what is offered that which fits and was not given yet."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        given = ctx.params.get(param.name or "")
        there = set(given) if isinstance(given, tuple) else set()
        names = {name for name in _silently(ctx, offer, incomplete) if name.startswith(incomplete)}
        return [CompletionItem(name) for name in sorted(names - there)]

    return complete


def files_or_nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What `hm run` takes: nodes; files where no node begins so."""
    from click.shell_completion import CompletionItem

    return nodes(ctx, param, incomplete) or [CompletionItem(incomplete, type="file")]


def _silently(ctx: click.Context, offer: Offer, incomplete: str) -> list[str]:
    from .context import context_hive, settings_or_last

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return list(offer(settings_or_last(context_hive(ctx)), incomplete))
        except Exception:  # noqa: BLE001 - who presses Tab has not asked for a traceback
            return []


def _nodes(settings: Settings, incomplete: str) -> Iterable[str]:
    """Nodes: those of the hive's files, else of the registry, which takes longer. Copies, once there is a dot."""
    from ..topics import check_name
    from .nodes import known_nodes

    if "." in incomplete:
        return [one.instance for one in _seen(settings).instances]
    names = {*known_nodes(settings), *settings.constants.NODES}
    if not any(name.startswith(incomplete) for name in names):
        names = {node for one in _seen(settings).instances for node in one.nodes}
    return [name for name in names if _can_be(check_name, name)]


def _targets(settings: Settings, incomplete: str) -> Iterable[str]:
    """What can be steered: nodes, copies, tags."""
    if not incomplete.startswith("@"):
        return _nodes(settings, incomplete)
    return [f"@{tag}" for tag in {"all", *(tag for tuning in settings.constants.NODES.values() for tag in tuning.tags)}]


def _topics(settings: Settings, _: str) -> Iterable[str]:
    """Topics that nodes send on, that were announced, and that somebody asks for by name."""
    from ..topics import is_topic

    seen = _seen(settings)
    names = [service.name for one in seen.instances for service in one.stats.services]
    names += [each.name for one in seen.instances for each in one.stats.sends]
    names += [each.pattern for one in seen.instances for each in one.stats.subscriptions]
    return [name for name in {*seen.announced, *names} if is_topic(name)]


def _requests(settings: Settings, _: str) -> Iterable[str]:
    from ..topics import is_topic

    return [each.name for one in _seen(settings).instances for each in one.stats.responders if is_topic(each.name)]


def _groups(settings: Settings, _: str) -> Iterable[str]:
    from ..topics import check_name

    groups = {each.group for one in _seen(settings).instances for each in one.stats.subscriptions}
    return [group for group in groups if _can_be(check_name, group)]


def _seen(settings: Settings) -> Seen:
    from .glance import glance

    return glance(settings, PATIENCE)


def _can_be(check: Callable[[str], object], name: str) -> bool:
    from ..errors import InvalidName

    try:
        check(name)
    except InvalidName:
        return False
    return True


nodes, targets = _completing(_nodes), _completing(_targets)
topics, requests, groups = _completing(_topics), _completing(_requests), _completing(_groups)
