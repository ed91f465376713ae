"""What others say went wrong, as an error of ours: what redis-py raises, and what a server replies."""

from __future__ import annotations

import asyncio
import ssl

from redis import exceptions

from ..errors import RedisDenied, RedisError, RedisRefused, RedisUnavailable
from .outage import FULL
from .turned_away import WORDS

SILENT = "no answer in time"  #: of a server that lets us connect, and says nothing
_LATE = ("TimeoutError", "Timeout reading")  # as redis-py and asyncio say it
_SINGLE = ("redis://", "rediss://", "unix://")
_TRANSIENT = (
    *("LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK ", "READONLY", "UNBLOCKED", "BUSY "),
    "ERR Script attempted to access a non local key",  # which moves now
    "Script attempted to access a non local key",
)
_NOT_NOW = (  # redis-py takes the code away from the text
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.AskError,  # and MovedError
)
_DENIED = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR invalid password", "ERR AUTH", "DENIED")

_FORBIDDEN = (*_DENIED, "ACL failure", "The user executing the script can't")  # the last says Redis 7.0, of a function


def translated(error: BaseException, where: str) -> RedisError:
    """The error of ours that says what a foreign one means. ``where`` is a URL without password."""
    if isinstance(error, RedisError):
        return error
    if isinstance(error.__cause__, exceptions.AuthenticationError | exceptions.NoPermissionError):
        error = error.__cause__  # over a unix socket redis-py wraps it
    text = str(error) or type(error).__name__
    if text.startswith(_LATE) or WORDS in text:
        return RedisUnavailable(f"{where}: {FULL if WORDS in text else SILENT}")
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError) or text.startswith(_DENIED):
        hint = "" if isinstance(error, exceptions.NoPermissionError) else "; check user and password in REDIS_URL"
        return RedisDenied(f"{where}: {text.rstrip('.')}{hint}")
    if isinstance(error, exceptions.MovedError) and where.startswith(_SINGLE):
        return RedisDenied(f"{where} is a part of a cluster: write redis+cluster://host:port instead")
    if isinstance(error, _NOT_NOW) or text.startswith(_TRANSIENT):
        return RedisUnavailable(f"{where}: {text}")
    if isinstance(error, exceptions.ResponseError):
        return RedisRefused(text)
    if isinstance(error, ssl.SSLError) or isinstance(error.__context__, ssl.SSLError):
        return RedisUnavailable(f"{where}: TLS failed: {text}")
    is_known = isinstance(error, OSError | asyncio.TimeoutError | exceptions.RedisError)
    return RedisUnavailable(f"{where}: {text}" if is_known else f"{where}: {type(error).__name__}: {text}")


def is_forbidden(error: RedisError) -> bool:
    """Whether the access list of our user is why Redis does not do it, in a function, too."""
    return isinstance(error, RedisDenied) or any(sign in str(error) for sign in _FORBIDDEN)


def is_unauthenticated(error: RedisError) -> bool:
    """Whether Redis says that this connection has to authenticate (anew): a new one may."""
    return isinstance(error, RedisDenied) and "NOAUTH" in str(error)


def reply_error(reply: object) -> RedisError:
    """The error of ours for an error reply that hiredis parsed."""
    text = str(reply)
    if WORDS in text:
        return RedisUnavailable(FULL)
    if text.startswith(_DENIED):
        return RedisDenied(text)
    return RedisUnavailable(text) if text.startswith(_TRANSIENT) else RedisRefused(text)
