"""What the Redis user of each process of a hive may do: pure, from what its nodes declare to the words of ACL SETUSER.

Redis checks each command that a function runs as if the user had sent it: what a process may do is therefore a list of
keys and channels, each with the commands that are needed there. Such a list is a *selector* (Redis 7.0): what
one allows says nothing of the keys of another. Who may hear what matches ``orders.*`` may so not send it.

Redis takes a pattern to subscribe to only as it was granted, letter by letter; a channel or key may match a pattern.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..data.heirs import ENDED
from ..data.kept import KEPT
from ..data.mismatch import UNKEPT
from ..data.registry import NOTICES, TOPICS
from ..topics import Names, matches

CLIENTS = "client-*"  #: the instances of those who use `hivemind.connect`, and of `hm`
HEARD = (NOTICES, TOPICS, KEPT, ENDED, UNKEPT)  #: the kinds of notices that nodes listen to

#: What needs no key and no channel. Of the blocking commands these are WAIT and WAITAOF: all others have keys.
_ANYWHERE = (
    *("+ping", "+time", "+role", "+info", "+@blocking", "+unsubscribe", "+punsubscribe", "+pubsub|numsub"),
    *("+client|setname", "+client|id", "+client|reply", "+function|list"),
)
_READING = ("+get", "+type", "+exists", "+pexpiretime", "+hget", "+hmget", "+hgetall", "+hkeys")
_HASH = ("+type", "+exists", "+hget", "+hmget", "+hgetall", "+hset", "+hdel", "+hexists", "+hkeys")
_ENTERING = ("+type", "+hget", "+hgetall", "+hset", "+hsetnx", "+hdel")
_SORTED = (
    *("+type", "+exists", "+zadd", "+zrem", "+zscore", "+zmscore", "+zrange", "+zrevrange"),
    *("+zrangebyscore", "+zremrangebyscore", "+pexpire"),
)
_LIFE = ("+type", "+exists", "+get", "+set", "+del", "+hget", "+hset", "+hmget", "+pexpire", "+pexpiretime", "+pttl")
_STREAM = ("+type", "+exists", "+xlen", "+xrange", "+xrevrange", "+xpending", "+xinfo|groups", "+xgroup|create")
_APPENDING = (*_STREAM, "+xadd", "+xtrim", "+xgroup|destroy")
_CONSUMING = (
    *(*_STREAM, "+xinfo|consumers", "+xread", "+xreadgroup", "+xack", "+xclaim"),
    *("+xgroup|createconsumer", "+xgroup|delconsumer"),
)
_MEMORY = (*_HASH, "+hrandfield", "+pttl", "+pexpire")


@dataclass(frozen=True, slots=True)
class Duties:
    """What one process does on the bus: a node, or several that share it.

    It ``sends`` on topics (or patterns of them), of which it ``keeps`` some in streams, ``at_disk`` if one of them is
    to be confirmed there; it ``hears`` patterns live and ``reads`` others durably; it ``answers`` requests and ``asks``
    some.
    """

    name: str
    sends: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    at_disk: bool = False


def user_of(hive: str, who: str) -> str:
    """What the user of ``who`` is called in Redis, where users of several hives may be."""
    return f"hm.{hive}.{who}"


def of_node(duties: Duties, names: Names, askers: Mapping[str, Collection[str]], *, resolved: bool) -> list[str]:
    """The rules of a process. ``askers`` are those that ask for each request that it answers; ``resolved`` is whether
    nodes resolve their patterns.
    """
    own = f"{duties.name}.*"
    every = (f"hm:{names.hive}:*", f"hm:{{{names.hive}}}:*")
    life = (names.node(own), names.epoch(own), names.whose(own))
    rules = [
        *_nothing(),
        *_ANYWHERE,
        *(("+config|get",) if duties.at_disk else ()),
        *(("+client|unblock",) if duties.reads else ()),
        _selector(["+fcall"], _all(every)),  # what a function does is checked beside
        _selector(_LIFE, _all(life)),
        _selector((*_READING, "+smembers", "+sismember", "+srandmember"), _read(_known_to_all(names))),
        _selector(["+sadd", "+srem"], _all([names.nodes()])),
        _selector(["+get", "+set", "+type"], _all([names.patterns()])),
        _selector(["+publish"], channels=_sent(duties, names, askers)),
        _selector(["+subscribe", "+psubscribe"], channels=_heard(duties, names)),
    ]
    if resolved:
        rules.append(_selector(_HASH, _all([names.resolvers(), names.resolved()])))
        rules.append(_selector(_SORTED, _all([names.topics()])))
    else:  # where nobody resolves there is nothing to read
        rules.append(_selector(["+hdel"], _all([names.resolvers(), names.resolved()])))
    rules += _requests(duties, names)
    rules += _durable(duties, names)
    return rules


def of_operator(names: Names) -> list[str]:
    """The rules of `hm` and of the root's page: all of the hive, and what looks at a server, but nothing that
    configures it, makes users, or loads code: the functions that it calls are hived's. To follow any pattern one has to
    be allowed every channel; so it hears those of other hives on the server, too, and may list their keys, and the
    connections to the server, and end these.
    """
    return [
        *_nothing(),
        *_all((f"hm:{names.hive}:*", f"hm:{{{names.hive}}}:*")),
        *("+@all", "-@admin", "-@dangerous", "-@scripting"),
        *("+fcall", "+fcall_ro", "+function|list", "+info", "+role", "+config|get", "+keys"),
        *("+latency|latest", "+acl|whoami", "+acl|log", "+client|list", "+client|kill", "+client|unblock"),
        f"&hm:{names.hive}:*",
        _selector(["+subscribe", "+psubscribe"], channels=["*"]),
    ]


def of_hived() -> list[str]:
    """The rules of hived, which makes the others' users: everything."""
    return ["on", "allkeys", "allchannels", "clearselectors", "+@all"]


def of_default() -> list[str]:
    """The rules of who says no name to a server of the hive's own: nobody can. It may everything nevertheless, because
    in its name a server does what stands in its append-only file when it starts.
    """
    return ["off", "resetpass", "allkeys", "allchannels", "clearselectors", "+@all"]


def askers_of(name: str, all_duties: Iterable[Duties]) -> set[str]:
    """The processes that may ask for ``name``."""
    return {one.name for one in all_duties if any(matches(pattern, name) for pattern in one.asks)}


def _nothing() -> list[str]:
    return ["on", "resetkeys", "resetchannels", "clearselectors", "-@all"]


def _known_to_all(names: Names) -> list[str]:
    """What everybody may read."""
    return [
        *(names.node("*"), names.epoch("*"), names.whose("*"), names.nodes(), names.patterns(), names.layout()),
        *(names.move(), names.readers(), names.kept(), names.readings()),
    ]


def _sent(duties: Duties, names: Names, askers: Mapping[str, Collection[str]]) -> list[str]:
    own = f"{duties.name}.*"
    kinds = [NOTICES, TOPICS, UNKEPT, *([KEPT] if duties.keeps else []), *([ENDED] if duties.reads else [])]
    replies = {f"{one}.*" for name in duties.answers for one in askers.get(name, ())}
    return [
        *(names.live(topic) for topic in _once((*duties.sends, *duties.keeps))),
        names.beat(own),
        *map(names.control, kinds),
        *(names.request(name, own) for name in duties.answers),
        *(names.request(name, "*") for name in duties.asks),
        *([names.replies(own)] if duties.asks else []),
        *(names.replies(one) for one in sorted({*replies, *([CLIENTS] if duties.answers else [])})),
    ]


def _heard(duties: Duties, names: Names) -> list[str]:
    own = f"{duties.name}.*"
    return [
        *(names.live(pattern) for pattern in _once((*duties.hears, *duties.reads))),
        names.beat("*"),
        *map(names.control, HEARD),
        *(names.request(name, own) for name in duties.answers),
        *([names.replies(own)] if duties.asks else []),
    ]


def _requests(duties: Duties, names: Names) -> list[str]:
    """The lists of who answers."""
    mine = _once((*duties.answers, *duties.asks))
    rules = []
    if mine:
        rules.append(_selector(_SORTED, _all(map(names.responders, ("", *mine)))))  # a link asks of "" whether it works
        rules.append(_selector(["+get", "+set", "+type", "+pexpire"], _all(map(names.responders_since, mine))))
    return rules


def _durable(duties: Duties, names: Names) -> list[str]:
    """Streams, and what belongs to them."""
    rules = []
    if duties.keeps:
        rules.append(_selector(_APPENDING, _all(map(names.stream, duties.keeps))))
        rules.append(_selector(_HASH, _all(map(names.producers, duties.keeps))))
        rules.append(_selector(_ENTERING, _all([names.kept()])))
    if duties.reads:
        rules.append(_selector(_CONSUMING, _all(map(names.stream, duties.reads))))
        hashes = [*map(names.producers, duties.reads), *map(names.order, duties.reads)]
        rules.append(_selector(_HASH, _all(hashes)))
        rules.append(_selector(_MEMORY, _all(map(names.memory, duties.reads))))
        rules.append(_selector(_SORTED, _all(map(names.retries, duties.reads))))
        rules.append(_selector(["+xadd", "+type"], _all(map(names.letters, duties.reads))))
        rules.append(_selector(_ENTERING, _all([names.readings()])))
        rules.append(_selector(["+hset"], _all([names.readers()])))
    if duties.hears:  # what passed by on a topic that is kept is read there
        rules.append(_selector(["+xrange", "+xrevrange"], _read(map(names.stream, duties.hears))))
        rules.append(_selector(["+hgetall", "+hmget"], _read(map(names.producers, duties.hears))))
    return rules


def _selector(commands: Iterable[str], keys: Iterable[str] = (), channels: Iterable[str] = ()) -> str:
    return f"({' '.join(('resetchannels', *commands, *keys, *(f'&{one}' for one in channels)))})"


def _all(keys: Iterable[str]) -> list[str]:
    return [f"~{_glob(key)}" for key in _once(keys)]


def _read(keys: Iterable[str]) -> list[str]:
    return [f"%R~{_glob(key)}" for key in _once(keys)]


def _glob(key: str) -> str:
    return key.replace("[!", "[^")


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
