"""Where Redis is, read from a URL, and how a connection to it is opened.

``redis://[user:password@]host:port``, ``rediss://`` (TLS), ``unix:///path/to.sock``,
``redis+sentinel://[user:password@]host:port,host:port/<service>`` and
``redis+cluster://[user:password@]host:port,host:port``; each may end in ``?hive=gotham`` and in any
option that redis-py's own URLs know, such as ``protocol=2`` or ``ssl_ca_certs=/path``. Where it names no user, and the
hive is secured, who connects logs in as ``credentials`` says.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from redis import exceptions
from redis.asyncio import connection as connections
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from ..constants import redact
from ..errors import ConfigurationError, RedisUnavailable
from ..topics import ClusterNames, Names, check_name
from .cluster import PORTS, Address, learn, slot_of
from .credentials import OPERATOR, with_login
from .door import Door
from .greeting import Elsewhere, check_role, introduce, is_home
from .outage import FULL, Outage
from .peers import Peers
from .translation import translated
from .turned_away import hung_up, is_full

log = logging.getLogger("hivemind.redis")

CONNECT_TIMEOUT = 3.0  #: seconds for opening a connection, and for each answer while it is opened
SENTINEL, CLUSTER = "redis+sentinel", "redis+cluster"
_SCHEMES = ("redis", "rediss", "unix", SENTINEL, CLUSTER)
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 8000))
    if hasattr(socket, name)
}
_SENTINEL: dict[str, Any] = {
    "protocol": 2,
    "legacy_responses": False,
    "driver_info": None,
    "retry": Retry(NoBackoff(), 0),
    "socket_timeout": 1.0,
    "socket_connect_timeout": 1.0,
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}
_CREDENTIALS = ("username", "password")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Redis, as a URL names it. ``parse`` checks it; ``open`` connects.

    Of a Cluster it is the primary that has the keys of ``hive``, its *home*, or the node at ``address``. Who uses it
    tells ``outage`` when it is away. ``door`` knows where the hive has moved to since the URL was read.
    """

    url: str = field(repr=False)
    hive: str = "default"
    address: Address | None = None
    outage: Outage = field(default_factory=Outage, repr=False, compare=False)
    peers: Peers = field(default_factory=Peers, repr=False, compare=False)
    door: Door = field(default_factory=Door, repr=False, compare=False)
    who: str = OPERATOR

    @classmethod
    def parse(cls, url: str, folder: Path | None = None, who: str = OPERATOR) -> Endpoint:
        """Read ``url``; raise ConfigurationError that says what of it cannot be (never showing a password).

        ``folder`` is the hive's ``var``: it knows where the hive has moved to, and how ``who`` logs in.
        """
        if url.startswith(f"rediss{CLUSTER.removeprefix('redis')}://"):
            raise ConfigurationError(
                f"{redact(url)!r}: TLS for a Redis Cluster is not supported yet; without it, write {CLUSTER}://"
            )
        if not url.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES)):
            raise ConfigurationError(
                f"{redact(url)!r} is no Redis URL: it has to begin with redis://, rediss://, unix://, "
                f"{SENTINEL}:// or {CLUSTER}://"
            )
        if not url.isprintable():
            raise ConfigurationError(f"{redact(url)!r} is no Redis URL: there are characters in it that none has")
        address, _, query = url.partition("?")
        pairs = parse_qsl(query)
        hive = dict(pairs).get("hive", "default")
        rest = urlencode([(key, value) for key, value in pairs if key != "hive"], safe="/")
        endpoint = cls(f"{address}?{rest}" if rest else address, check_name(hive, "hive"), door=Door(folder), who=who)
        try:
            endpoint._check()
        except (ValueError, TypeError) as error:
            # The reason may quote a part of the password: urllib takes what follows a raw # or / in it for a port.
            reason = "write special characters in the password as %.." if "@" in url else str(error)
            raise ConfigurationError(f"{redact(url)!r} is no Redis URL: {reason}") from None
        return endpoint

    def _check(self) -> None:
        """Build what ``open`` builds; raise ValueError, TypeError or ConfigurationError if that cannot be."""
        path = self.service
        if self.is_sentinel and (not path or not self.sentinels):
            raise ConfigurationError(f"{self.redacted!r}: write {SENTINEL}://host:port,host:port/<service>")
        if self.is_cluster and (path or not self._hosts(6379)):
            raise ConfigurationError(f"{self.redacted!r}: write {CLUSTER}://host:port,host:port, without a database")
        arguments = self._arguments()
        kind = arguments.pop("connection_class")
        try:
            kind(**arguments)
        except TypeError:
            known = _options(kind)
            wrong = [name for name, _ in parse_qsl(urlsplit(self.url).query) if name not in known]
            raise ConfigurationError(f"{self.redacted!r}: no such option: {', '.join(wrong) or 'unknown'}") from None

    def of(self, hive: str) -> Endpoint:
        """The same for another hive: in a Cluster its keys may be elsewhere."""
        return replace(self, hive=hive, peers=Peers())

    def told_to(self, outage: Outage) -> Endpoint:
        """The same for a process of its own: it tells this outage, and has connections of its own."""
        return replace(self, outage=outage, peers=Peers())

    def at(self, address: Address) -> Endpoint:
        """One node of the same Cluster."""
        return replace(self, address=address)

    @property
    def redacted(self) -> str:
        """The URL without its password, or the node of a Cluster: for people and logs."""
        return redact(self.door.lead(self.url)) if self.address is None else "{}:{}".format(*self.address)

    def __str__(self) -> str:
        return self.redacted

    @property
    def now(self) -> Endpoint:
        """The same, where the hive has moved to; Sentinels of that place are asked, and not listened to."""
        to = self.door.lead(self.url)
        return self if to == self.url else replace(self, url=to, peers=Peers())

    @property
    def is_sentinel(self) -> bool:
        """Whether the primary's address is asked of Sentinels at every connect."""
        return self.url.startswith(SENTINEL)

    @property
    def is_cluster(self) -> bool:
        """Whether the nodes of a Cluster are asked at every connect who has what."""
        return self.url.startswith(CLUSTER)

    @property
    def names(self) -> Names:
        """All keys and channels of the hive: in a Cluster all that is kept lies on its home."""
        return ClusterNames(self.hive) if self.is_cluster else Names(self.hive)

    @property
    def seeds(self) -> list[Address]:
        """The nodes of a Cluster that the URL names."""
        return self._hosts(6379)

    @property
    def service(self) -> str:
        """What Sentinels call the primary."""
        return urlsplit(self.url).path.strip("/")

    @property
    def sentinels(self) -> list[Address]:
        """The Sentinels that the URL names."""
        return self._hosts(26379)

    async def primary(self) -> Address:
        """Where the Sentinels say that the primary is now. Raises RedisUnavailable or RedisDenied."""
        try:
            return await self._primary()
        except Exception as error:
            raise translated(error, self.redacted) from error

    async def open_sentinel(self, address: Address) -> connections.AbstractConnection:
        """Open a connection to one Sentinel, as ``open`` does."""
        *others, last = self._sentinel_credentials()
        try:
            for credentials in others:
                with contextlib.suppress(exceptions.AuthenticationError):
                    return await self._greeted(address, credentials)
            return await self._greeted(address, last)
        except Exception as error:
            raise translated(error, "{}:{}".format(*address)) from error

    async def _greeted(self, address: Address, credentials: dict[str, Any]) -> connections.AbstractConnection:
        host, port = address
        connection = connections.Connection(host=host, port=port, **_SENTINEL, **credentials)
        try:
            await connection.connect()
            await connection.send_command("PING", check_health=False)
            await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def open(self, name: str) -> connections.AbstractConnection:
        """Open one connection, authenticated and called ``name``, speaking RESP2.

        Raises RedisUnavailable, also while the hive is moved, or RedisDenied. Dropping it closes its transport.
        """
        try:
            return await self.now._open(name)
        except Exception as error:
            raise translated(error, self.redacted) from error

    async def _open(self, name: str) -> connections.AbstractConnection:
        arguments = with_login(self._arguments(), self.door.folder, self.who)
        moves = self.address is None and (self.is_sentinel or self.is_cluster)
        if moves:
            asked = self._primary if self.is_sentinel else self._home
            arguments["host"], arguments["port"] = self.peers.told or await asked()
        elif self.address is not None:
            arguments["host"], arguments["port"] = self.address
        kind = arguments.pop("connection_class")
        connection = cast(connections.AbstractConnection, kind(**arguments))
        if moves:
            self.peers.add(connection)
        try:
            await connection.connect()
            await introduce(connection, name, self.hive, None if self.is_cluster else self.door)
            if self.is_sentinel:
                await check_role(connection, self.redacted)
            elif moves:
                await self._check_home(connection, (arguments["host"], arguments["port"]))
        except BaseException as error:
            if moves:
                self.peers.doubt()
            if isinstance(error, Elsewhere):
                self.peers.follow(error.to)
            await connection.disconnect(nowait=True)
            if hung_up(error) and await is_full(connection):
                raise RedisUnavailable(f"{self.redacted}: {FULL}") from error
            raise
        return connection

    def _arguments(self) -> dict[str, Any]:
        """Arguments of redis-py's Connection: no retries (they double writes), nothing sent that is not asked for."""
        url = self.url
        if self.is_sentinel or self.is_cluster:
            parts = urlsplit(url)
            user = parts.netloc.rpartition("@")[0]
            query = urlencode([pair for pair in parse_qsl(parts.query) if not pair[0].startswith("sentinel_")])
            url = urlunsplit(("redis", f"{user}@found-out" if user else "found-out", "", query, ""))
        arguments = dict(connections.parse_url(url))
        kind = arguments.setdefault("connection_class", connections.Connection)
        if issubclass(cast(type, kind), connections.Connection):
            arguments |= {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
        return arguments | {
            "protocol": 2,
            "legacy_responses": False,
            "driver_info": None,
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": CONNECT_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }

    def _hosts(self, usual: int) -> list[Address]:
        return list(_hosts(urlsplit(self.url).netloc.rpartition("@")[2], usual, self.redacted))

    async def _primary(self) -> Address:
        """Ask the Sentinels, at every connect anew: a cached address loses what a demoted primary takes."""
        own, *same = self._sentinel_credentials()
        try:
            return await _ask_sentinels(self.sentinels, self.service, own)
        except MasterNotFoundError as error:
            if not same or "uthentication" not in str(error):
                raise
            return await _ask_sentinels(self.sentinels, self.service, same[0])

    def _sentinel_credentials(self) -> list[dict[str, Any]]:
        """What Sentinels get: ``sentinel_username`` and ``sentinel_password`` from the URL's options, else nothing, and
        if that is refused what Redis itself gets.
        """
        options = dict(parse_qsl(urlsplit(self.url).query))
        own = {name: options[f"sentinel_{name}"] for name in _CREDENTIALS if f"sentinel_{name}" in options}
        same = {name: value for name, value in self._arguments().items() if name in _CREDENTIALS}
        return [own] if own or not same else [own, same]

    async def _home(self) -> Address:
        """Ask the Cluster, at every connect anew, who has the keys of the hive."""
        found = await learn(self.seeds, lambda address: self.at(address).open("hm:map"), at_once=1)
        primary = found.primary(slot_of(self.hive))
        if primary is None:
            hint = "" if found.ranges else "; no node of it has slots yet: `redis-cli --cluster create` deals them out"
            raise RedisUnavailable(f"{self.redacted}: nobody serves the slot of the hive {self.hive}{hint}")
        return primary

    async def _check_home(self, connection: connections.AbstractConnection, at: Address) -> None:
        """Once a connection leads to the home, cut all that lead elsewhere. Raises Elsewhere where it does not."""
        if await is_home(connection, self.hive, self.redacted, at):
            self.moved(at)

    def moved(self, to: Address) -> None:
        """The home is there from now on: cut all connections that lead elsewhere."""
        if cut := self.peers.leave(to):
            where = "{}:{}".format(*to)
            log.warning("the hive's home is %s now: %d connection(s) that led elsewhere are made anew", where, cut)


def _hosts(hosts: str, usual: int, where: str) -> Iterator[Address]:
    for entry in filter(None, hosts.split(",")):
        host, _, port = entry.rpartition(":") if ":" in entry else (entry, "", str(usual))
        if not port.isdecimal() or len(port) > 5 or int(port) >= PORTS:
            raise ConfigurationError(f"{where}: {entry!r} is not host:port")
        yield unquote(host), int(port)


async def _ask_sentinels(sentinels: list[Address], service: str, credentials: dict[str, Any]) -> Address:
    limits = {name: _SENTINEL[name] for name in ("socket_timeout", "socket_connect_timeout", "retry")}
    sentinel = Sentinel(sentinels, sentinel_kwargs={**limits, **credentials})
    try:
        host, port = await sentinel.discover_master(service)
        return str(host), int(port)
    finally:
        for client in sentinel.sentinels:
            await client.aclose()


def _options(kind: type[Any]) -> set[str]:
    """The names of all arguments that a connection class of redis-py takes."""
    makers = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)]
    return {name for make in makers for name in signature(make).parameters}
