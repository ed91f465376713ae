"""YAML for people to read, of dicts, lists, texts, whole numbers and booleans: no more than the exports need.

A library would be a dependency of every hive for the sake of one command. What a reader could take for something else
is written as JSON, which is YAML, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

Value: TypeAlias = Mapping[str, "Value"] | Sequence["Value"] | str | int | bool
_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # not texts for some reader
WIDTH = 110


def yaml(value: Value) -> str:
    """One document."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Value) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _entry(f"{_scalar(key)}:", inner)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for inner in value:
            first, *rest = _lines(inner)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _entry(key: str, value: Value) -> Iterator[str]:
    line = f"{key} {_in_line(value)}"
    if _is_scalar(value) or (_is_short(value) and len(line) <= WIDTH):
        yield line
        return
    yield key
    yield from (f"  {inner}" for inner in _lines(value))


def _is_scalar(value: Value) -> bool:
    return isinstance(value, str | int) or not value


def _is_short(value: Value) -> bool:
    """Whether it may stand in a line: a list of scalars."""
    return isinstance(value, Sequence) and all(map(_is_scalar, value))


def _in_line(value: Value) -> str:
    if _is_short(value) and not _is_scalar(value):
        assert isinstance(value, Sequence)
        return f"[{', '.join(map(_scalar, value))}]"
    return _scalar(value) if _is_scalar(value) else ""


def _scalar(value: Value) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)
