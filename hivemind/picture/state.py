"""What is known of a hive beside its registry: what should run, whether Redis takes writes, how patterns are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..bus.commands import Commands
from ..bus.functions import Functions
from ..data.directory import Directory
from ..data.records import Instance
from ..errors import RedisError, RedisRefused
from ..supervisor.leftovers import lost_for
from .declared import Declared


@dataclass(frozen=True, slots=True)
class State:
    """``should`` is what should run. ``refusal`` says why Redis takes no writes, in its words: then nobody can renew a
    lease, and who is lost may live. ``lost_for`` is how many seconds ago each lost instance had its last beat,
    ``patterns`` how the hive keeps them ("" if nobody has registered yet, or Redis does not say), and ``dead`` are the
    primaries of a Cluster that serve slots and do not answer. ``redis`` is another whenever another process answers.
    """

    should: Declared = field(default_factory=Declared)
    refusal: str = ""
    lost_for: Mapping[str, float] = field(default_factory=dict)
    patterns: str = ""
    dead: tuple[str, ...] = ()
    redis: str = ""


async def said_by_redis(commands: Commands, instances: Sequence[Instance]) -> State:
    """What Redis says of it; what should run is not known from that."""
    is_any_lost = any(one.is_lost for one in instances)
    refused = await refusal(commands) if is_any_lost else ""
    ages = await _ages(commands, instances) if is_any_lost else {}
    patterns, dead = await _patterns(commands), await _dead_primaries(commands)
    return State(Declared(), refused, ages, patterns, dead, await _run_id(commands))


async def refusal(commands: Commands) -> str:
    """Why Redis takes no writes, in its own words; "" if it does. Then no lease is renewed, and lost means little."""
    try:
        await commands.execute("PEXPIRE", commands.endpoint.names.node("probe"), 1)  # a key that is none
    except RedisRefused as error:
        return str(error).removeprefix(f"{commands.endpoint.redacted}: ").rstrip(".")
    except RedisError:
        return ""
    return ""


async def _ages(commands: Commands, instances: Sequence[Instance]) -> dict[str, float]:
    try:
        return await lost_for(commands, commands.endpoint.names, instances)
    except RedisError:
        return {}


async def _patterns(commands: Commands) -> str:
    try:
        return await Directory(commands, Functions(commands), commands.endpoint.names).mode()
    except RedisError:
        return ""


async def _run_id(commands: Commands) -> str:
    """What a process of Redis calls itself; "" where it does not say."""
    try:
        said = await commands.execute("INFO", "server")
    except RedisError:
        return ""
    text = said if isinstance(said, str) else said.decode(errors="replace")
    return next((line.partition(":")[2] for line in text.splitlines() if line.startswith("run_id:")), "")


async def _dead_primaries(commands: Commands) -> tuple[str, ...]:
    if not commands.endpoint.is_cluster:
        return ()
    try:
        known = await commands.execute("CLUSTER", "NODES")
    except RedisError:
        return ()
    return failed(known if isinstance(known, str) else known.decode(errors="replace"))


def failed(nodes: str) -> tuple[str, ...]:
    """Of what CLUSTER NODES says the addresses of primaries that have slots and are said to have failed."""
    lines = [line.split() for line in nodes.splitlines()]
    return tuple(
        sorted(
            line[1].partition("@")[0]
            for line in lines
            if len(line) > 8 and "master" in line[2].split(",") and {"fail", "fail?"} & {*line[2].split(",")}
        )
    )
