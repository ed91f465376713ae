"""Functions that run inside Redis, so that what must happen together does.

They form one library that whoever misses it loads. A server that knows no functions (fakeredis) gets the
same Lua by EVAL. The bodies are the files in ``lua/``; each sees ``keys`` and ``args``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from ..errors import RedisDenied, RedisError, RedisRefused
from .commands import Argument, Commands

log = logging.getLogger("hivemind.functions")

NAMES = (
    *("register", "renew", "late", "deregister", "forget", "announce", "resolve"),
    *("append", "ack", "park", "retake", "bury", "take_over", "reread", "trim", "replay"),
    *("ask", "inquire", "enlist", "release"),
    *("change", "hold", "mark", "disband", "abandon", "back"),
    *("draw", "take_over_keys", "conclude", "seen"),
)


ALLOWED = "'allow-oom'"
REFUSED = ("append", "replay")  #: what a Redis without memory does not run


def body(name: str) -> str:
    """The Lua of one function."""
    return (files("hivemind.bus") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


SHARED = body("shared")  #: what stands before the functions
#: The name of the library. It changes with every function, so that two versions of Hivemind can share a Redis.
LIBRARY = f"hm_{hashlib.sha256(''.join((SHARED, *map(body, NAMES))).encode()).hexdigest()[:8]}"


def _text(name: str) -> str:
    """One function for EVAL."""
    return f"local keys, args = KEYS, ARGV\n{SHARED}\n{body(name)}"


def library() -> str:
    """The text for FUNCTION LOAD."""
    # allow-oom: what the registry writes is small, and an outage must not look like death
    functions = [
        f"redis.register_function{{function_name='{LIBRARY}_{name}', flags={{{'' if name in REFUSED else ALLOWED}}}, "
        f"callback=function(keys, args)\n{body(name)}\nend}}"
        for name in NAMES
    ]
    return "\n".join((f"#!lua name={LIBRARY}", SHARED, *functions))


class Functions:
    """Calls functions of the library over ``commands``, loading it when it is not there."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._by_eval = False

    async def call(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run function ``name``. Raises what ``Commands.execute`` raises."""
        for is_last in (False, True):
            if self._by_eval:
                break
            try:
                return await self._commands.execute("FCALL", f"{LIBRARY}_{name}", len(keys), *keys, *arguments)
            except RedisRefused as error:
                if is_last or not await self._load(error):
                    raise
        return await self._commands.execute("EVAL", _text(name), len(keys), *keys, *arguments)

    async def ready(self, name: str) -> tuple[str, ...]:
        """Load the library if it is not there; return the words with which function ``name`` is called."""
        try:
            if not await self._commands.execute("FUNCTION", "LIST", "LIBRARYNAME", LIBRARY):
                await self._commands.execute("FUNCTION", "LOAD", "REPLACE", library())
        except RedisDenied:  # whoever may has loaded it, or will
            pass
        except RedisRefused as error:
            if "unknown command" not in str(error).lower():
                raise
            return "EVAL", _text(name)
        return "FCALL", f"{LIBRARY}_{name}"

    async def _load(self, error: RedisError) -> bool:
        """Mend what made a call fail; False if it is nothing that loading could mend."""
        if "unknown command" in str(error).lower():
            self._by_eval = True
            return True
        if "function not found" not in str(error).lower():
            return False
        try:
            await self._commands.execute("FUNCTION", "LOAD", "REPLACE", library())
        except RedisDenied as denied:  # hived and the root may, and do it within a beat
            raise RedisRefused(f"{error}, and a user that may has to load it: hived or the root ({denied})") from None
        log.debug("loaded the library %s", LIBRARY)
        return True
