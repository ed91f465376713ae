"""Users for a hive in its Redis: made, kept as the hive's files say, given new passwords.

A hive is *secured* once `hived secure` has made ``var/secure``: from then on each process logs in by its own name, and
hived makes the users of new nodes before it starts them. On a Redis of the hive's own they stand in ``users.acl``, too,
from which that begins; another is asked to save them. Redis gets hashes of passwords, never a password.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..bus.credentials import credentials, folder_of, is_secured, names_somebody
from ..bus.embedded import Embedded
from ..bus.endpoint import Endpoint
from ..errors import ConfigurationError, RedisDenied, RedisError
from ..whole import put
from .engine import Engine, redis_url
from .rights import of_default, user_of
from .user_server import Secured, Server, named
from .users import User, Users, users_of

log = logging.getLogger("hived")

BYTES = 24  # of randomness in a password
TAKING = ("resetkeys", "resetchannels", "clearselectors", "-@all")  # the words that take rights away


def secure(engine: Engine, admin: Endpoint | None = None, *, rotate: bool = False) -> Secured:
    """Make the hive's users as its files say, and log in by them from now on; ``rotate``: all get new passwords, and
    who is connected by an old one has to log in anew. ``admin`` may make users where hived may not yet.

    Raises ConfigurationError where the hive's Redis is of a kind that cannot be secured so, or REDIS_URL names a user;
    RedisError where Redis cannot be reached, or lets nobody of us make users; OSError.
    """
    check_kind(engine)
    with engine.lock():
        users = users_of(engine)
        return asyncio.run(_secured(engine, users, admin, rotate=rotate))


def check_kind(engine: Engine) -> None:
    """Raise ConfigurationError where the Redis of the hive cannot be secured from here."""
    endpoint = Endpoint.parse(redis_url(engine.settings))
    source = engine.settings.sources.get("REDIS_URL", "the settings")
    if endpoint.is_cluster or endpoint.is_sentinel:
        raise ConfigurationError(
            "users are kept by each server for itself, and a Cluster or Sentinels have several: `hived secure --print` "
            "gives what to write into the aclfile of each"
        )
    if names_somebody(endpoint.url):
        raise ConfigurationError(
            f"REDIS_URL ({source}) names a user or a password, with which every process of the hive would go on to log "
            "in: take it out there, and give it to `hived secure` alone, with --admin FILE"
        )


@dataclass(frozen=True, slots=True)
class Unsecured:
    """Which users are no more; ``unsaved`` says why the server may know them again when it starts again."""

    removed: tuple[str, ...] = ()
    unsaved: str = ""


def unsecure(engine: Engine, admin: Endpoint | None = None) -> Unsecured:
    """Take all users of the hive away, first in its Redis, then here, and let in everybody who reaches a Redis of its
    own. Raises what ``secure`` raises; then it may be tried again.
    """
    with engine.lock():
        if not is_secured(engine.paths.var):
            return Unsecured()
        return asyncio.run(_unsecured(engine, admin))


async def _unsecured(engine: Engine, admin: Endpoint | None) -> Unsecured:
    own, folder, unsaved = _own(engine), folder_of(engine.paths.var), ""
    async with _server(engine, admin) as server:
        if server is not None:
            unsaved = await server.clear(admin)
        files = sorted(folder.iterdir())
        for path in (*files, *([own.acl] if own is not None else [])):
            path.unlink(missing_ok=True)
        folder.rmdir()  # from now on nobody logs in
    return Unsecured(tuple(path.name for path in files), unsaved)


def before_start(engine: Engine) -> None:
    """Where the hive is secured let its users be there when its programs start. Raises ConfigurationError, OSError."""
    if is_secured(engine.paths.var):
        users = users_of(engine)
        with _tolerated():
            asyncio.run(_secured(engine, users))


@dataclass(frozen=True, slots=True)
class Widened:
    """The users while the hive changes: as they shall be afterwards, and what each was allowed before, by its name."""

    users: Users
    before: Mapping[str, str]


def widened(engine: Engine) -> Widened | None:
    """Before a change: let users be there for what is started, and nobody lose what he still needs. None where the hive
    is not secured.
    """
    if not is_secured(engine.paths.var):
        return None
    users, before = users_of(engine), dict[str, str]()
    with _tolerated():
        before = asyncio.run(_there(engine))
        asyncio.run(_widened(engine, users))
    return Widened(users, before)


def settled(engine: Engine, wide: Widened | None) -> tuple[str, ...]:
    """After a change: nobody may more than the files say. Return who may other things than before the change."""
    if wide is not None:
        with _tolerated():
            return asyncio.run(_secured(engine, wide.users, known=wide.before)).changed
    return ()


def put_back(engine: Engine, wide: Widened | None) -> None:
    """After a change that failed, so that what ran before runs: let each user be allowed what it was."""
    if wide is not None and wide.before:
        with _tolerated():
            asyncio.run(_put_back(engine, wide))


async def _there(engine: Engine) -> dict[str, str]:
    async with _server(engine) as server:
        return {} if server is None else await server.users()


async def _widened(engine: Engine, users: Users) -> None:
    passwords = _passwords(engine, users)
    wide = [replace(one, rules=tuple(word for word in one.rules if word not in TAKING)) for one in users.known]
    async with _server(engine) as server:
        if server is not None:
            await server.make(wide, passwords.hashes)
        _write(engine, passwords.fresh)


async def _put_back(engine: Engine, wide: Widened) -> None:
    names = [user_of(engine.settings.name, one.who) for one in wide.users.known]
    async with _server(engine) as server:
        for name in names:
            if server is not None and name in wide.before:  # its passwords stay as they are
                words = [word for word in wide.before[name].split()[2:] if not word.startswith("#")]
                await server.execute("ACL", "SETUSER", name, *TAKING, *words)


@contextmanager
def _tolerated() -> Iterator[None]:
    """What Redis does not do now is logged; the hive goes on."""
    try:
        yield
    except RedisError as error:
        log.warning("the users in Redis are not as the hive's files say: %s; `hived secure` tries again", error)


def acl_lines(hive: str, users: Iterable[User], hashes: Mapping[str, str]) -> list[str]:
    """The lines of an aclfile; where no hash is known, a place to put it."""
    return [
        f"user {user_of(hive, one.who)} {' '.join(one.rules)} #{hashes.get(one.who, '<sha256 of the password>')}"
        for one in users
    ]


async def _secured(
    engine: Engine,
    users: Users,
    admin: Endpoint | None = None,
    *,
    rotate: bool = False,
    known: Mapping[str, str] | None = None,
) -> Secured:
    """``known`` is what each user was allowed before all this, where that is not what it is allowed now."""
    passwords, own = _passwords(engine, users, rotate=rotate), _own(engine)
    before: Mapping[str, str] = {}
    async with _server(engine, admin) as server:
        if server is not None:
            before = known or await server.users()
            await server.make(users.known, passwords.hashes)  # old ones hold, too, until the files have the new ones
        _write(engine, passwords.fresh)
        if own is not None:
            _write_acl(own, engine.settings.name, users, passwords.hashes, before)
        if server is None:
            return Secured(tuple(one.who for one in users.known), unknown=users.unknown, is_live=False)
        gone = await server.settle(users, passwords.hashes, passwords.old, before)
        return await server.report(users, before, gone, rotated=rotate)


def _own(engine: Engine) -> Embedded | None:
    """The Redis that is the hive's own, if it has one."""
    return None if engine.settings.redis_url else Embedded.of(engine.settings)


@asynccontextmanager
async def _server(engine: Engine, admin: Endpoint | None = None) -> AsyncIterator[Server | None]:
    """The server in which the users are; None where it is the hive's own and does not run. Raises RedisError."""
    own = _own(engine)
    if own is not None and not own.answers():
        yield None
        return
    server = Server(engine, own, engine.settings.name)
    try:
        await server.open(admin)
        yield server
    finally:
        await server.aclose()


@dataclass(frozen=True, slots=True)
class _Passwords:
    """The ``fresh`` passwords of users, the ``hashes`` of all that shall hold, and of the ``old`` ones that shall not;
    each by who has it.
    """

    fresh: Mapping[str, str]
    hashes: Mapping[str, str]
    old: Mapping[str, str]


def _passwords(engine: Engine, users: Users, *, rotate: bool = False) -> _Passwords:
    logins = _logins(engine.paths.var, engine.settings.name, users)
    fresh = {one.who: secrets.token_urlsafe(BYTES) for one in users.known if rotate or one.who not in logins}
    hashes = {who: _hash(password) for who, password in {**logins, **fresh}.items()}
    return _Passwords(fresh, hashes, {who: _hash(password) for who, password in logins.items() if who in fresh})


def _logins(var: Path, hive: str, users: Users) -> dict[str, str]:
    """The passwords that there are; those of another hive's name are none."""
    found = {}
    for one in users.known:
        with suppress(RedisDenied):
            login = credentials(var, one.who)
            if login is not None and login[0] == user_of(hive, one.who):
                found[one.who] = login[1]
    return found


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _write(engine: Engine, passwords: Mapping[str, str]) -> None:
    folder = folder_of(engine.paths.var)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for who, password in passwords.items():
        put(folder / who, f"{user_of(engine.settings.name, who)}:{password}\n".encode())


def _write_acl(own: Embedded, hive: str, users: Users, hashes: Mapping[str, str], before: Mapping[str, str]) -> None:
    """The users from which the server begins; of those who are ``unknown`` as they were there, or ``before`` in it."""
    lines = acl_lines(hive, users.known, hashes)
    default = f"user default {' '.join(of_default())}"
    own.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    old = {**before, **named(own.acl.read_text().splitlines() if own.acl.exists() else ())}
    kept = [old[name] for name in (user_of(hive, who) for who in users.unknown) if name in old]
    put(own.acl, "\n".join((default, *lines, *kept, "")).encode())
