"""What Redis has refused the users of a hive that is secured: what was not declared, or is tried by a thief."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ..bus.commands import Commands, pairs_in
from ..bus.endpoint import Endpoint
from .engine import Engine, redis_url
from .rights import user_of

MOST_REFUSALS = 100
PATIENCE = 3.0  # seconds for Redis to answer


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Redis has refused a user: a command, a key or a channel, ``count`` times, the last ``ago`` seconds ago."""

    who: str
    what: str
    kind: str
    count: int
    ago: float


def refusals(engine: Engine) -> list[Refusal]:
    """What users of the hive were refused lately, the last first, as far as the server remembers. Raises RedisError."""
    return asyncio.run(_refusals(engine))


async def _refusals(engine: Engine) -> list[Refusal]:
    prefix = user_of(engine.settings.name, "")
    endpoint = Endpoint.parse(redis_url(engine.settings), engine.paths.var)
    async with Commands(endpoint.of(engine.settings.name), "hived:secure", timeout=PATIENCE) as commands:
        entries = [pairs_in(entry) for entry in await commands.execute("ACL", "LOG", MOST_REFUSALS)]
    found = []
    for entry in entries:
        said = {_text(name): _text(value) for name, value in entry.items()}
        if said["username"].startswith(prefix):
            who = said["username"].removeprefix(prefix)
            count, ago = int(said["count"]), float(said["age-seconds"])
            found.append(Refusal(who, said["object"], said["reason"], count, ago))
    return found


def _text(raw: Any) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
