"""Who is logged in: kept in the memory of one root, so that a root that starts again asks everybody anew."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .tokens import Token

IDLE = 3600.0
"""Seconds without a request, or an open page, after which a session ends."""
LONGEST = 12 * 3600.0
"""Seconds after which it ends in any case; with its token if that is earlier."""
MOST = 20
"""Sessions that one token may have at once; another one ends that which was unseen for longest."""


@dataclass(slots=True)
class Session:
    """One login. ``csrf`` is what its forms bring along; ``until`` and ``seen`` are in unix seconds."""

    token: Token
    owner: bytes
    until: float
    seen: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))


class Sessions:
    """The sessions of one root. What a browser keeps is random, and known here by its hash alone."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[bytes, Session] = {}

    def begin(self, token: Token, text: str) -> str:
        """A new session for who showed ``text``, which is ``token``; returns what the browser keeps."""
        now, owner, secret = self._clock(), _hashed(text), secrets.token_urlsafe(32)
        self._known = {key: one for key, one in self._known.items() if not _is_over(one, now)}
        own = sorted((key for key, one in self._known.items() if one.owner == owner), key=self._seen)
        for key in own[: max(0, len(own) - MOST + 1)]:
            del self._known[key]
        self._known[_hashed(secret)] = Session(token, owner, min(now + LONGEST, token.until), now)
        return secret

    def find(self, secret: str) -> Session | None:
        """The session of who brings ``secret``, which counts as seen now; None if there is none, or it is over."""
        key, now = _hashed(secret), self._clock()
        found = self._known.get(key)
        if found is None:
            return None
        if _is_over(found, now):
            del self._known[key]
            return None
        found.seen = now
        return found

    def end(self, secret: str) -> None:
        """End a session; it need not be there."""
        self._known.pop(_hashed(secret), None)

    def _seen(self, key: bytes) -> float:
        return self._known[key].seen


def _is_over(session: Session, now: float) -> bool:
    return now >= session.until or now - session.seen >= IDLE


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
