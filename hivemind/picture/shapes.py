"""A JSON Schema on one line, as a person would write it down. Pure, and safe for what anybody wrote."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

DEEPEST = 3  #: levels that are written out
MOST = 12  #: fields of an object, and choices
LONGEST = 60  #: characters of a name
_DEFINED = "#/$defs/"


def shape(schema: Any, defined: Mapping[str, Any] | None = None, depth: int = 0) -> str:
    """``{number: integer, customer?: string}``: a field with ``?`` may be left out."""
    if not isinstance(schema, dict):
        return "anything"
    found = schema.get("$defs")
    known: Mapping[str, Any] = found if isinstance(found, dict) else defined or {}
    ref = schema.get("$ref")
    if isinstance(ref, str):
        name = ref.removeprefix(_DEFINED)
        return shape(known.get(name), known, depth + 1) if depth < DEEPEST and name in known else name[:LONGEST]
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list):
            if depth > DEEPEST:
                return "anything"
            return " or ".join(dict.fromkeys(shape(one, known, depth + 1) for one in schema[word][:MOST]))
    if isinstance(schema.get("enum"), list):
        return " or ".join(repr(one)[:LONGEST] for one in schema["enum"][:MOST])
    return _of_type(schema, known, depth)


def _of_type(schema: Mapping[str, Any], known: Mapping[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if kind == "array":
        return f"[{shape(schema['items'], known, depth + 1)}, …]" if depth < DEEPEST and "items" in schema else "[…]"
    if kind != "object":
        return kind[:LONGEST] if isinstance(kind, str) else "anything"
    fields = schema.get("properties")
    if not isinstance(fields, dict) or not fields or depth >= DEEPEST:
        return "{…}"
    needed = schema.get("required")
    required = needed if isinstance(needed, list) else []
    parts = [
        f"{str(name)[:LONGEST]}{'' if name in required else '?'}: {shape(one, known, depth + 1)}"
        for name, one in islice(fields.items(), MOST)
    ]
    return f"{{{', '.join([*parts, *(['…'] if len(fields) > MOST else [])])}}}"
