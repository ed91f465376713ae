"""Names: what a topic, a pattern, a hive and a node may be called, and every key and channel in Redis.

=============================  ====================================================================
live channel of a topic        ``hm:<hive>:t:<topic>``; over the shards of a Cluster ``hm:<hive>:t:{<topic>}``
beat of an instance            channel ``hm:<hive>:b:<instance>``
control and change notices     channel ``hm:<hive>:c:<kind>``
registry: one instance         hash ``hm:{<hive>}:node:<instance>``, expires with its lease
registry: all instances        set ``hm:{<hive>}:nodes``
registry: last incarnation     ``hm:{<hive>}:epoch:<instance>``
registry: last process         ``hm:{<hive>}:whose:<instance>``
how patterns are kept          ``hm:{<hive>}:patterns``, "server" or "resolved"
layout of all these            ``hm:{<hive>}:layout``, a number
directory: known topics        sorted set ``hm:{<hive>}:topics``, by the version that added them
directory: who resolves what   hash ``hm:{<hive>}:resolvers``, by instance
directory: how far they are    hash ``hm:{<hive>}:resolved``, by instance
=============================  ====================================================================

The braces make one hive's registry one slot of a Redis Cluster, so that one function may touch it whole. All that is
kept, and requests, lie there, too (``ClusterNames``).
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from functools import lru_cache

from .errors import InvalidName

LONGEST = 128  #: characters of a topic or a pattern
WILD = "*?["  #: what makes a pattern of a topic

_TOPIC = re.compile(rf"[A-Za-z0-9._/-]{{1,{LONGEST}}}")
_PATTERN = re.compile(rf"[A-Za-z0-9._/*?\[\]!^-]{{1,{LONGEST}}}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_INSTANCE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\.[0-9]{1,6}")
_WILDS = frozenset(WILD)
_TOKEN = re.compile(r"\*+|\[[^\]]*\]|.", re.DOTALL)
# In brackets Redis reads from the left: `x-y` is a range whenever a `-` follows, even if `]` comes next.
_RANGE = re.compile(r"([^\[\]!^])(?:-([^\[\]!^]))?")
_GLOB = re.compile(r"(?:[^\[\]]|\[[!^]?(?:[^\[\]!^]-[^\[\]!^]|[^\[\]!^](?!-))+\])*")


def check_topic(topic: str) -> str:
    """Return ``topic``; raise InvalidName unless it is 1 to 128 of ``A-Z a-z 0-9 . _ / -``."""
    if not is_topic(topic):
        raise InvalidName("topic", topic, f"use 1 to {LONGEST} letters, digits and . _ / -")
    return topic


def is_topic(name: object) -> bool:
    """Whether what somebody wrote, anything at all, is a topic's name."""
    return isinstance(name, str) and _TOPIC.fullmatch(name) is not None


def is_instance(name: object) -> bool:
    """Whether what somebody wrote, anything at all, is an instance's name."""
    return isinstance(name, str) and _INSTANCE.fullmatch(name) is not None


def is_node(name: object) -> bool:
    """Whether what somebody wrote, anything at all, can be a node's name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_pattern(pattern: str) -> str:
    """Return ``pattern``; raise InvalidName unless it is a topic that may also contain ``* ? [ ] !``."""
    if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
        raise InvalidName(
            "pattern", pattern, f"use 1 to {LONGEST} letters, digits and . _ / - with the wildcards * ? [abc]"
        )
    if not _brackets_are_closed(pattern):
        raise InvalidName(
            "pattern", pattern, "every [ needs its ] with something between them, and a range such as a-z runs upwards"
        )
    return pattern


def check_name(name: str, kind: str = "node") -> str:
    """Return ``name``; raise InvalidName unless it is a letter and up to 63 of ``A-Z a-z 0-9 _ -``."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(kind, name, "start with a letter, then up to 63 letters, digits, _ and -")
    return name


def check_python_name(name: str, kind: str) -> str:
    """As check_name, for names that also become a Python module or class: no ``-``, no keyword."""
    check_name(name, kind)
    if not name.isidentifier():
        raise InvalidName(kind, name, "it becomes the name of a Python module: use _ instead of -")
    if keyword.iskeyword(name) or keyword.iskeyword(name.lower()):
        raise InvalidName(kind, name, f"{name.lower()!r} is a keyword of Python")
    return name


def check_instance(instance: str) -> str:
    """Return ``instance``; raise InvalidName unless it is ``<node>.<number>``."""
    if not isinstance(instance, str) or not _INSTANCE.fullmatch(instance):
        raise InvalidName("instance", instance, "write the node's name, a dot and a number, such as batsignal.0")
    return instance


def is_pattern(text: str) -> bool:
    """Whether ``text`` has a wildcard: only then does it cost Redis a pattern."""
    return not _WILDS.isdisjoint(text)


@lru_cache(maxsize=4096)
def _regex(pattern: str) -> re.Pattern[str]:
    return _compiled(pattern)


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = [""]
    for token in _TOKEN.findall(pattern):
        if token[0] == "*":
            parts.append("")
        else:
            parts[-1] += "." if token == "?" else _class(token) if token[0] == "[" else re.escape(token)
    first, *rest = parts
    # Atomic groups: where a part first fits is where it may stay, so many stars cost no more than one.
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(first + middle + (f".*{rest[-1]}" if rest else ""), re.DOTALL)


def _class(token: str) -> str:
    inverted, body = ("^", token[2:-1]) if token[1] in "!^" else ("", token[1:-1])
    ranges = (f"{re.escape(low)}-{re.escape(high)}" if high else re.escape(low) for low, high in _RANGE.findall(body))
    return f"[{inverted}{''.join(ranges)}]"


def matches(pattern: str, topic: str) -> bool:
    """Whether ``topic`` is what ``pattern`` asks for: a glob in which ``*`` crosses everything.

    It agrees with what Redis does for the patterns that check_pattern lets through.
    """
    return _regex(pattern).fullmatch(topic) is not None


def matcher(pattern: str) -> Callable[[str], object]:
    """As ``matches``, for who keeps many patterns: what is returned gives something true for a topic that matches."""
    return _compiled(pattern).fullmatch


def _brackets_are_closed(pattern: str) -> bool:
    return _GLOB.fullmatch(pattern) is not None and not any(
        low > high
        for token in _TOKEN.findall(pattern)
        if token[0] == "["
        for low, high in _RANGE.findall(token)
        if high
    )


class Names:
    """All keys and channels of one hive. Nothing else in the project spells one out."""

    __slots__ = ("_live", "hive")

    def __init__(self, hive: str) -> None:
        self.hive = check_name(hive, "hive")
        self._live = f"hm:{hive}:t:"

    def live(self, topic: str) -> str:
        """The channel on which messages of ``topic`` travel; with a pattern, what to PSUBSCRIBE to."""
        return self._live + topic.replace("[!", "[^")

    def topic(self, channel: str) -> str:
        """The topic of a live channel (or, for a subscribed pattern, the pattern as Redis has it)."""
        return channel[len(self._live) :]

    def _of(self, kind: str, topic: str) -> str:
        """What belongs to a topic, or to the requests of a name: all of it lies in one slot of a Cluster."""
        return f"hm:{self.hive}:{kind}:{{{topic}}}"

    def stream(self, topic: str) -> str:
        """The stream of a topic whose messages are kept."""
        return self._of("s", topic)

    def streams(self) -> str:
        """How all streams of topics begin."""
        return self._of("s", "").removesuffix("}")

    def requests(self) -> str:
        """How all that belongs to requests begins, but their channels."""
        return self._of("q", "").removesuffix("}")

    def producers(self, topic: str) -> str:
        """The hash of what each sender appended last to a stream, and of which lives were taken over from."""
        return self._of("p", topic)

    def retries(self, topic: str) -> str:
        """The sorted set of messages that wait for their next try, by when it is due."""
        return self._of("r", topic)

    def letters(self, topic: str) -> str:
        """The stream of a topic's dead letters."""
        return self._of("d", topic)

    def order(self, topic: str) -> str:
        """The hash of which keys of a topic are in whose hands, where readers ask for order by a key."""
        return self._of("k", topic)

    def memory(self, topic: str) -> str:
        """The hash of what was handled lately, where readers ask that nothing is handled twice."""
        return self._of("h", topic)

    def responders(self, name: str) -> str:
        """The sorted set of who answers requests of that name, by how many each has in hand."""
        return f"{self._of('q', name)}:who"

    def responders_since(self, name: str) -> str:
        """Since when there has been such a list: a young one, after Redis lost its data, may not be whole yet."""
        return f"{self._of('q', name)}:since"

    def request(self, name: str, member: str) -> str:
        """The channel on which one responder gets its requests; without a member, how all of them begin."""
        return f"hm:{self.hive}:q:{{{name}}}:{member}"

    def replies(self, inbox: str) -> str:
        """The channel on which one process gets its replies; without an inbox, how all of them begin."""
        return f"hm:{self.hive}:i:{inbox}"

    def beat(self, instance: str) -> str:
        """The channel on which ``instance`` says every beat that it lives, and what it sent last."""
        return f"hm:{self.hive}:b:{instance}"

    def control(self, kind: str) -> str:
        """The channel of one kind of control message or change notice."""
        return f"hm:{self.hive}:c:{kind}"

    def node(self, instance: str) -> str:
        """The registry hash of ``instance``."""
        return f"hm:{{{self.hive}}}:node:{instance}"

    def nodes(self) -> str:
        """The set of all instances that ever registered and were not forgotten."""
        return f"hm:{{{self.hive}}}:nodes"

    def epoch(self, instance: str) -> str:
        """The last incarnation given to ``instance``."""
        return f"hm:{{{self.hive}}}:epoch:{instance}"

    def whose(self, instance: str) -> str:
        """Which process had ``instance`` last: kept for as long as the last incarnation, long after its lease."""
        return f"hm:{{{self.hive}}}:whose:{instance}"

    def patterns(self) -> str:
        """How the hive keeps its patterns: "server" or "resolved"."""
        return f"hm:{{{self.hive}}}:patterns"

    def layout(self) -> str:
        """Which layout the keys of the hive have: a number."""
        return f"hm:{{{self.hive}}}:layout"

    def topics(self) -> str:
        """The sorted set of all topics that were announced, by the version of the directory that added them."""
        return f"hm:{{{self.hive}}}:topics"

    def kept(self) -> str:
        """The hash of all topics that are kept in streams."""
        return f"hm:{{{self.hive}}}:kept"

    def readings(self) -> str:
        """The hash of all groups that read kept topics, with their patterns."""
        return f"hm:{{{self.hive}}}:readings"

    def readers(self) -> str:
        """The hash of the lives that read in groups, by group and instance."""
        return f"hm:{{{self.hive}}}:readers"

    def caretaker(self) -> str:
        """Who looks after what retires; it expires when that one is gone."""
        return f"hm:{{{self.hive}}}:caretaker"

    def roll(self) -> str:
        """Which hived rolls; it expires when that one is gone."""
        return f"hm:{{{self.hive}}}:roll"

    def past(self) -> str:
        """The stream of the last hour as the roots saw it: a few figures and events every five seconds."""
        return f"hm:{{{self.hive}}}:past"

    def move(self) -> str:
        """Where the hive is going, or has gone, if it moves to another Redis, or has moved."""
        return f"hm:{{{self.hive}}}:move"

    def resolvers(self) -> str:
        """The hash of what each instance resolves: its patterns."""
        return f"hm:{{{self.hive}}}:resolvers"

    def resolved(self) -> str:
        """The hash of the version of the directory up to which each instance has subscribed."""
        return f"hm:{{{self.hive}}}:resolved"


class ClusterNames(Names):
    """The names of a hive on a Cluster: all that is kept, and requests, lies with its registry, on its home."""

    __slots__ = ()

    def _of(self, kind: str, topic: str) -> str:
        return f"hm:{{{self.hive}}}:{kind}:{topic}"


class ShardedNames(Names):
    """The names of a hive whose live messages travel over all shards of a Cluster: each topic has a slot of its own."""

    __slots__ = ()

    def live(self, topic: str) -> str:
        """The channel on which messages of ``topic`` travel, by SPUBLISH: patterns have none."""
        return f"{self._live}{{{topic}}}"

    def topic(self, channel: str) -> str:
        """The topic of a live channel."""
        return channel[len(self._live) + 1 : -1]
