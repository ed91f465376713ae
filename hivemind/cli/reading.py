"""Reading a hive's registry, for commands that look and go: nothing is started, the answer comes within 5 seconds."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from ..bus.commands import Commands
from ..bus.embedded import Embedded
from ..bus.endpoint import Endpoint
from ..bus.functions import Functions
from ..bus.streams import Streams
from ..bus.translation import SILENT
from ..data.backlog import TopicBacklog, backlogs
from ..data.directory import Directory
from ..data.durability import Durability, durability
from ..data.kept import Kept
from ..data.layout import check_layout
from ..data.records import Instance
from ..data.registry import Registry
from ..errors import RedisError, RedisUnavailable
from ..identity import PidFile
from ..patterns import RESOLVED
from ..settings import Settings
from ..supervisor.desired import read_stopped
from ..supervisor.engine import engine_for, redis_url
from ..supervisor.paths import HivePaths
from ..supervisor.sharing import unshared
from ..topics import matches
from .context import outside, redis_address

if TYPE_CHECKING:
    from ..picture.snapshot import InstanceView

PATIENCE = 4.0  #: seconds; what is typed has its answer within five
FIRST = 2.0  #: seconds in which a single Redis has to say anything; else it stands still

T = TypeVar("T")


def read_instances(settings: Settings) -> list[Instance]:
    """All instances that the registry knows. Raises RedisError in words that say what to do."""
    return ask(settings, lambda registry: registry.instances())


async def durability_of(commands: Commands, instances: Sequence[Instance]) -> Durability:
    """Nothing where Redis does not tell."""
    try:
        return await durability(_streams(commands), instances)
    except RedisError:
        return Durability()


def refusal(settings: Settings) -> str:
    """Why Redis takes no writes, in its own words; "" if it does. Then no lease is renewed, and lost means little."""
    from ..picture.state import refusal as asked

    try:
        return asyncio.run(_ask(settings, asked))
    except RedisError:
        return ""


def read_mode(settings: Settings) -> str:
    """How the hive keeps its patterns; "" if nobody has registered yet. Raises RedisError, as ``read_instances``."""
    return asyncio.run(_ask(settings, lambda commands: _directory(commands).mode()))


def read_rates(settings: Settings, instances: Sequence[Instance]) -> Sequence[InstanceView]:
    """``instances`` by a second look, after as long as two beats take: then it is known how much each of them sends
    and hears. Raises RedisError, as ``read_instances``.
    """
    from ..picture.monitor import History

    history = History()
    history.follow(list(instances))
    time.sleep(2 * settings.constants.HEARTBEAT)
    return history.follow(read_instances(settings))


def stopped_here(settings: Settings) -> Collection[str]:
    """Programs that `hm stop` stopped on this machine and that nobody has started since; none outside a hive."""
    return read_stopped(HivePaths.of(settings)) if settings.hive is not None else ()


def read_topics(settings: Settings) -> list[str]:
    """The topics that were announced; none where the hive resolves none. Raises RedisError, as ``read_instances``."""

    async def read(commands: Commands) -> list[str]:
        directory = _directory(commands)
        return sorted(await directory.topics()) if await directory.mode() == RESOLVED else []

    return asyncio.run(_ask(settings, read))


def read_kept(settings: Settings) -> list[str]:
    """The topics that are kept, whether somebody sends on them now or not. Raises RedisError, as ``read_instances``."""

    async def read(commands: Commands) -> list[str]:
        return [one.topic for one in await Kept(_streams(commands)).topics()]

    return asyncio.run(_ask(settings, read))


def add_topics(settings: Settings, topics: Sequence[str]) -> tuple[str, list[str]]:
    """Announce topics, return when who resolves patterns has subscribed, or had the time to, and say how the hive
    keeps its patterns, and which of the topics are new. Raises RedisError, as ``read_instances``.
    """
    from ..data.announcer import announce

    async def add(commands: Commands) -> tuple[str, list[str]]:
        directory = _directory(commands)
        known = await directory.topics()
        await announce(directory, topics)
        return await directory.mode(), [topic for topic in topics if topic not in known]

    return asyncio.run(_ask(settings, add))


def read_backlogs(settings: Settings, pattern: str = "*") -> list[TopicBacklog]:
    """How far all groups are on the kept topics that match. Raises RedisError, as ``read_instances``."""
    return work(settings, lambda streams: _backlogs(streams, pattern))


async def _backlogs(streams: Streams, pattern: str) -> list[TopicBacklog]:
    commands, names, kept = streams.commands, streams.names, Kept(streams)
    topics = [one for one in await kept.topics() if matches(pattern, one.topic)]
    alive = [one for one in await Registry(commands, streams.functions, names).instances() if not one.is_lost]
    lives = {one.instance: one.incarnation for one in alive}
    return await backlogs(commands, names, topics, await kept.readings(), lives)


def read_durability(settings: Settings, instances: Sequence[Instance]) -> Durability:
    """What there is to say of durable delivery; nothing where Redis does not tell."""
    try:
        return asyncio.run(_ask(settings, lambda commands: durability_of(commands, instances)))
    except RedisError:
        return Durability()


def registry(commands: Commands) -> Registry:
    """Its registry."""
    return Registry(commands, Functions(commands), commands.endpoint.names)


def _streams(commands: Commands) -> Streams:
    return Streams(commands, Functions(commands), commands.endpoint.names)


def _directory(commands: Commands) -> Directory:
    return Directory(commands, Functions(commands), commands.endpoint.names)


def ask(settings: Settings, question: Callable[[Registry], Awaitable[T]]) -> T:
    """Put one ``question`` to the registry. Raises RedisError in words that say what to do."""
    return inquire(settings, lambda commands: question(registry(commands)))


def inquire(settings: Settings, question: Callable[[Commands], Awaitable[T]]) -> T:
    """Put one ``question`` to Redis. Raises RedisError in words that say what to do."""
    return asyncio.run(_ask(settings, question))


def work(settings: Settings, job: Callable[[Streams], Awaitable[T]]) -> T:
    """Do what may take long, such as going through a hundred thousand messages: each command has its own limit.

    Raises RedisError in words that say what to do.
    """
    return asyncio.run(_ask(settings, lambda commands: job(_streams(commands)), None))


async def _ask(
    settings: Settings, question: Callable[[Commands], Awaitable[T]], patience: float | None = PATIENCE
) -> T:
    if not settings.redis_url and not Embedded.of(settings).socket.exists():
        raise away(settings, "it does not run")
    try:
        async with _opened(settings, patience) as commands:
            endpoint = commands.endpoint  # Sentinels, and nodes of a Cluster, may be asked one after the other
            async with asyncio.timeout(None if endpoint.is_sentinel or endpoint.is_cluster else FIRST):
                await check_layout(commands, endpoint.names)
            return await question(commands)
    except TimeoutError:
        raise away(settings, SILENT) from None
    except RedisUnavailable as error:
        raise away(settings, _in_its_words(error, settings)) from error


@asynccontextmanager
async def _opened(settings: Settings, patience: float | None = PATIENCE) -> AsyncIterator[Commands]:
    """The hive's Redis. Raises TimeoutError when what is done with it takes longer than ``patience`` seconds."""
    quiet()
    async with asyncio.timeout(patience), Commands(_endpoint(settings), "hm") as commands:
        yield commands


def _endpoint(settings: Settings) -> Endpoint:
    return Endpoint.parse(redis_url(settings), settings.var).of(settings.name)


def _in_its_words(error: RedisError, settings: Settings) -> str:
    """What Redis, or the network, said, without where: so that it fits into a sentence."""
    return str(error).removeprefix(f"{_endpoint(settings).redacted}: ").rstrip(".")


def away(settings: Settings, why: str) -> RedisUnavailable:
    """Redis is away: one sentence that says what to do."""
    where = redis_address(settings)
    if settings.redis_url:
        if said := unshared(settings):
            return RedisUnavailable(said)
        todo = "see what holds it up" if SILENT in why else "start that server"
        source = settings.sources["REDIS_URL"]
        return RedisUnavailable(f"Redis at {where}: {why}; {todo}, or change REDIS_URL ({source})")
    if said := _seen_here(settings, why):
        return RedisUnavailable(said)
    if SILENT in why:
        todo = "it is there: see what holds it up; `hived status` shows each program"
    elif PidFile(HivePaths.of(settings).supervisord).living() is not None:
        todo = "hived is starting it: ask again in a moment; `hived status` shows each program"
    elif settings.hive:
        todo = "start the hive with `hm dev` or `hived start`"
    else:
        todo = "start a node with `hm run FILE`"
    return RedisUnavailable(f"the hive's own Redis at {where}: {why}; {todo}{outside(settings)}")


def _seen_here(settings: Settings, why: str) -> str:
    """What is to be seen of a hive of this machine that runs: what is missing of its files, or of its Redis, or that
    this one is stopped.
    """
    if os.name == "nt":
        return ""
    from ..supervisor.own_redis import socket_gone, why_away
    from ..supervisor.strays import removed_under

    looked = why_away if SILENT in why else socket_gone
    return removed_under(engine_for(settings)) or looked(settings)


def quiet() -> None:
    """Let the library log nothing: the commands say themselves what matters."""
    logging.getLogger("hivemind").addHandler(logging.NullHandler())
