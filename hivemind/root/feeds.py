"""The logs of nodes as they grow, for the page: read once for all who look on, bounded, and given up with the last."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from ..bus.bus import Bus
from ..cancelling import end
from ..errors import RedisError
from ..log_lines import LogLine
from ..settings import Settings, logged_in
from ..supervisor.engine import host_here
from ..supervisor.far_logs import FarLogs
from ..supervisor.log_tail import Bit, LogTail
from ..supervisor.paths import HivePaths
from .busy import Busy

log = logging.getLogger(__name__)

LOOK = 0.25  #: seconds between two looks at the files
READ = 128 * 1024  #: bytes at the end of a node's logs, all together, with which a feed begins
MOST_LINES, MOST_SIZE = 1000, 512 * 1024  #: entries, and characters of them, that a feed remembers
LONGEST = 8 * 1024  #: characters of one entry
AT_ONCE = 20  #: feeds; who opens another then is told to come again
LONGEST_MATCH = 200

LEVELS: Mapping[str, int] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


@dataclass(frozen=True, slots=True)
class Sieve:
    """Which entries are wanted: of ``level`` or graver ("": all), with ``match`` in them, in whatever case."""

    level: str = ""
    match: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Sieve:
        """From a URL's ``level`` and ``match``. Raises ValueError that says what is wrong."""
        level, match = query.get("level", "").upper(), query.get("match", "")
        if level and level not in LEVELS:
            raise ValueError(f"level: write one of {', '.join(LEVELS)}")
        if len(match) > LONGEST_MATCH:
            raise ValueError(f"match: write at most {LONGEST_MATCH} characters")
        return cls(level, match)

    @property
    def is_open(self) -> bool:
        """Whether everything is wanted."""
        return not self.match and LEVELS.get(self.level, 0) <= LEVELS["DEBUG"]

    def passes(self, line: LogLine) -> bool:
        """Whether an entry is wanted; one without a level, which something else than a logger wrote, is INFO."""
        is_grave = LEVELS.get(line.level, LEVELS["INFO"]) >= LEVELS.get(self.level, 0)
        return is_grave and (not self.match or self.match.lower() in f"{line.name} {line.text}".lower())


def line_fields(line: LogLine) -> dict[str, str]:
    """An entry as the page shows it: texts."""
    moment = datetime.fromtimestamp(line.time, UTC).astimezone()
    is_today = moment.date() == datetime.now(UTC).astimezone().date()
    clock = moment.strftime("%H:%M:%S") + f".{moment.microsecond // 1000:03d}"
    source = line.instance or (logged_in(line.source) if line.source is not None else "")
    text = line.text if len(line.text) <= LONGEST else f"{line.text[:LONGEST]}…"
    return {
        "time": clock if is_today else f"{moment:%Y-%m-%d} {clock}",
        "level": line.level,
        "source": f"{source}@{line.host}" if line.host else source,
        "name": "" if line.name == source else line.name,
        "text": text,
    }


class Recent:
    """The last entries, numbered from 1 on in the order in which they came."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque()
        self._size = 0
        self.last = 0
        self.begun = 0  # the number before the first of the present order

    def add(self, lines: Iterable[LogLine]) -> None:
        """More entries; the oldest go where they are too many."""
        for line in lines:
            self._lines.append(line)
            self._size += _weight(line)
            self.last += 1
        while len(self._lines) > MOST_LINES or (self._size > MOST_SIZE and len(self._lines) > 1):
            self._size -= _weight(self._lines.popleft())

    def take(self) -> list[LogLine]:
        """All of them, to be added in another order: whoever reads gets them anew."""
        lines = list(self._lines)
        self._lines.clear()
        self._size = 0
        self.begun = self.last
        return lines

    def after(self, number: int) -> tuple[list[LogLine], int]:
        """What came after the entry of that number, and how many of it are gone already."""
        first = self.last - len(self._lines)
        skip = max(0, number - first)
        return list(self._lines)[skip:], max(0, first - number)


def _weight(line: LogLine) -> int:
    return min(len(line.text), LONGEST) + 64


class Feed:
    """The log of one node, on all hosts. ``news`` is set, and another takes its place, when something has come."""

    def __init__(self, bus: Bus, settings: Settings, node: str) -> None:
        self._bus, self._settings, self.node = bus, settings, node
        self.recent, self.notes = Recent(), list[str]()
        self.news = asyncio.Event()
        self.is_read, self.is_over = False, False
        self.readers = 0
        self._has_far = False
        self._tasks = [asyncio.create_task(self._follow(), name=f"log of {node}")]

    async def close(self) -> None:
        """Read no more. May be called twice."""
        self.is_over = True
        self._tell()
        for task in self._tasks:  # all of them before the first is waited for: whoever closes may be cancelled himself
            task.cancel()
        for task in self._tasks:
            await end(task)

    async def _follow(self) -> None:
        tail = LogTail(self._settings, (self.node,), read=READ)
        far: FarLogs | None = None
        if hosts := _others(self._settings):
            far = FarLogs(self._bus, hosts, (self.node,), lambda text, _: self._note(text))
            self._tasks.append(asyncio.create_task(self._begin_far(far), name=f"far log of {self.node}"))
        try:
            while True:
                lines = await self._look(tail)
                lines += far.take() if far is not None and self._has_far else []
                self._add(sorted(lines, key=lambda line: line.time))
                await asyncio.sleep(LOOK)
        except Exception:
            log.exception("the log of %s cannot be followed", self.node)
        finally:
            self.is_over = True
            self._tell()
            tail.close()
            if far is not None:
                await far.close()

    async def _look(self, tail: LogTail) -> list[LogLine]:
        try:
            return _lines(await asyncio.to_thread(tail.more if self.is_read else partial(tail.first, None)))
        except OSError as error:
            self._note(f"a log cannot be read: {error}")
            return []

    async def _begin_far(self, far: FarLogs) -> None:
        """What the other hosts have belongs before what is here: all of it is put in order anew."""
        try:
            await far.open()
            lines = await far.first(None, follow=True)
            self.recent.add(sorted([*self.recent.take(), *lines], key=lambda line: line.time))
            self._has_far = True
            self._tell()
        except RedisError as error:
            self._note(f"the logs of other hosts are not among these: {error}")
        except Exception:
            log.exception("the logs of other hosts for %s", self.node)
            self._note("the logs of other hosts are not among these: the root's own says why")

    def _add(self, lines: Sequence[LogLine]) -> None:
        self.recent.add(lines)
        if lines or not self.is_read:
            self.is_read = True
            self._tell()

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < 10:
            self.notes.append(text)
            self._tell()

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()


class Feeds:
    """The logs that somebody looks at. On the loop."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bus, self._settings = bus, settings
        self._feeds: dict[str, Feed] = {}

    @property
    def readers(self) -> int:
        """How many look at a log."""
        return sum(feed.readers for feed in self._feeds.values())

    @asynccontextmanager
    async def following(self, node: str) -> AsyncIterator[Feed]:
        """The feed of ``node`` for as long as somebody looks at it. Raises Busy."""
        feed = self._feeds.get(node)
        if feed is None or feed.is_over:
            if len(self._feeds) >= AT_ONCE:
                raise Busy(f"{AT_ONCE} other logs are followed: try again later")
            feed = self._feeds[node] = Feed(self._bus, self._settings, node)
        feed.readers += 1
        try:
            yield feed
        finally:
            feed.readers -= 1
            if not feed.readers:
                if self._feeds.get(node) is feed:
                    del self._feeds[node]
                await feed.close()

    async def last(self, node: str, sieve: Sieve, most: int) -> list[LogLine]:
        """The newest entries, without waiting for other hosts unless somebody follows that log. Never raises."""
        feed = self._feeds.get(node)
        if feed is not None and feed.is_read:
            found = feed.recent.after(0)[0]
        else:
            found = await asyncio.to_thread(_last, self._settings, node)
        return [line for line in found if sieve.passes(line)][-most:]

    async def close(self) -> None:
        """End every feed, and so who reads them. May be called twice."""
        for feed in list(self._feeds.values()):
            await feed.close()


def _last(settings: Settings, node: str) -> list[LogLine]:
    tail = LogTail(settings, (node,), read=READ)
    try:
        return _lines(tail.first(None))
    except OSError as error:
        log.debug("the log of %s cannot be read: %s", node, error)
        return []
    finally:
        tail.close()


def _lines(found: Sequence[Bit]) -> list[LogLine]:
    return [line for bit in found for line in bit.lines]


def _others(settings: Settings) -> set[str]:
    """The hosts whose logs do not lie here."""
    if os.name == "nt" or not settings.constants.HOSTS:
        return set()
    return settings.constants.HOSTS.keys() - {host_here(HivePaths.of(settings))}
