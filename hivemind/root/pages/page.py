"""What every page is: an address, a template, and a tree of items that the template and the script walk alike.

An item has a ``key`` that is unique among its sisters, a ``state`` that chooses its colour, ``fields`` (name to text)
and ``lists`` (name to items). A page is rendered from its tree once, and each later snapshot brings the tree anew as
an event: so page and events can never disagree, and a page is complete without a script.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ...bus.bus import Bus
from ...data.directory import Directory
from ...errors import RedisError
from ...patterns import RESOLVED
from ...picture.health import Level
from ...picture.snapshot import Snapshot
from ...settings import Settings
from ..crashes import Crashes
from ..errands import Errands
from ..feeds import Feeds
from ..wording import clock, health_of

Item = dict[str, Any]


class NotFound(LookupError):
    """There is no such thing in the hive; the text says what, and becomes a page with status 404."""


@dataclass(frozen=True, slots=True)
class Hive:
    """By what a page reaches further than its snapshot: its connections, the hive's settings, hiveds and logs."""

    bus: Bus
    settings: Settings
    errands: Errands | None = None
    feeds: Feeds | None = None
    crashes: Crashes | None = None

    async def close(self) -> None:
        """Wait for no hived, and follow no log any more. May be called twice."""
        if self.errands is not None:
            await self.errands.close()
        if self.feeds is not None:
            await self.feeds.close()
        if self.crashes is not None:
            await self.crashes.close()


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page is made of: the hive at a moment (``now`` in unix seconds), and what its address says.

    ``path`` are the names in the address, ``query`` what follows its question mark. ``hive`` is None in a test that
    has no Redis. ``is_again`` says that it is for a page that is open already: then what only stands
    there at first is left out.
    """

    snapshot: Snapshot
    now: float
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    hive: Hive | None = None
    is_again: bool = False


class Page(Protocol):
    """One kind of page. ``label`` is its name in the navigation, "" if it is not there."""

    path: str
    template: str
    label: str

    async def tree(self, visit: Visit) -> Item:
        """The whole page. Raises NotFound, and ValueError for an address that cannot be meant; both say why."""


@runtime_checkable
class WithMore(Page, Protocol):
    """A page with something that no later event brings."""

    async def more(self, visit: Visit) -> Mapping[str, Any]:
        """What its template gets besides the tree. Raises what ``tree`` may raise."""


async def announced(snapshot: Snapshot, hive: Hive | None) -> list[str]:
    """The topics that were announced; none where the hive resolves none, or nobody can say."""
    if hive is None or snapshot.state.patterns != RESOLVED:
        return []
    try:
        return sorted(await Directory(hive.bus.commands, hive.bus.functions, hive.bus.names).topics())
    except RedisError:
        return []


def item(key: str, state: str, fields: Mapping[str, str], lists: Mapping[str, list[Item]] | None = None) -> Item:
    """One item of a tree."""
    return {"key": key, "state": state, "fields": dict(fields), "lists": dict(lists or {})}


def frame(
    visit: Visit, fields: Mapping[str, str], lists: Mapping[str, list[Item]] | None = None, state: str | None = None
) -> Item:
    """The item of a whole page: what stands at the head of each, and what is its own. Its colour is how well the hive
    is, or ``state``.
    """
    snapshot = visit.snapshot
    level = snapshot.health.level
    head = {
        "hive": snapshot.hive,
        "redis": snapshot.redis,
        "health": health_of(snapshot, visit.now),
        "level": "cannot be seen" if level is Level.UNKNOWN else level.value,
        "read": clock(snapshot.read_at) if snapshot.read_at is not None else "not yet",
    }
    return item("hive", state or level.value, {**head, **fields}, lists)
