"""A backup made real again, on any server: after all of it was looked at, and where nobody lives and nothing is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..bus.commands import Commands, checked
from ..english import amount, listed
from ..errors import HivemindError, RedisError
from ..topics import Names
from .backup import count, keys_of, scanned
from .copy_file import BackupReader, Counts, Header
from .kinds import KINDS
from .layout import living_instances

#: what may stand in a backup, and nothing else is ever sent
ALLOWED = {
    *(kind.write.encode() for kind in KINDS.values()),
    *(b"XADD", b"XGROUP", b"XSETID", b"XCLAIM", b"PEXPIRE"),
}


def look(path: Path) -> tuple[Header, Counts]:
    """Read all of a backup; return what it is. Raises HivemindError where it is none, or not whole, and OSError."""
    with path.open("rb") as source:
        reader = BackupReader(source, str(path))
        names = Names(reader.header.hive)
        ours = (f"hm:{names.hive}:".encode(), f"hm:{{{names.hive}}}:".encode())
        for portion in reader.portions():
            for command in portion:
                if len(command) < 3 or command[0] not in ALLOWED or not _key(command).startswith(ours):
                    what = "there is something in it that no backup of a hive has"
                    raise HivemindError(f"{path}: {what}; nothing was touched")
        assert reader.counts is not None
        return reader.header, reader.counts


def _key(command: list[bytes]) -> bytes:
    return command[2] if command[0] == b"XGROUP" else command[1]


async def refuse_if_used(commands: Commands, names: Names, *, replace: bool) -> int:
    """How many keys there are that go. Raises HivemindError where the hive lives, or is not empty and shall not be
    replaced, and RedisError.
    """
    if living := await living_instances(commands, names):
        raise HivemindError(
            f"the hive {names.hive} lives there ({listed(living)}): stop it on every host, then restore"
        )
    there = len(await keys_of(commands, names))
    if there and not replace:
        raise HivemindError(
            f"the hive {names.hive} has {amount(there, 'key')} there: --replace removes them; nothing was touched"
        )
    return there


async def restore(commands: Commands, path: Path, told: Callable[[int], None]) -> Counts:
    """Put there what a backup has, in the place of what is there; ``told`` the number of commands so far. Return what
    is there then. Look at the file before. Raises HivemindError where it is not what the backup says, and RedisError.
    """
    with path.open("rb") as source:
        reader = BackupReader(source, str(path))
        names = Names(reader.header.hive)
        await _remove(commands, names)
        done = 0
        try:
            for portion in reader.portions():
                for reply in await commands.pipeline(portion):
                    checked(reply)
                done += len(portion)
                told(done)
        except RedisError as error:
            why = f"the copy is not whole, for Redis stopped taking it ({error})"
            raise HivemindError(f"{why}: restore it again, with --replace") from error
    found = await count(commands, names)
    if reader.counts is None or found.kept != reader.counts.kept:
        said = "" if reader.counts is None else reader.counts.text
        raise HivemindError(f"the copy is not what the backup says: {found.text}, and there should be {said}")
    return found


async def _remove(commands: Commands, names: Names) -> None:
    """All keys of the hive, also those of the living: there are none."""
    async for some in scanned(commands, names):
        await commands.execute("UNLINK", *some)
