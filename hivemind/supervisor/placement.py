"""Which host each copy of a node is at home on: pure.

The hosts that a node fits take its copies in rounds: in each round every one of them takes one, so that no host ever
has two more than another. In a round each copy has the host that it likes best of those that are left; how much it
likes one is a hash over node, number and host. So every hived finds the same, whatever order HOSTS is in and however
many copies it believes that there are. Of single copies a host that is added takes its share, and no other moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from ..constants import did_you_mean
from ..errors import ConfigurationError
from ..settings import Settings
from .sharing import HOW_TO_SHARE

TAG = "@"  # before the name of a tag, in the `hosts` of a node
EXAMPLE = 'HOSTS = {"alfa": ["gpu"], "beta": []}'

Hosts = Mapping[str, Sequence[str]]
"""The hosts of a hive by name, with the tags of each."""


def fitting(wanted: Sequence[str], hosts: Hosts) -> tuple[str, ...]:
    """The hosts that ``wanted`` names, each by its name or by a ``@tag``; all where it names none."""
    return tuple(
        name
        for name, tags in hosts.items()
        if not wanted or name in wanted or any(f"{TAG}{tag}" in wanted for tag in tags)
    )


def homes(name: str, copies: int, hosts: Collection[str]) -> list[str]:
    """The home of each copy of the process ``name``, by number; none where there is no host."""
    found: list[str] = []
    left: set[str] = set()
    for number in range(copies if hosts else 0):
        left = left or set(hosts)
        best = max(left, key=lambda host: (_liking(name, number, host), host))
        left.remove(best)
        found.append(best)
    return found


def _liking(name: str, number: int, host: str) -> bytes:
    return hashlib.blake2b(f"{name}.{number} {host}".encode(), digest_size=8).digest()


def check_wishes(settings: Settings) -> None:
    """Raise ConfigurationError, with file and key, where nodes ask for hosts that there are not."""
    hosts, source = settings.constants.HOSTS, settings.sources.get("NODES", "NODES")
    for node, tuning in settings.constants.NODES.items():
        if (tuning.hosts or tuning.per_host) and not hosts:
            raise ConfigurationError(
                f"{source}: {node} has {'hosts' if tuning.hosts else 'per_host'}, but HOSTS is empty: {EXAMPLE}, with "
                "names and tags of your own, says which hosts there are"
            )
        for wanted in tuning.hosts:
            if not fitting([wanted], hosts):
                raise _fits_nowhere(source, node, wanted, hosts)


def _fits_nowhere(source: str, node: str, wanted: str, hosts: Hosts) -> ConfigurationError:
    name, names = wanted.removeprefix(TAG), ", ".join(hosts)
    if wanted.startswith(TAG):
        tags = sorted({tag for each in hosts.values() for tag in each})
        hint = did_you_mean(name, tags) or "."
        what = f"wants a host with the tag {name}, but HOSTS gives that to none{hint}"
        return ConfigurationError(f"{source}: {node} {what} Give it to one of {names}")
    hint = did_you_mean(name, hosts) or "."
    what = f"wants the host {name}, but HOSTS does not name it{hint} There are {names}"
    return ConfigurationError(f"{source}: {node} {what}; a tag is written as {TAG}{name}")


def check_hosts(settings: Settings, host: str) -> None:
    """Raise ConfigurationError, with file and key, where ``host``, which is this one, is not in HOSTS, or where the
    hosts would not share their Redis.
    """
    hosts, source = settings.constants.HOSTS, settings.sources.get("HOSTS", "HOSTS")
    if hosts and host not in hosts:
        hint = did_you_mean(host, hosts) or "."
        raise ConfigurationError(
            f"{source}: HOSTS does not name this host, {host}{hint} Add it there, or say with the environment "
            f"variable HIVEMIND_HOST which it is: {', '.join(hosts)}"
        )
    if len(hosts) > 1 and not settings.redis_url:
        raise ConfigurationError(
            f"{source}: HOSTS names {len(hosts)} hosts, but REDIS_URL is empty: each would start a Redis of its own, "
            f"and none would know of the others. {HOW_TO_SHARE}"
        )
