"""`hm redis backup` and `hm redis restore`: an exact copy of what a hive keeps in Redis, in one file, and back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import HivemindError, RedisUnavailable
from . import output

if TYPE_CHECKING:
    from ..bus.commands import Commands
    from ..bus.endpoint import Endpoint
    from ..settings import Settings

TOLD = 0.3  #: seconds between two words on how far it is
PATIENT = 60.0  #: seconds that Redis may take for one portion


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def backup(ctx: click.Context, file: Path) -> None:
    """Copy all that the hive keeps in Redis into a file: streams, groups with what is pending, data, incarnations.

    The hive may run meanwhile. Then each topic is in the file as it was when its turn came: what was sent later is not,
    and what was acknowledged later is pending, and is handled once more where it is restored.

    Only its owner can read it.

    Examples:
      hm redis backup monday.hive
    """
    from ..data.backup import backup as copy
    from ..data.copy_file import Counts
    from ..topics import Names
    from .context import announce, context_settings

    settings = context_settings(ctx)
    announce(settings)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    if file.exists():
        raise click.ClickException(f"{file} is there already: give another name, or remove it")
    began = time.monotonic()
    try:
        with served(settings) as endpoint, open(draft, "xb", opener=_for_its_owner) as out:
            told = told_now_and_then(lambda counts: counts.text)
            done: Counts = _run(endpoint, lambda commands: copy(commands, Names(settings.name), out, told))
            os.fsync(out.fileno())
        draft.replace(file)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from None
    finally:
        output.end_progress()
        draft.unlink(missing_ok=True)
    lost = f"; of {done.left_out:,} more pending the message is gone: they are not in it" if done.left_out else ""
    size = f"{file.stat().st_size / 2**20:.1f} MiB"
    output.say(f"{file}: {done.text}{lost}; {size} in {time.monotonic() - began:.1f} s")


@click.command()
@click.option("--to", "url", metavar="URL", help="Into that Redis; else into the hive's.")
@click.option("--replace", is_flag=True, help="Remove what the hive has there.")
@click.option("--yes", is_flag=True, help="Do not ask before something is removed.")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def restore(ctx: click.Context, file: Path, url: str | None, *, replace: bool, yes: bool) -> None:
    """Put what `hm redis backup` wrote back into Redis, of any version from 7 on. The hive must be stopped.

    All of the file is looked at first: if it is not whole, or no backup of this hive, nothing is touched. Afterwards it
    is counted whether all is there.

    Examples:
      hm redis restore monday.hive
      hm redis restore monday.hive --to redis://there:6379
      hm redis restore monday.hive --replace
    """
    from ..data.restore import look, refuse_if_used
    from ..data.restore import restore as put
    from ..topics import Names

    try:
        header, counts = look(file)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror}") from None
    output.note(f"{file}: the hive {header.hive}, copied at {header.made} from {header.server}: {counts.text}")
    names, began = Names(header.hive), time.monotonic()
    with _target(ctx, url, header.hive) as endpoint:
        there = _run(endpoint, lambda commands: refuse_if_used(commands, names, replace=replace))
        confirm_removal(there, header.hive, yes=yes)
        told = told_now_and_then(lambda done: f"{done:,} commands done")
        try:
            found = _run(endpoint, lambda commands: put(commands, file, told))
        finally:
            output.end_progress()
    output.say(f"restored and counted: {found.text}, in {time.monotonic() - began:.1f} s")


def _for_its_owner(path: str, flags: int) -> int:
    """Every message is in a backup."""
    return os.open(path, flags, 0o600)


def confirm_removal(there: int, hive: str, *, yes: bool) -> None:
    """Ask before so many keys are removed, if there are any. Raises ClickException where nobody says yes."""
    from ..english import amount
    from .asked import confirmed

    if there and not yes and not confirmed(f"remove {amount(there, 'key')} of the hive {hive}?", "nothing was touched"):
        raise click.ClickException("nothing was touched")


@contextmanager
def _target(ctx: click.Context, url: str | None, hive: str) -> Iterator[Endpoint]:
    """The Redis to restore into. Raises HivemindError where that is another hive's."""
    from ..bus.endpoint import Endpoint
    from ..data.destination import unreached
    from .context import announce, context_settings

    if url is not None:
        endpoint = single(Endpoint.parse(url))
        if "hive=" in url and endpoint.hive != hive:
            raise HivemindError(
                f"the backup is of the hive {hive}, and the URL says {endpoint.hive}; nothing was touched"
            )
        endpoint = endpoint.of(hive)
        try:
            _run(endpoint, lambda commands: commands.execute("PING"))
        except RedisUnavailable as error:
            raise HivemindError(f"{unreached(endpoint, str(error))}; nothing was touched") from error
        yield endpoint
        return
    settings = context_settings(ctx)
    announce(settings)
    if settings.name != hive:
        raise HivemindError(f"the backup is of the hive {hive}, and this is {settings.name}; nothing was touched")
    with served(settings) as endpoint:
        yield endpoint


@contextmanager
def served(settings: Settings) -> Iterator[Endpoint]:
    """The hive's Redis; its own one runs for as long as it takes, if it did not."""
    from ..bus.embedded import Embedded
    from ..bus.endpoint import Endpoint

    if settings.redis_url:
        yield single(Endpoint.parse(settings.redis_url, settings.var)).of(settings.name)
        return
    own = Embedded.of(settings)
    was_there = own.answers()
    url = own.ensure()
    try:
        yield Endpoint.parse(url, settings.var).of(settings.name)
    finally:
        if not was_there:
            own.stop()


def single(endpoint: Endpoint) -> Endpoint:
    """It, unless it is a Cluster. Raises HivemindError."""
    if endpoint.is_cluster:
        raise HivemindError("what a hive has on a Cluster cannot be copied yet; docs/backup.md says what can")
    return endpoint


def _run(endpoint: Endpoint, what: Callable[[Commands], Any]) -> Any:
    """Do something with that Redis. Raises what it raises."""
    import asyncio

    from ..bus.commands import Commands
    from .reading import quiet

    async def run() -> Any:
        async with Commands(endpoint, "hm", timeout=PATIENT) as commands:
            return await what(commands)

    quiet()
    return asyncio.run(run())


def told_now_and_then(text: Callable[[Any], str]) -> Callable[[Any], None]:
    """Tells a person who waits how far it is, now and then."""
    last = time.monotonic()

    def told(how_far: Any) -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD:
            last = time.monotonic()
            output.progress(text(how_far))

    return told
