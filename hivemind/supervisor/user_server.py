"""The server in which a hive's users are, as `hived secure` and hived speak with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..bus.commands import Commands, checked
from ..bus.credentials import HIVED, NODE, folder_of, is_secured
from ..bus.embedded import Embedded
from ..bus.endpoint import Endpoint
from ..bus.functions import Functions
from ..errors import RedisDenied, RedisError, RedisRefused, RedisUnavailable
from .engine import Engine, redis_url
from .rights import of_default, user_of
from .users import User, Users

PATIENCE = 3.0  # seconds for Redis to answer


@dataclass(frozen=True, slots=True)
class Secured:
    """What became of the users. ``is_live``: the server has them; else it will when it starts. ``unsaved`` says why it
    will have forgotten them when it starts again; ``is_open``: it lets in who says no name.
    ``forgets``: when it starts it may not do all that stands in its append-only file.
    """

    made: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_live: bool = True
    unsaved: str = ""
    is_open: bool = False
    forgets: bool = False


def named(lines: Iterable[str]) -> dict[str, str]:
    """Lines that say what a user may, by its name."""
    return {line.split(" ", 2)[1]: line for line in lines if line.startswith("user ")}


class Server:
    """The server in which the users are."""

    def __init__(self, engine: Engine, own: Embedded | None, hive: str) -> None:
        self._engine, self._own, self._hive = engine, own, hive
        self._commands: Commands | None = None

    async def open(self, admin: Endpoint | None) -> None:
        """Log in as somebody who may make users: ``admin``, hived, or, where all may, nobody; anew, if it was done
        before. Raises RedisError.
        """
        await self.aclose()
        url, var = redis_url(self._engine.settings), self._engine.paths.var
        hived = Endpoint.parse(url, var, HIVED) if is_secured(var) else None
        denied: RedisError | None = None
        for endpoint in (admin, hived, Endpoint.parse(url)):
            if endpoint is None:
                continue
            commands = Commands(endpoint, "hived:secure", timeout=PATIENCE)
            try:
                await commands.execute("ACL", "LIST")
            except RedisDenied as error:
                denied = denied or error
                await commands.aclose()
            except BaseException:
                await commands.aclose()
                raise
            else:
                self._commands = commands
                return
        raise RedisDenied(
            f"nobody of us may make users there ({denied}): write the URL of somebody who may into a file, mode 0600, "
            "and run `hived secure --admin FILE`"
        )

    async def aclose(self) -> None:
        """Close the connection."""
        if self._commands is not None:
            await self._commands.aclose()

    async def execute(self, *words: str) -> Any:
        """One command. Raises RedisError."""
        assert self._commands is not None
        return await self._commands.execute(*words)

    async def users(self) -> dict[str, str]:
        """All users, by name, with what they may, as Redis writes it."""
        return named(line.decode(errors="replace") for line in await self.execute("ACL", "LIST"))

    async def make(
        self, users: Iterable[User], hashes: Mapping[str, str], drop: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Make users, or change them; ``drop`` are words that take passwords from them."""
        asked = [
            (user_of(self._hive, one.who), *(drop or {}).get(one.who, ()), *one.rules, f"#{hashes[one.who]}")
            for one in users
        ]
        assert self._commands is not None
        for reply in await self._commands.pipeline([("ACL", "SETUSER", *words) for words in asked]):
            checked(reply)

    async def settle(
        self, users: Users, hashes: Mapping[str, str], old: Mapping[str, str], before: Mapping[str, str]
    ) -> list[str]:
        """Let old passwords and old users hold no more, nor, on a server of the hive's own, anybody without a name;
        return which users are gone.
        """
        await self.make(users.known, hashes, await self._dropping(users, old))
        assert self._commands is not None
        with suppress(RedisError):  # else hived does it, when it next calls one
            await Functions(self._commands).ready("late")  # none of the others may load them
        wanted = {user_of(self._hive, who) for who in (*(one.who for one in users.known), *users.unknown)}
        gone = [name for name in before if name.startswith(user_of(self._hive, NODE)) and name not in wanted]
        for name in gone:
            await self.execute("ACL", "DELUSER", name)
            (folder_of(self._engine.paths.var) / self._short(name)).unlink(missing_ok=True)
        if self._own is not None:
            await self.open(None)  # as hived, if it was not: nobody else may from now on
            await self.execute("ACL", "SETUSER", "default", *of_default())
        return gone

    async def clear(self, admin: Endpoint | None) -> str:
        """Let no user of the hive be there any more; why the server does not keep it so, if so."""
        ours = [name for name in await self.users() if name.startswith(user_of(self._hive, ""))]
        hived = user_of(self._hive, HIVED)
        if self._own is not None:
            await self.execute("ACL", "SETUSER", "default", "on", "nopass")
        for name in ours:
            if name != hived:
                await self.execute("ACL", "DELUSER", name)
        unsaved = ""
        if self._own is None:
            if hived in ours:  # it may be we who save, and can be gone only afterwards: till then nobody logs in by it
                await self.execute("ACL", "SETUSER", hived, "off", "resetpass")
            unsaved = await self._save()
        if hived in ours:
            with suppress(RedisUnavailable):  # where it is we, the connection ends with it
                await self.execute("ACL", "DELUSER", hived)
            if self._own is None:
                with suppress(RedisError):  # then the server may keep it, without a password, and off
                    await self.open(admin)
                    await self._save()
        return unsaved

    async def _dropping(self, users: Users, old: Mapping[str, str]) -> dict[str, Sequence[str]]:
        """The words that take from each user the passwords that shall hold no more: each host has some of its own."""
        if not self._engine.settings.constants.HOSTS:
            return {one.who: ("resetpass",) for one in users.known}
        there = await self.users()
        return {who: (f"!{each}",) for who, each in old.items() if f"#{each}" in there[user_of(self._hive, who)]}

    async def report(self, users: Users, before: Mapping[str, str], gone: Sequence[str], *, rotated: bool) -> Secured:
        """What has changed; who is connected by what does not hold any more is cut off."""
        after = await self.users()
        ours = {name: line for name, line in after.items() if name.startswith(user_of(self._hive, ""))}
        for name in (*(ours if rotated else ()), *(["default"] if after["default"] != before["default"] else ())):
            await self.execute("CLIENT", "KILL", "USER", name)
        changed = [name for name, line in ours.items() if name in before and before[name] != line]
        nobody = after["default"].split()
        return Secured(
            tuple(self._short(name) for name in ours if name not in before),
            tuple(map(self._short, changed)),
            tuple(map(self._short, gone)),
            users.unknown,
            unsaved="" if self._own is not None else await self._save(),
            is_open="on" in nobody and "nopass" in nobody,
            forgets=not {"~*", "&*", "+@all"} <= {*nobody} or any(word.startswith("-") for word in nobody),
        )

    def _short(self, name: str) -> str:
        return name.removeprefix(user_of(self._hive, ""))

    async def _save(self) -> str:
        """Let a server that is not ours keep its users; why it does not, if so."""
        try:
            await self.execute("ACL", "SAVE")
        except RedisRefused:  # it has no aclfile: then its configuration has the users
            try:
                await self.execute("CONFIG", "REWRITE")
            except RedisError as error:
                return str(error)
        except RedisDenied as error:
            return str(error)
        return ""
