"""The hive that runs as an AsyncAPI 3.0 document: who sends and receives what on which channel. Pure.

What payloads are is known where handlers say it, by their annotations. That comes from the registry, where anybody may
write anything, so a schema is copied only as far as it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..data.records import Instance
from ..topics import Names, is_topic, matches
from .graph import Hearing, Kind, Row, Sending, graph
from .traffic import is_sound

VERSION = "3.0.0"
DEEPEST = 24  #: levels of a schema
MOST = 400  #: values of a schema
LONGEST = 2000  #: characters of a text in a schema
KINDS = ("hears", "asked", "answers")

_NO_ID = re.compile(r"[^A-Za-z0-9_.-]")
_DEFINED = re.compile(r"#/\$defs/([^/]{1,128})")


@dataclass(frozen=True, slots=True)
class Said:
    """The schemas of what a node's handlers take by pattern, and of what its responders take and return by name."""

    hears: Mapping[str, Any]
    asked: Mapping[str, Any]
    answers: Mapping[str, Any]


def said_by(instances: Iterable[Instance]) -> dict[str, Said]:
    """What each node says of its payloads, also one that shares a process; of its copies the newest has the word."""
    found: dict[str, Said] = {}
    for one in sorted(instances, key=lambda one: one.incarnation):
        if not one.is_lost and one.about.payloads:
            said = _objects(one.about.payloads)
            found |= {node: _said(said[node]) for node in one.nodes if node in said}
    return found


def document(hive: str, redis: str, instances: Sequence[Instance], announced: Sequence[str] = ()) -> dict[str, Any]:
    """All of it, as JSON has it. ``redis`` is the URL without its password, ``announced`` are topics of no service."""
    return _Document(hive, said_by(instances)).made(redis, graph(instances, announced).rows)


class _Document:
    """One document while it is made."""

    def __init__(self, hive: str, said: Mapping[str, Said]) -> None:
        self._hive, self._said, self._names = hive, said, Names(hive)
        self._channels: dict[str, Any] = {}
        self._operations: dict[str, Any] = {}
        self._schemas: dict[str, Any] = {}
        self._messages: dict[str, Any] = {}

    def made(self, redis: str, rows: Sequence[Row]) -> dict[str, Any]:
        for row in rows:
            if row.kind is Kind.TOPIC:
                self._topic(row)
            elif row.kind is Kind.REQUESTS:
                self._requests(row)
        return {
            "asyncapi": VERSION,
            "info": {
                "title": self._hive,
                "version": "1",
                "description": f"The hive {self._hive} as it runs: every topic that a node sends on or answers.",
            },
            "defaultContentType": "application/json",
            "servers": {"redis": {"host": redis.partition("://")[2] or redis, "protocol": "redis"}},
            "channels": self._channels,
            "operations": self._operations,
            "components": {"messages": self._messages, "schemas": self._schemas},
        }

    def _topic(self, row: Row) -> None:
        channel = self._channel(row.name, self._names.live(row.name), row.name, row.note)
        for sender in row.senders:
            self._operation(sender, "send", channel, [])
        for hearer in row.subscribers:
            said = self._said.get(hearer.node)
            schema = matching(said.hears, row.name) if said is not None else None
            named = (
                [] if schema is None else [self._message(channel, f"{channel}.{_id(hearer.node)}", row.name, schema)]
            )
            self._operation(hearer, "receive", channel, named)

    def _requests(self, row: Row) -> None:
        channel = self._channel(f"{row.name}.requests", None, f"requests for {row.name}", "")
        reply = self._channel(f"{row.name}.replies", None, f"replies of {row.name}", "")
        for one in row.subscribers:
            said, node = self._said.get(one.node), _id(one.node)
            asked = said.asked.get(row.name) if said is not None else None
            answer = said.answers.get(row.name) if said is not None else None
            named = [] if asked is None else [self._message(channel, f"{channel}.{node}", row.name, asked)]
            replies = [] if answer is None else [self._message(reply, f"{reply}.{node}", row.name, answer)]
            operation = self._operation(one, "receive", channel, named)
            operation["reply"] = {"channel": _ref("channels", reply), **({"messages": replies} if replies else {})}

    def _channel(self, name: str, address: str | None, title: str, note: str) -> str:
        key = _free(_id(name), self._channels)
        self._channels[key] = {"address": address, "title": title, "messages": {}}
        if note:
            self._channels[key]["summary"] = note
        return key

    def _operation(self, end: Sending | Hearing, action: str, channel: str, named: list[Any]) -> dict[str, Any]:
        key = _free(f"{_id(end.node)}.{action}.{channel}", self._operations)
        made = {
            "action": action,
            "channel": _ref("channels", channel),
            "title": f"{end.node} {'sends' if action == 'send' else 'receives'} {self._channels[channel]['title']}",
            "tags": [{"name": end.node}],
            **({"messages": named} if named else {}),
        }
        self._operations[key] = made
        return made

    def _message(self, channel: str, key: str, name: str, schema: Any) -> dict[str, str]:
        """Enter a message of a channel, and return where it is."""
        key = _free(key, self._messages)
        self._messages[key] = {"name": name, "payload": self._own(key, schema)}
        self._channels[channel]["messages"][key] = _ref("components/messages", key)
        return _ref(f"channels/{channel}/messages", key)

    def _own(self, key: str, schema: Any) -> Any:
        """The schema, with what it defines among all schemas, under names that no other node has."""
        defined = schema.get("$defs") if isinstance(schema, dict) else None
        names = {name: _id(f"{key}.{name}") for name in defined} if isinstance(defined, dict) else {}
        for name, mine in names.items():
            self._schemas[mine] = _Copy(names).of(defined[name]) if isinstance(defined, dict) else {}
        body = {name: one for name, one in schema.items() if name != "$defs"} if isinstance(schema, dict) else {}
        return _Copy(names).of(body)


class _Copy:
    """Copies one schema, as far as it is one: what refers to nothing that is defined says nothing."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names, self._left = names, MOST

    def of(self, schema: Any, depth: int = 0) -> Any:
        """The copy of a schema: an object, of which nothing is left where it is too deep or large."""
        copied = self._of(schema, depth)
        return copied if isinstance(copied, dict) else {}

    def _of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        deepest = DEEPEST if isinstance(value, dict) else 2 * DEEPEST  # a list that became an object were no schema
        if self._left < 0 or depth > deepest:
            return {}
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found = _DEFINED.fullmatch(value["$ref"])
                return _ref("components/schemas", self._names[found[1]]) if found and found[1] in self._names else {}
            return {str(name)[:LONGEST]: self._of(one, depth + 1) for name, one in value.items() if name != "$defs"}
        if isinstance(value, list):
            return [self._of(one, depth + 1) for one in value[:MOST]]
        return value[:LONGEST] if isinstance(value, str) else value


def _objects(text: str) -> dict[str, dict[str, Any]]:
    """The objects in one that is written as JSON, by their names."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return {name: one for name, one in value.items() if isinstance(one, dict)} if isinstance(value, dict) else {}


def _said(value: Mapping[str, Any]) -> Said:
    return Said(*[_schemas(value.get(kind)) for kind in KINDS])


def _schemas(part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        return {}
    return {name: one for name, one in part.items() if is_sound(name) and isinstance(one, dict)}


def matching(hears: Mapping[str, Any], topic: str) -> Any:
    """The schema of the pattern by which a node hears a topic; of several the one that names it, or the longest."""
    fitting = [pattern for pattern in hears if is_topic(topic) and matches(pattern, topic)]
    return hears[max(fitting, key=lambda one: (one == topic, len(one)))] if fitting else None


def _id(name: str) -> str:
    return _NO_ID.sub("_", name)


def _free(key: str, taken: Mapping[str, Any]) -> str:
    """``key``, or where that is taken, one with a number."""
    number, free = 2, key
    while free in taken:
        free, number = f"{key}-{number}", number + 1
    return free


def _ref(where: str, key: str) -> dict[str, str]:
    return {"$ref": f"#/{where}/{key}"}
