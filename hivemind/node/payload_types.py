"""What the handlers of a process say of payloads, by their annotations: JSON Schemas, for who wants to know its topics.

They stand in the registry beside the instance, so they are few: what does not fit into MOST bytes is left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter

from .signature import Function, result_annotation

if TYPE_CHECKING:
    from .base import BaseNode

MOST = 4096  #: bytes of all schemas of one process
_ANY = (Any, object, inspect.Parameter.empty)
_PLAIN: Mapping[Any, dict[str, str]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    list: {"type": "array"},
    dict: {"type": "object"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    None: {"type": "null"},
}


def payload_types(nodes: Iterable[BaseNode]) -> str:
    """As JSON, by the name of each node: ``hears``, what its handlers take, by their patterns, ``asked`` and
    ``answers``, what its responders take and return, by their names; "" where nobody says anything.
    """
    said: dict[str, dict[str, dict[str, Any]]] = {}
    left = MOST
    for node, kind, name, annotation in _annotations(nodes):
        known = said.get(node, {}).get(kind, {})
        schema = None if name in known else _schema(annotation)
        size = len(orjson.dumps({name: schema})) if schema is not None else 0
        if schema is not None and size <= left:
            said.setdefault(node, {}).setdefault(kind, {})[name] = schema
            left -= size
    return orjson.dumps(said).decode() if said else ""


def _annotations(nodes: Iterable[BaseNode]) -> Iterable[tuple[str, str, str, Any]]:
    for node in nodes:
        for live in node.bound_subscriptions:
            yield node.name, "hears", live.name, live.handler.annotation
        for durable in node.bound_durables:
            yield node.name, "hears", durable.name, durable.handler.annotation
        for one in node.bound_responders:
            yield node.name, "asked", one.name, one.handler.annotation
            yield node.name, "answers", one.name, _result(one.handler.function, is_stream=one.declaration.stream)


def _result(function: Function, *, is_stream: bool) -> Any:
    try:
        return result_annotation(function, is_stream=is_stream)
    except Exception:  # noqa: BLE001 - what it is made of is its author's
        return Any


def _schema(annotation: Any) -> dict[str, Any] | None:
    """The schema of what JSON has for it; None where nothing is said, or it has none."""
    if annotation in _ANY:
        return None
    try:
        if annotation in _PLAIN:
            return dict(_PLAIN[annotation])
        found: dict[str, Any] = TypeAdapter(annotation).json_schema()
        orjson.dumps(found)
    except Exception:  # noqa: BLE001 - a type of an author's may do anything, and a node runs without
        return None
    return found
