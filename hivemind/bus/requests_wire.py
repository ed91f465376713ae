"""What requests, replies and what is said about them look like: JSON objects that any language can read and write.

A request is an envelope: ``s`` is its number at the caller, ``h.reply`` where the reply goes, ``m`` how many replies
are wanted. The function that hands it over puts ``at`` (Redis's clock), ``budget`` (milliseconds) and ``try`` before
it. What goes to and fro besides has a kind ``k``.
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from ..errors import InvalidRequest, RemoteError, RequestError
from ..message import MAX_DEPTH, Malformed, decode, encode_headers, head, is_count, is_envelope

ONE, MANY, ANY = "one", "many", "any"  #: how many replies are wanted
WINDOW = 64  #: replies of a stream that may be under way, or wait for who iterates
LARGE = (
    65_536  #: bytes of a reply of a stream whose taking is told at once; as many as ``WINDOW`` of them are under way
)
SHORT = 4096  #: bytes of what is short
LONGEST_TRACEBACK = 8192  #: characters of a remote traceback
Key = tuple[str, int]  #: a request: where its reply goes, and its number there


class Forms:
    """Makes everything that one process sends, in the name under which it is registered."""

    def __init__(self, instance: str, incarnation: int, inbox: str) -> None:
        self.inbox = inbox
        self._head = head(instance, incarnation)
        self._reply_head = b'{"v":1,"n":%b,"e":%d,"q":%%d,"k":"%%b"' % (
            orjson.dumps(instance).replace(b"%", b"%%"),
            incarnation,
        )
        self._tails = {mode: self._tail(mode, {}) for mode in (ONE, MANY, ANY)}

    def _tail(self, mode: str, headers: dict[str, str]) -> bytes:
        window = b"" if mode == ONE else b',"w":%d' % WINDOW
        return b',"m":"%b"%b%b}' % (mode.encode(), window, encode_headers(headers | {"reply": self.inbox}))

    def request(self, number: int, payload: bytes, mode: str, headers: dict[str, str] | None) -> bytes:
        """A request; ``payload`` is encoded. Raises PayloadError when the headers cannot be sent."""
        tail = self._tail(mode, headers) if headers else self._tails[mode]
        return self._head % (number, b"%.6f" % time.time()) + payload + tail

    def reply(self, number: int, kind: bytes, payload: bytes = b"", part: int = -1, *, is_large: bool = False) -> bytes:
        """A reply; ``payload`` is encoded, ``part`` is which of a stream it is, or how many there were. Who takes one
        that ``is_large`` says so.
        """
        index = b"" if part < 0 else b',"i":%d%b' % (part, b',"w":1' if is_large else b"")
        return self._reply_head % (number, kind) + index + (b"," + payload if payload else b"") + b"}"

    def note(self, kind: str, **what: Any) -> bytes:
        """Something said about requests, by who asks."""
        return orjson.dumps({"v": 1, "k": kind, "reply": self.inbox, **what})


def read(body: bytes) -> Any:
    """The JSON value in ``body``, as ``decode`` reads it; the short ones, which most are, are read faster. Raises
    Malformed.
    """
    if len(body) > SHORT or body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        return decode(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(str(error)) from error


def read_request(said: Any, replies: str) -> tuple[str, int, float, float, int]:
    """Where the reply to a request goes, its number, when it was handed over (unix seconds by Redis's clock), for how
    many seconds it is worth answering, and the how-manieth try it is. Raises Malformed.
    """
    if not is_envelope(said):
        raise Malformed("it is no envelope")
    reply, at, budget, tried = said.get("h", {}).get("reply"), said.get("at"), said.get("budget"), said.get("try")
    if not isinstance(reply, str) or not reply.startswith(replies):
        raise Malformed("it does not say where the reply goes")
    if not isinstance(at, float | int) or not isinstance(budget, float | int) or not is_count(tried):
        raise Malformed("it does not say when it was asked")
    return reply, said["s"], float(at), budget / 1000, tried


def pairs(raw: Any) -> list[tuple[int, int]]:
    """Numbers of requests with their tries, from what anybody may have written."""
    found = raw if isinstance(raw, list) else []
    return [(one[0], one[1]) for one in found if isinstance(one, list) and len(one) == 2 and all(map(is_count, one))]


def failure(kind: str, text: str, traceback: str = "", *, is_invalid: bool = False) -> bytes:
    """An exception as the payload of a reply."""
    said = {"type": kind, "message": text, "traceback": traceback[-LONGEST_TRACEBACK:]}
    try:
        return b'"d":' + orjson.dumps(said | ({"invalid": True} if is_invalid else {}))
    except TypeError:  # what others raise may be no UTF-8
        said = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in said.items()}
        return b'"d":' + orjson.dumps(said)


def remote_error(name: str, said: dict[str, Any]) -> RequestError:
    """The error in a reply."""
    what = said.get("d")
    what = what if isinstance(what, dict) else {}
    kind = InvalidRequest if what.get("invalid") is True else RemoteError
    texts = [str(what.get(field, "")) for field in ("type", "message")]
    return kind(name, texts[0] or "Exception", texts[1], str(said.get("n", "")), str(what.get("traceback", "")))
