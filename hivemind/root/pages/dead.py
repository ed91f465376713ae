"""Dead letters: what groups gave up, why, and what one can do about it."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from ...bus.streams import Streams
from ...data.letters import Letter, Letters
from ...english import duration
from ...errors import RedisError, RedisUnavailable
from ...message import Malformed
from ...topics import is_topic
from ..wording import count, moment
from .page import Item, Visit, frame, item
from .payloads import brief, tree_of
from .topics import address

PAGE = 12  #: letters on one page
VALUES = 16  #: of the payload of each
REASON, TRACE = 300, 2000  #: characters of why, and of the traceback: its end says most
LONGEST = 128  #: characters of a group's name
MOST_SAID = 3  #: sentences on letters that are not shown
MOST_TOPICS = 50  #: topics that have a row, and of which the newest letters are looked for

_BEFORE = re.compile(r"\d{1,20}-\d{1,20}")


class Dead:
    """``/dead``."""

    path, template, label = "/dead", "dead.html", "Dead letters"

    async def tree(self, visit: Visit) -> Item:
        """The newest letters, of one topic, group and time if one asks for that, and how many each topic has."""
        topic, group = visit.query.get("topic", ""), visit.query.get("group", "")[:LONGEST]
        before = visit.query.get("before", "")
        if (topic and not is_topic(topic)) or (before and not _BEFORE.fullmatch(before)):
            raise ValueError("topic: write a topic's name; before: the id of a dead letter")
        counts = {one: total for one, total in visit.snapshot.durable.state.letters.items() if total}
        topics = sorted(counts, key=lambda one: (-counts[one], one))[:MOST_TOPICS]
        found, trouble = await self._newest(visit, [topic] if topic else topics, before, group)
        shown = found[:PAGE]
        fields = {
            "topic": topic,
            "group": group,
            "total": count(sum(counts.values())),
            "none": trouble or ("" if shown else _none(visit, topic, group)),
            "all": "/dead" if topic or group or before else "",
            "next": _link(topic, group, shown[-1].id) if len(found) > PAGE else "",
        }
        rows = [_topic(one, counts[one], group) for one in topics if topic in ("", one)]
        return frame(visit, fields, {"topics": rows, "letters": [_letter(one, visit.now) for one in shown]})

    async def _newest(self, visit: Visit, topics: list[str], before: str, group: str) -> tuple[list[Letter], str]:
        """One more than there is room for, if there are so many, the newest first; and of what topics they are not all
        that there are, and why.
        """
        if visit.hive is None or visit.snapshot.silent_since is not None:
            return [], ""
        letters = Letters(Streams(visit.hive.bus.commands, visit.hive.bus.functions, visit.hive.bus.names))
        found: list[Letter] = []
        unread, cut = [], []
        for topic in topics:
            try:
                some, is_cut = await letters.newest(topic, before or "+", group, PAGE + 1)
            except RedisError as error:  # it went away just now, or something else lies in the letters' place
                unread.append(f"Those of {topic} could not be read: {str(error)[:REASON]}.")
                if isinstance(error, RedisUnavailable):
                    break
                continue
            found += some
            cut += [f"Older ones of {topic} were not looked at: there are too many."] if is_cut else []
        newest = sorted(found, key=lambda one: _place(one.id), reverse=True)[: PAGE + 1]
        return newest, " ".join((unread + cut)[:MOST_SAID])


def _place(entry: str) -> tuple[int, ...]:
    return tuple(int(part) for part in entry.split("-") if part.isdigit())


def _none(visit: Visit, topic: str, group: str) -> str:
    if visit.snapshot.silent_since is not None:
        return "Redis does not answer, so they cannot be read."
    of = " ".join(filter(None, (f"of {topic}" if topic else "", f"of group {group}" if group else "")))
    return f"There are no dead letters{' ' if of else ''}{of}."


def _link(topic: str, group: str, before: str = "") -> str:
    said = {"topic": topic, "group": group, "before": before}
    return "/dead?" + urlencode({name: text for name, text in said.items() if text})


def _topic(topic: str, total: int, group: str) -> Item:
    """A topic with how many letters it has; of one group nobody has counted them."""
    return item(
        topic,
        "trouble",
        {
            "topic": topic,
            "link": _link(topic, group),
            "page": address(topic),
            "count": "" if group else count(total),
            "group": group,
        },
    )


def _letter(one: Letter, now: float) -> Item:
    fields = {
        "name": one.name,
        "topic": one.topic,
        "link": address(one.topic),
        "group": one.group or "nobody knows who",
        "reason": _first(one.reason) or "nobody knows why",
        "died": moment(one.died),
        "ago": f"{duration(now - one.died)} ago" if 0 < one.died <= now else "",
        "tries": f"{one.tries:,} {'try' if one.tries == 1 else 'tries'}",
        "instance": one.instance[:LONGEST],
        "node": f"/nodes/{one.instance.rpartition('.')[0]}" if is_topic(one.instance) else "",
        "trace": one.traceback.rstrip()[-TRACE:],
        "brief": one.message[:REASON],
        "sender": "",
    }
    try:
        said = one.envelope()
    except Malformed:
        return item(one.name, "", fields, {"payload": tree_of(one.message, VALUES)})
    fields["brief"] = brief(said["payload"])
    if "v" in said:
        fields["sender"] = f"{str(said['n'])[:LONGEST]}, {moment(said.get('t', 0.0))}"
    return item(one.name, "", fields, {"payload": tree_of(said["payload"], VALUES)})


def _first(reason: str) -> str:
    line = (reason.strip().splitlines() or [""])[0]
    return line if len(line) <= REASON else f"{line[: REASON - 1]}…"
