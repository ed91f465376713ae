"""What a route is given, and what it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson

from ..declared import Handler

JSON, TEXT, BYTES = "application/json", "text/plain; charset=utf-8", "application/octet-stream"


class Request:
    """A request of HTTP for a route, and its answer while that is written.

    ``method``, ``path`` behind the route, ``query`` and ``headers`` by name in small letters, ``body`` as bytes. What a
    handler returns is the answer; ``write``, ``set_status`` and ``set_header`` do the same as handlers of compactor do.
    """

    def __init__(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.query: dict[str, list[str]] = parse_qs(query, keep_blank_values=True)
        self.status = 200
        self.answer_headers: dict[str, str] = {}
        self._written: list[Any] = []

    def get_argument(self, name: str, default: str | None = None) -> str | None:
        """The last value that the query gives to ``name``."""
        return self.query.get(name, [default])[-1]

    def set_status(self, status: int) -> None:
        """Answer with that status instead of 200."""
        self.status = status

    def set_header(self, name: str, value: str) -> None:
        """Answer with that header. Raises ValueError where it cannot be one."""
        if not name.isascii() or not (name + value).isprintable() or ":" in name:
            raise ValueError(f"{name!r}: {value!r} cannot be a header")
        self.answer_headers[name] = value

    def write(self, piece: Any) -> None:
        """Add bytes, text, or what has a JSON form, to the answer."""
        self._written.append(piece)

    def answer(self, returned: Any) -> tuple[bytes, str]:
        """The body of the answer and its kind."""
        pieces = [*self._written, *([] if returned is None else [returned])]
        encoded = [_encoded(piece) for piece in pieces]
        kinds = [kind for _, kind in encoded] or [TEXT]
        return b"".join(body for body, _ in encoded), kinds[0]


def _encoded(piece: Any) -> tuple[bytes, str]:
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece), BYTES
    if isinstance(piece, str):
        return piece.encode(), TEXT
    return orjson.dumps(piece), JSON


def route_for(routes: Mapping[str, Handler], path: str) -> tuple[Handler, str] | None:
    """The handler of the longest route that begins ``path``, and what comes behind it."""
    asked = f"/{path}".rstrip("/") or "/"
    route = asked
    while True:
        if route in routes:
            return routes[route], asked[len(route) :] if route != "/" else asked
        if route == "/":
            return None
        route = route.rpartition("/")[0] or "/"
