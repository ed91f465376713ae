"""What is kept: topics, their groups, and how far those are behind."""

from __future__ import annotations

from ...data.backlog import GroupBacklog, TopicBacklog
from ...english import duration
from ...picture.durable import DurableView
from ..wording import count
from .page import Item, Visit, frame, item


class Topics:
    """``/topics``."""

    path, template, label = "/topics", "topics.html", "Topics"

    async def tree(self, visit: Visit) -> Item:
        """Every kept topic."""
        durable = visit.snapshot.durable
        return frame(visit, {}, {"topics": [_topic(one, durable) for one in durable.state.topics]})


def _topic(one: TopicBacklog, view: DurableView) -> Item:
    kept = one.kept
    how = "durable" if kept.durable else ""
    return item(
        kept.topic,
        "",
        {
            "topic": kept.topic,
            "how": ", ".join(filter(None, (how, kept.keep and f"keeps {kept.keep}"))),
            "length": count(one.length),
            "size": f"{one.size / 2**20:,.1f} MiB",
            "letters": count(one.letters),
        },
        {"groups": [_group(each, view.growth.get((each.topic, each.group))) for each in one.groups]},
    )


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
