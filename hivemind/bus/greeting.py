"""What is said to a server, and asked of it, on each connection that was opened, before it is used."""

from __future__ import annotations

import contextlib
from typing import Any

from redis import exceptions
from redis.asyncio import connection as connections

from ..errors import RedisUnavailable
from ..topics import Names
from .cluster import Address
from .door import Door


async def introduce(connection: connections.AbstractConnection, name: str, hive: str, door: Door | None) -> None:
    """Say our name for CLIENT LIST, and go in by ``door``: an ACL may forbid either, then we stay nameless, and go on.

    Raises what ``Door.check`` and redis-py raise. In a Cluster, which is never moved, there is no door.
    """
    words = [("CLIENT", "SETNAME", f"{name}@{hive}"), ("GET", Names(hive).move())]
    asked = connection.pack_commands(words if door is not None else words[:1])
    await connection.send_packed_command(asked, check_health=False)
    with contextlib.suppress(exceptions.ResponseError):
        await connection.read_response()
    if door is not None:
        door.check(await _text(connection), hive)


async def _text(connection: connections.AbstractConnection) -> Any:
    """What was asked for; None where we may not ask, or what is there is no text."""
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        if isinstance(error, exceptions.NoPermissionError) or str(error).startswith(("NOPERM", "WRONGTYPE")):
            return None
        raise


async def check_role(connection: connections.AbstractConnection, where: str) -> None:
    """Sentinels may not have heard of a change yet. Raises RedisUnavailable where this is no primary."""
    await connection.send_command("ROLE", check_health=False)
    try:
        role = await connection.read_response()
    except exceptions.ResponseError:  # an ACL may forbid to ask
        return
    if role[0] != b"master":
        raise RedisUnavailable(f"{where}: the primary is moving; this server is none any more")


class Elsewhere(RedisUnavailable):
    """The home of a hive on a Cluster is ``to`` now."""

    def __init__(self, where: str, to: Address) -> None:
        super().__init__(f"{where}: the hive's home is {to[0]}:{to[1]} now")
        self.to = to


async def is_home(connection: connections.AbstractConnection, hive: str, where: str, asked: Address) -> bool:
    """Whether a node of a Cluster, ``asked``, says that it serves the home of a hive; False where it does not say.

    Raises Elsewhere: nodes may not have heard of a change yet.
    """
    await connection.send_command("EXISTS", Names(hive).nodes(), check_health=False)
    try:
        await connection.read_response()
    except exceptions.MovedError as error:
        raise Elsewhere(where, (error.host or asked[0], int(error.port))) from None
    except exceptions.ResponseError:  # an ACL may forbid to ask, and a Cluster that failed serves nothing
        return False
    return True
