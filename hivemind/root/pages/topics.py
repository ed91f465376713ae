"""All topics: who sends, who hears, how fast, and what finds nobody; and what is kept, and how far its readers are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlencode

from ...data.backlog import GroupBacklog, TopicBacklog
from ...english import duration, listed, size_of
from ...picture.durable import DurableView
from ...picture.graph import copies, natural
from ...picture.topics import TopicView, narrowed, topics_of
from ...picture.traffic import Outside, Sender, Subscriber, Unfed
from ..wording import count, rate
from .page import Item, Visit, announced, frame, item

PAGE = 100  #: topics on one page
LONGEST = 128  #: characters of what is looked for


class Topics:
    """``/topics``."""

    path, template, label = "/topics", "topics.html", "Topics"

    async def tree(self, visit: Visit) -> Item:
        """Every topic, a part at a time, then the patterns that nothing feeds, then what is kept."""
        words, after = visit.query.get("q", "")[:LONGEST], visit.query.get("after", "")[:LONGEST]
        whole = topics_of(visit.snapshot, await announced(visit.snapshot, visit.hive))
        durable = visit.snapshot.durable
        fitting = narrowed(whole.views, words)
        behind = [one for one in fitting if not after or natural(one.topic.topic) > natural(after)]
        shown = behind[:PAGE]
        fields = {
            "q": words,
            "shown": _shown(len(fitting) - len(behind), len(shown), len(fitting)),
            "first": _link(words) if len(behind) < len(fitting) else "",
            "next": _link(words, shown[-1].topic.topic) if len(behind) > len(shown) else "",
        }
        patterns: list[Unfed | Outside] = [*whole.traffic.unfed, *whole.traffic.outside] if not words else []
        return frame(
            visit,
            fields,
            {
                "topics": [_topic(one, durable) for one in shown],
                "patterns": [_pattern(one) for one in patterns[:PAGE]],
                "kept": [kept_item(one.kept, durable) for one in shown if one.kept is not None],
            },
        )


def address(topic: str) -> str:
    """The page of a topic, or of a pattern."""
    return f"/topics/{quote(topic, safe='')}"


def kept_item(one: TopicBacklog, view: DurableView) -> Item:
    """What is kept of a topic, with its groups."""
    kept = one.kept
    return item(
        kept.topic,
        "",
        {
            "topic": kept.topic,
            "link": address(kept.topic),
            "how": how_kept(one),
            "length": count(one.length),
            "size": size_of(one.size),
            "letters": count(one.letters),
        },
        {"groups": group_items(one, view)},
    )


def how_kept(one: TopicBacklog) -> str:
    """In the words of its senders."""
    kept = one.kept
    return ", ".join(filter(None, ("durable" if kept.durable else "", kept.keep and f"keeps {kept.keep}")))


def group_items(one: TopicBacklog, view: DurableView) -> list[Item]:
    """The groups of a kept topic, and how far each is."""
    return [_group(each, view.growth.get((each.topic, each.group))) for each in one.groups]


def _group(one: GroupBacklog, growth: float | None) -> Item:
    return item(
        one.group,
        "note" if growth and growth > 0 else "",
        {
            "group": one.group,
            "readers": ", ".join(one.readers) or "nobody",
            "lag": f"{count(one.lag)}{'+' if one.is_more else ''}",
            "growth": "" if not growth else f"+{growth:,.1f}/s",
            "pending": count(one.pending),
            "oldest": "" if one.oldest is None else duration(one.oldest),
        },
    )


def _topic(one: TopicView, view: DurableView) -> Item:
    topic, kept = one.topic, one.kept
    is_growing = kept is not None and any(view.growth.get((each.topic, each.group)) for each in kept.groups)
    return item(
        topic.topic,
        "trouble" if kept is not None and kept.letters else "note" if topic.note or is_growing else "",
        {
            "topic": topic.topic,
            "link": address(topic.topic),
            "senders": _nodes(topic.senders) or "no node",
            "subscribers": _nodes(topic.subscribers) or "nobody",
            "rate": rate(one.rate) if topic.senders else "",
            "sent": count(topic.sent) if topic.senders else "",
            "size": size_of(one.size) if one.size is not None else "",
            "lag": count(max((each.lag for each in kept.groups), default=0)) if kept is not None else "",
            "letters": count(kept.letters) if kept is not None else "",
            "note": topic.note,
        },
    )


def _pattern(one: Unfed | Outside) -> Item:
    is_unfed = isinstance(one, Unfed)
    return item(
        one.pattern,
        "note" if is_unfed else "",
        {
            "pattern": one.pattern,
            "link": address(one.pattern),
            "subscribers": _nodes(one.subscribers),
            "received": count(sum(each.received for each in one.subscribers)),
            "note": one.note if isinstance(one, Unfed) else "what came was sent by no node that lives",
        },
    )


def _nodes(group: Iterable[Sender | Subscriber]) -> str:
    """Who they are, with how many copies of each."""
    found: dict[str, set[str]] = {}
    for one in group:
        found.setdefault(one.node, set()).add(one.instance)
    names: Sequence[str] = [copies(node, len(found[node])) for node in sorted(found, key=natural)]
    return listed(names)


def _shown(before: int, shown: int, total: int) -> str:
    """Which of the topics these are; "" where they are all."""
    return "" if shown == total else f"topics {before + 1:,} to {before + shown:,} of {total:,}"


def _link(words: str, after: str = "") -> str:
    return "?" + urlencode({name: text for name, text in (("q", words), ("after", after)) if text})
