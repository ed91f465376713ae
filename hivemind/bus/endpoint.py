"""Where Redis is, read from a URL, and how a connection to it is opened.

``redis://[user:password@]host:port``, ``rediss://`` (TLS), ``unix:///path/to.sock`` and
``redis+sentinel://[user:password@]host:port,host:port/<service>``; each may end in ``?hive=gotham`` and in any
option that redis-py's own URLs know, such as ``protocol=2`` or ``ssl_ca_certs=/path``.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from redis import exceptions
from redis.asyncio import connection as connections
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from ..errors import ConfigurationError, RedisDenied, RedisError, RedisRefused, RedisUnavailable
from ..topics import check_name

CONNECT_TIMEOUT = 3.0  #: seconds for opening a connection, and for each answer while it is opened
SENTINEL = "redis+sentinel"
_SCHEMES = ("redis", "rediss", "unix", SENTINEL)
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 8000))
    if hasattr(socket, name)
}
_TRANSIENT = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "UNBLOCKED", "BUSY ")
_DENIED = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR invalid password", "ERR AUTH", "DENIED")


def hide_password(url: str) -> str:
    """Return ``url`` with ``***`` where a password is, in the authority or in the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    netloc = parts.netloc
    if "@" in netloc:
        credentials, _, hosts = netloc.rpartition("@")
        user = credentials.partition(":")[0]
        netloc = f"{user}:***@{hosts}" if ":" in credentials else f"{credentials}@{hosts}"
    pairs = [(key, "***" if "password" in key else value) for key, value in parse_qsl(parts.query)]
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(pairs, safe="*/"), parts.fragment))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Redis, as a URL names it. ``parse`` checks it; ``open`` connects."""

    url: str
    hive: str = "default"

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read ``url``; raise ConfigurationError that says what of it cannot be (never showing a password)."""
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            raise ConfigurationError(
                f"{hide_password(url)!r} is no Redis URL: it has to begin with redis://, rediss://, unix:// "
                f"or {SENTINEL}://"
            )
        pairs = parse_qsl(parts.query)
        hive = dict(pairs).get("hive", "default")
        rest = urlencode([(key, value) for key, value in pairs if key != "hive"], safe="/")
        endpoint = cls(urlunsplit((*parts[:3], rest, "")), check_name(hive, "hive"))
        if parts.scheme == SENTINEL and (not parts.path.strip("/") or not endpoint._sentinels()):
            raise ConfigurationError(f"{hide_password(url)!r}: write {SENTINEL}://host:port,host:port/<service>")
        try:
            endpoint._arguments()
        except ValueError as error:
            raise ConfigurationError(f"{hide_password(url)!r}: {error}") from error
        return endpoint

    @property
    def redacted(self) -> str:
        """The URL without its password: for people and logs."""
        return hide_password(self.url)

    @property
    def is_sentinel(self) -> bool:
        """Whether the primary's address is asked of Sentinels at every connect."""
        return self.url.startswith(SENTINEL)

    async def open(self, name: str) -> connections.AbstractConnection:
        """Open one connection, authenticated and called ``name``, speaking RESP2.

        Raises RedisUnavailable or RedisDenied. The caller owns it: dropping it closes its transport.
        """
        try:
            return await self._open(name)
        except Exception as error:
            raise translated(error, self.redacted) from error

    async def _open(self, name: str) -> connections.AbstractConnection:
        arguments = self._arguments() | {"client_name": name}
        if self.is_sentinel:
            arguments["host"], arguments["port"] = await self._primary()
        kind = arguments.pop("connection_class", connections.Connection)
        connection = cast(connections.AbstractConnection, kind(**arguments))
        await connection.connect()
        return connection

    def _arguments(self) -> dict[str, Any]:
        """Arguments of redis-py's Connection: no retries (they double writes), nothing sent that is not asked for."""
        url = self.url
        if self.is_sentinel:
            parts = urlsplit(url)
            user = parts.netloc.rpartition("@")[0]
            url = urlunsplit(("redis", f"{user}@sentinel" if user else "sentinel", "", parts.query, ""))
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

    def _sentinels(self) -> list[tuple[str, int]]:
        hosts = urlsplit(self.url).netloc.rpartition("@")[2]
        found = []
        for entry in filter(None, hosts.split(",")):
            host, _, port = entry.rpartition(":") if ":" in entry else (entry, "", "26379")
            if not port.isdecimal():
                raise ConfigurationError(f"{self.redacted}: {entry!r} is not host:port")
            found.append((unquote(host), int(port)))
        return found

    async def _primary(self) -> tuple[str, int]:
        """Ask the Sentinels, at every connect anew: a cached address loses what a demoted primary takes."""
        sentinel = Sentinel(
            self._sentinels(),
            sentinel_kwargs={"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": Retry(NoBackoff(), 0)},
        )
        try:
            host, port = await sentinel.discover_master(urlsplit(self.url).path.strip("/"))
            return str(host), int(port)
        finally:
            for client in sentinel.sentinels:
                await client.aclose()


def translated(error: BaseException, where: str) -> RedisError:
    """The error of ours that says what a foreign one means. ``where`` is a URL without password."""
    if isinstance(error, RedisError):
        return error
    text = str(error) or type(error).__name__
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError) or text.startswith(_DENIED):
        return RedisDenied(f"{where}: {text}; check user and password in REDIS_URL")
    if isinstance(error, exceptions.ResponseError) and not text.startswith(_TRANSIENT):
        return RedisRefused(text)
    if isinstance(error, ssl.SSLError):
        return RedisUnavailable(f"{where}: TLS failed: {text}")
    if isinstance(error, OSError | asyncio.TimeoutError | exceptions.RedisError):
        return RedisUnavailable(f"{where}: {text}")
    return RedisUnavailable(f"{where}: {type(error).__name__}: {text}")


def reply_error(reply: object) -> RedisError:
    """The error of ours for an error reply that hiredis parsed."""
    text = str(reply)
    if text.startswith(_DENIED):
        return RedisDenied(text)
    return RedisUnavailable(text) if text.startswith(_TRANSIENT) else RedisRefused(text)
