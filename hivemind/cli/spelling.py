"""How something is spelled in a JSON text: numbers, and texts, have many spellings, and some numbers no other."""

from __future__ import annotations

import json
import re

_SPACE = re.compile(r"[ \t\r\n]*")
_SCANNER = json.JSONDecoder(parse_float=str, parse_int=str)


def spelled(text: str, *path: str) -> str:
    """The text of a member of a member ... of the object that ``text``, which is right, consists of.

    Raises KeyError where there is none.
    """
    start, end = _past_space(text, 0), len(text)
    for name in path:
        start, end = _members(text, start)[name]
    return text[start:end]


def _members(text: str, at: int) -> dict[str, tuple[int, int]]:
    """Where the members lie of the object that begins there."""
    found = {}
    at = _past_space(text, at + 1)
    while text[at] != "}":
        name, at = _SCANNER.raw_decode(text, at)
        at = _past_space(text, _past_space(text, at) + 1)
        _, end = _SCANNER.raw_decode(text, at)
        found[name] = at, end
        at = _past_space(text, end)
        at = _past_space(text, at + 1) if text[at] == "," else at
    return found


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
