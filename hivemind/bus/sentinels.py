"""What Sentinels say of the primary over which they watch: for `hm doctor`. Nothing is changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from redis import exceptions

from ..errors import RedisError
from .endpoint import Endpoint
from .peers import Address
from .translation import translated

PATIENCE = 4.0  #: seconds that one Sentinel has for its answer


@dataclass(frozen=True, slots=True)
class SentinelFacts:
    """What one Sentinel told. ``error`` says why it told nothing at all; ``can_replace``, whether enough of them are
    there to replace a primary that is down; ``said`` is its own sentence about that. ``is_hidden``: we may not ask.
    """

    where: str
    error: str = ""
    can_replace: bool = False
    said: str = ""
    is_hidden: bool = False


async def sentinels_of(endpoint: Endpoint) -> list[SentinelFacts]:
    """Ask each that the URL names; nothing where it names none. Never raises because one is away."""
    addresses = endpoint.sentinels if endpoint.is_sentinel else []
    return list(await asyncio.gather(*(_sentinel(endpoint, address) for address in addresses)))


async def _sentinel(endpoint: Endpoint, address: Address) -> SentinelFacts:
    where = "{}:{}".format(*address)
    try:
        async with asyncio.timeout(PATIENCE):
            return await _asked(endpoint, address, where)
    except TimeoutError:
        return SentinelFacts(where, f"no answer within {PATIENCE:g} s")
    except RedisError as error:
        return SentinelFacts(where, str(error).removeprefix(f"{where}: "))


async def _asked(endpoint: Endpoint, address: Address, where: str) -> SentinelFacts:
    connection = await endpoint.open_sentinel(address)
    try:
        await connection.send_command("SENTINEL", "CKQUORUM", endpoint.service, check_health=False)
        said = await connection.read_response()
        return SentinelFacts(where, "", True, said.decode(errors="replace") if isinstance(said, bytes) else str(said))
    except exceptions.NoPermissionError:
        return SentinelFacts(where, is_hidden=True)
    except exceptions.ResponseError as error:
        if "NOQUORUM" not in str(error):
            raise translated(error, where) from error
        return SentinelFacts(where, "", False, str(error))
    except Exception as error:
        raise translated(error, where) from error
    finally:
        await connection.disconnect(nowait=True)
