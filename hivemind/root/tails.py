"""Messages as they pass by, for who looks at a topic's page: one subscription a pattern, while somebody looks.

::

    live link ─► one inbox a tail ─► every TICK: what each viewer wants of it ─► the viewer's stream

All of it is bounded: a viewer is shown SHOWN messages a tick and told how many more there were, also one whose
connection is slow; and where more come than a root should read, it looks a part of the time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from ..bus.bus import Bus
from ..bus.inbox import Entry, InboxLimits
from ..bus.receiving import LiveSubscription
from ..errors import RedisDenied, RedisError
from ..message import envelope_of
from ..picture.monitor import Monitor
from .busy import Busy
from .pages.messages import message_item
from .pages.page import Item

log = logging.getLogger(__name__)

TICK = 0.25  #: seconds between two looks
SHOWN = 10  #: messages that a viewer is shown of one look
MOST = 20  #: tails at once
HELD = InboxLimits(2000, 4 * 2**20)  #: what comes between two looks, and is looked at
REST = 1.0  #: seconds for which a tail looks away after more than that came
LONGEST_WORDS = 200  #: characters that a viewer may look for


class Follower:
    """One viewer of a tail: what is to be shown next, the newest of it."""

    def __init__(self, words: str) -> None:
        self._needle = orjson.dumps(words)[1:-1].lower()  # as it stands in JSON
        self._items: deque[Item] = deque(maxlen=SHOWN)
        self._more, self._is_partial, self._said, self._is_closed = 0, False, "", False
        self._news = asyncio.Event()

    @property
    def seeks(self) -> bool:
        """Whether it wants some messages only."""
        return bool(self._needle)

    def wants(self, texts: Sequence[bytes]) -> bool:
        """Whether its words are in one of the texts of a message, as ``_texts`` has them."""
        return any(self._needle in text for text in texts)

    def show(self, items: list[Item], more: int, *, is_partial: bool = False) -> None:
        """Show these, the newest last, and say that there were more."""
        if not items and not more and is_partial is self._is_partial:
            return
        self._more += more + max(0, len(self._items) + len(items) - SHOWN)
        self._is_partial = is_partial
        self._items.extend(items)
        self._news.set()

    def say(self, text: str) -> None:
        """Say why nothing comes; "": it does again."""
        if text != self._said:
            self._said = text
            self._news.set()

    def close(self) -> None:
        """There is no more."""
        self._is_closed = True
        self._news.set()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What is to be shown, as soon as there is something; begins with nothing, once it listens."""
        while not self._is_closed:
            items, more, self._more = list(self._items), self._more, 0
            self._items.clear()
            self._news.clear()
            yield {"messages": items, "more": more, "partial": self._is_partial, "said": self._said}
            await self._news.wait()


class Tail:
    """One pattern, watched from ``start`` on for as long as it has followers."""

    def __init__(self, bus: Bus, pattern: str, monitor: Monitor) -> None:
        self._bus, self._pattern, self._monitor = bus, pattern, monitor
        self._number = time.time_ns()  # a page keeps what it has when it comes back, and knows messages by this
        self._task: asyncio.Task[None] | None = None
        self.followers: set[Follower] = set()

    def start(self) -> None:
        """Subscribe, in the background."""
        self._task = asyncio.create_task(self._run(), name=f"tail of {self._pattern}")

    def stop(self) -> None:
        """Unsubscribe, in the background: who stops it may be about to be cancelled."""
        self.followers.clear()
        if self._task is not None:
            self._task.cancel()

    @property
    def _is_wanted(self) -> bool:
        return bool(self.followers) and not self._monitor.is_closed

    async def _run(self) -> None:
        try:
            while self._is_wanted:
                live = LiveSubscription(self._pattern, limits=HELD, raw=True)
                try:
                    await self._watch(live)
                except RedisDenied as error:
                    self._say(str(error))
                except RedisError as error:
                    self._say("Redis does not answer")
                    log.debug("tail of %s: %s", self._pattern, error)
                except Exception:
                    self._say("the root failed at this; its log says why")
                    log.exception("tail of %s", self._pattern)
                finally:
                    self._bus.live.remove(live)
                await asyncio.sleep(REST)
        finally:
            for one in self.followers:
                one.close()

    async def _watch(self, live: LiveSubscription) -> None:
        """Show what comes until it is more than is looked at."""
        await self._bus.subscribe(live)
        self._say("")
        while not live.inbox.dropped and self._is_wanted:
            await asyncio.sleep(TICK)
            self._show(list(live.inbox.entries()), live.inbox.dropped)

    def _show(self, entries: list[Entry], dropped: int) -> None:
        made: dict[int, Item] = {}
        texts = [_texts(entry) for entry in entries] if any(one.seeks for one in self.followers) else []
        everything = range(len(entries))
        for follower in self.followers:
            wanted = [at for at in everything if follower.wants(texts[at])] if follower.seeks else everything
            for at in wanted[-SHOWN:]:
                made.setdefault(at, self._item(entries[at]))
            more = len(wanted) - len(wanted[-SHOWN:])
            follower.show([made[at] for at in wanted[-SHOWN:]], more, is_partial=dropped > 0)

    def _item(self, entry: Entry) -> Item:
        topic, payload, source, size = entry
        self._number += 1
        return message_item(topic, envelope_of(source), payload, size, f"~{self._number}")

    def _say(self, text: str) -> None:
        for one in self.followers:
            one.say(text)


def _texts(entry: Entry) -> tuple[bytes, bytes]:
    """Where words are looked for, once for all who look: the topic, and the whole message."""
    topic, _, source, _ = entry
    body = source if isinstance(source, bytes) else orjson.dumps(source, default=repr)
    return topic.lower().encode(), body.lower()


class Tails:
    """All that is watched through one root."""

    def __init__(self, bus: Bus, monitor: Monitor) -> None:
        self._bus, self._monitor = bus, monitor
        self._open: dict[str, Tail] = {}

    @asynccontextmanager
    async def following(self, pattern: str, words: str) -> AsyncIterator[Follower]:
        """Watch what matches ``pattern`` and has ``words`` in it. Raises Busy."""
        tail = self._open.get(pattern)
        if tail is None:
            if len(self._open) >= MOST:
                raise Busy("too many tails are open")
            tail = self._open[pattern] = Tail(self._bus, pattern, self._monitor)
            tail.start()
        follower = Follower(words[:LONGEST_WORDS])
        tail.followers.add(follower)
        try:
            yield follower
        finally:
            tail.followers.discard(follower)
            if not tail.followers and self._open.get(pattern) is tail:
                del self._open[pattern]
                tail.stop()
