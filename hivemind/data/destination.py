"""Whether a hive may leave the Redis where it is, and whether another is fit for it: before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..bus.commands import Commands, checked
from ..bus.door import Door, Way
from ..bus.endpoint import Endpoint
from ..bus.facts import facts_of
from ..bus.functions import Functions
from ..bus.server_info import info_in
from ..english import amount, are, listed
from ..errors import HivemindError
from ..topics import Names
from .backup import all_keys
from .checkup import Level, Needs, findings
from .directory import Directory
from .hold import MOVER, connected, mark_of, may_cut
from .layout import check_layout
from .records import Instance
from .registry import Registry

#: what a server may lack for a hive to stay where it is; what else is wrong there `hm doctor` tells afterwards
LOOKED_AT = frozenset(("Redis", "version", "role", "eviction", "memory", "its disk", "persistence", "rights"))


@dataclass(frozen=True, slots=True)
class Leaving:
    """Who lives where a hive is, as it is found there, and how it keeps its patterns."""

    instances: tuple[Instance, ...]
    patterns: str

    def elsewhere(self, host: str) -> list[str]:
        """The other hosts on which there are processes of the hive."""
        return sorted({one.about.host for one in self.instances if one.about.host} - {host})


def as_mover(endpoint: Endpoint) -> Endpoint:
    """How whoever moves a hive goes there: no mark keeps him out, or leads him elsewhere."""
    return replace(endpoint, door=Door(is_mover=True))


def unreached(endpoint: Endpoint, why: str) -> str:
    """That there is no Redis where something is to go to; ``why`` in the words of Redis, or of the network."""
    said = why.removeprefix(f"{endpoint.redacted}: ").rstrip(".")
    return f"the Redis to go to, {endpoint.redacted}, cannot be reached: {said}; start that server, or correct the URL"


async def look_at_source(commands: Commands, names: Names) -> Leaving:
    """See who lives where the hive is. Raises HivemindError where it cannot be moved now, and RedisError."""
    await check_layout(commands, names)
    await may_cut(commands)
    if await commands.execute("EXISTS", names.roll()):
        raise HivemindError("nodes are being rolled: let that end first")
    mark = await mark_of(commands, names)
    if mark is not None and mark.way is Way.LEAVING:
        raise HivemindError("another move of this hive is being made, or was killed a few seconds ago")
    if mark is not None and mark.way is Way.COMING:
        raise HivemindError(
            "its last move was not brought to its end: `hm redis move` with the URL where it is does that"
        )
    functions = Functions(commands)
    living = [one for one in await Registry(commands, functions, names).instances() if not one.is_lost]
    _refuse_strangers(living, (await connected(commands, names.hive)).values())
    return Leaving(tuple(living), await Directory(commands, functions, names).mode())


def _refuse_strangers(living: Sequence[Instance], connections: Iterable[str]) -> None:
    """Who does not give the hive's name with its own cannot be told that the hive moves: it is too old, or may not."""
    starts = {name.partition(":")[2].partition(":")[0] for name in connections}
    unknown = [one.instance for one in living if one.node not in starts]
    if unknown:
        raise HivemindError(
            f"{listed(unknown)} {are(unknown)} of an older version, or may not say CLIENT SETNAME, and would not hear "
            "of the move: restart what is old, or stop it"
        )


async def look_at_target(endpoint: Endpoint, names: Names, needs: Needs, source: Commands) -> int:
    """How many keys of a hive of that name are there. Raises HivemindError where a server is not fit for the hive, or
    is where it is already, and RedisError.
    """
    (facts,) = await facts_of(endpoint, names.hive)
    if facts.error:
        raise HivemindError(unreached(endpoint, facts.error))
    wrong = [one for one in findings([facts], needs) if one.level is Level.RED and one.subject in LOOKED_AT]
    if facts.info.get("cluster_enabled") == "1":
        raise HivemindError(f"{endpoint}: of a Cluster, and to one, nothing can be moved")
    if wrong:
        raise HivemindError(f"{endpoint} is not fit for it: {wrong[0].subject}: {wrong[0].text}")
    async with Commands(endpoint, MOVER) as target:
        if await place_of(target) == await place_of(source):
            raise HivemindError(f"{endpoint} is where it is already")
        return await _keys_there(target, names)


async def place_of(commands: Commands) -> tuple[str, str]:
    """Which database of which running server this is. Raises RedisError."""
    info, client = map(checked, await commands.pipeline([("INFO", "server"), ("CLIENT", "INFO")]))
    words = dict(word.partition("=")[::2] for word in client.decode(errors="replace").split())
    return info_in(info).get("run_id", ""), words.get("db", "")


async def _keys_there(target: Commands, names: Names) -> int:
    """Raises HivemindError where a hive of that name lives, or has moved away from."""
    living = [one for one in await Registry(target, Functions(target), names).instances() if not one.is_lost]
    if living:
        who = listed([one.instance for one in living])
        raise HivemindError(f"a hive {names.hive} lives there ({who}): two hives of one name cannot share a Redis")
    mark = await mark_of(target, names)
    if mark is not None and mark.way is Way.COMING:
        return 0  # a move that was not brought to its end: nothing there is anybody's
    return len(await all_keys(target, names))


def refuse_if_used(there: int, names: Names, *, replace: bool) -> None:
    """Raise HivemindError where a hive of that name has keys that shall not be replaced."""
    if there and not replace:
        raise HivemindError(f"the hive {names.hive} has {amount(there, 'key')} there: --replace removes them")
