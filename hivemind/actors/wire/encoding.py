"""A message as the bytes that every libprocess understands, old and new, and this one's answers."""

from __future__ import annotations

from functools import lru_cache

from ..pid import PID

SENDER = b"libprocess-from"
AGENT, AGENT_BEGINS = b"user-agent", b"libprocess/"
ASK, ANSWER = b"hivemind-ask", b"hivemind-answer"
"""Headers of ours: an answer is wanted, by this number; this is the one of that number, and how it went."""

PHRASES = {200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
           413: "Content Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
           503: "Service Unavailable"}  # fmt: skip


@lru_cache(4096)
def _head(sender: PID, to: PID, mailbox: str) -> bytes:
    """All but the length. The id is not encoded, for compactor does not decode it."""
    lines = (
        f"POST /{to.id}/{mailbox} HTTP/1.1",
        f"Host: {to.address}",
        "Connection: Keep-Alive",
        f"Libprocess-From: {sender}",
    )
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def request(sender: PID, to: PID, mailbox: str, body: bytes, more: bytes = b"") -> bytes:
    """A message. It has its length also where that is 0, since old peers close the connection behind one that has none.

    ``more`` are header lines of ours.
    """
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (_head(sender, to, mailbox), more, len(body), body)


def response(status: int, body: bytes = b"", kind: str = "", *, is_old: bool = False, headers: str = "") -> bytes:
    """An answer; to HTTP/1.0 (``is_old``) it says that the connection stays."""
    lines = [f"HTTP/1.1 {status} {PHRASES.get(status, 'Status')}", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {kind}"] if kind else []
    lines += ["Connection: Keep-Alive"] if is_old else []
    return ("\r\n".join(lines) + f"\r\n{headers}\r\n").encode("latin-1") + body


def sender_in(headers: dict[bytes, bytes]) -> tuple[bool, PID | None]:
    """Whether a request says that a libprocess sent it, and which; None where that is no address.

    ``Libprocess-From`` comes first, and what is wrong there is no reason to doubt a good ``User-Agent``.
    """
    texts = [headers[SENDER]] if SENDER in headers else []
    agent = headers.get(AGENT, b"")
    if agent.startswith(AGENT_BEGINS):
        texts.append(agent[len(AGENT_BEGINS) :])
    for text in texts:
        try:
            return True, PID.from_string(text.decode("ascii").strip())
        except ValueError:
            continue
    return bool(texts), None
