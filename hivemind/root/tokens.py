"""Tokens: what somebody shows to be let in. Who has the hive's key makes them; nobody keeps a list.

A token says a name, a role and when it ends, signed with HIVE_KEY. All of them end when the key is changed.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from itsdangerous import BadSignature, URLSafeSerializer

from ..errors import ConfigurationError

PREFIX = "hm_"
"""With what every token begins, so that programs that look for secrets in files find it."""
LONGEST = 1024  #: characters of a token; whatever is longer is none
SHORTEST_KEY = 32  #: characters
LEAST_BITS = 100.0
"""What a key is worth at least, by how often each of its characters comes; 32 hexadecimal digits have about 115."""
LEAST_TRIPLES = 24
"""How many different three characters in a row it has at least: a word again and again has few."""
MAKE_KEY = "`hm token --new-key FILE` makes one; then set HIVEMIND_HIVE_KEY_FILE=FILE where hived is started"


class Role(StrEnum):
    """What somebody may do: a viewer looks, an operator also changes."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class TokenRefused(Exception):
    """What was shown lets nobody in; the text says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says. ``until`` is in unix seconds."""

    name: str
    role: Role
    until: float


class Tokens:
    """Makes and reads the tokens of one hive. Raises ConfigurationError for a key that is too weak."""

    def __init__(self, key: str, hive: str) -> None:
        if fault := weakness(key):
            raise ConfigurationError(f"HIVE_KEY {fault}: {MAKE_KEY}")
        words = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        self._signer = URLSafeSerializer(key, salt=f"hivemind.token.{hive}", signer_kwargs=words)

    def make(self, token: Token) -> str:
        """The token as text."""
        said = {"name": token.name, "role": token.role.value, "until": int(token.until), "id": secrets.token_hex(8)}
        return PREFIX + str(self._signer.dumps(said))

    def read(self, text: str, now: float | None = None) -> Token:
        """What a token says, at ``now`` in unix seconds. Raises TokenRefused if it is none of ours, or has ended.

        Signatures are compared in constant time.
        """
        if not text.startswith(PREFIX) or len(text) > LONGEST or not text.isascii():
            raise TokenRefused("this is no token of this hive")
        try:
            said: Any = self._signer.loads(text.removeprefix(PREFIX))
            token = Token(str(said["name"]), Role(said["role"]), float(said["until"]))
        except (BadSignature, KeyError, TypeError, ValueError):
            raise TokenRefused("this is no token of this hive") from None
        if token.until <= (time.time() if now is None else now):
            raise TokenRefused("this token has ended: ask for another one")
        return token


def new_key() -> str:
    """A key that nobody guesses."""
    return secrets.token_urlsafe(32)


def weakness(key: str) -> str:
    """What is wrong with a key, to follow its name; "" if it is strong enough."""
    if not key:
        return "is not set"
    if len(key) < SHORTEST_KEY:
        return f"has fewer than {SHORTEST_KEY} characters"
    bits = -sum(count * math.log2(count / len(key)) for count in Counter(key).values())
    different = len({key[at : at + 3] for at in range(len(key) - 2)})
    return "" if bits >= LEAST_BITS and different >= LEAST_TRIPLES else "repeats itself, so that it can be guessed"
