"""`hived secure`: a Redis user for each process of the hive, with what it needs and no more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import output
from .groups import FAILED, WELL

if TYPE_CHECKING:
    from ..bus.endpoint import Endpoint
    from ..supervisor.engine import Engine
    from ..supervisor.user_server import Secured


@click.command()
@click.option("--rotate", is_flag=True, help="New passwords for all; who is connected has to log in anew.")
@click.option(
    "--admin",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with the URL of somebody who may make users; needed once, where REDIS_URL names a server.",
)
@click.option("--undo", is_flag=True, help="Take the users away again: whoever reaches Redis may do everything.")
@click.option("--refused", is_flag=True, help="Only show what Redis has refused users of the hive lately.")
@click.option("--print", "show", is_flag=True, help="Only show what each would be allowed, as an aclfile says it.")
@click.pass_context
def secure(ctx: click.Context, *, rotate: bool, admin: Path | None, undo: bool, refused: bool, show: bool) -> int:
    """Give every process of the hive a Redis user of its own, which may do what its nodes declare, and no more.

    From then on each logs in with a password of its own, from a file in var/secure; hived does this for new nodes at
    start and reload. It may run while the hive does, and as often as one likes: what is there stays. No password is
    shown, or stands on a command line.

    Examples:
      hived secure
      hived secure --rotate
      hived secure --admin /run/secrets/redis-admin-url
      hived secure --refused
      hived secure --print
      hived secure --undo
    """
    from ..supervisor.engine import engine_for
    from ..supervisor.secure import secure as make
    from ..supervisor.secure import unsecure
    from .context import announce, hive_settings

    _, settings = hive_settings(ctx)
    engine = engine_for(settings)
    if show:
        return _show(engine)
    announce(settings)
    if refused:
        return _refused(engine)
    try:
        if undo:
            gone = unsecure(engine, _admin(admin))
            output.say(f"removed: {', '.join(gone.removed)}" if gone.removed else "the hive was not secured")
            if gone.unsaved:
                output.warn(f"this Redis may know them again when it starts again: {gone.unsaved}")
            return WELL
        done = make(engine, _admin(admin), rotate=rotate)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    return _tell(done, rotated=rotate)


def _show(engine: Engine) -> int:
    from ..supervisor.secure import acl_lines
    from ..supervisor.users import users_of

    users = users_of(engine)
    for line in acl_lines(engine.settings.name, users.known, {}):
        output.say(line)
    return _warn(users.unknown)


def _refused(engine: Engine) -> int:
    from ..english import duration
    from ..supervisor.refusals import refusals

    found = refusals(engine)
    rows = [(one.who, one.kind, one.what, one.count, f"{duration(one.ago)} ago") for one in found]
    if rows:
        output.table(("user", "refused", "which", "times", "last"), rows)
    else:
        output.say("nothing was refused")
    return WELL


def _admin(file: Path | None) -> Endpoint | None:
    from ..bus.endpoint import Endpoint

    return None if file is None else Endpoint.parse(file.read_text(encoding="utf-8").strip())


def _tell(done: Secured, *, rotated: bool) -> int:
    for what, names in (("made", done.made), ("changed", done.changed), ("removed", done.removed)):
        if names:
            output.say(f"{what}: {', '.join(names)}")
    if not (done.made or done.changed or done.removed):
        output.say("nothing had to be changed")
    if rotated:
        output.note("all passwords are new: who was connected by an old one logs in anew")
    if not done.is_live:
        output.note("the hive's Redis does not run: it will know them when it starts")
    if done.unsaved:
        output.warn(f"this Redis keeps its users only until it starts again ({done.unsaved}): give it an aclfile")
    if done.is_open:
        output.warn(
            "this Redis still lets in who says no name: end that, when nobody needs it, with `ACL SETUSER default off`"
        )
    if done.forgets:
        output.warn(
            "this Redis does what stands in its append-only file in the name of default, which may not do all of that: "
            "it can lose data when it starts; `ACL SETUSER default off allkeys allchannels +@all` ends that"
        )
    return _warn(done.unknown)


def _warn(unknown: tuple[str, ...]) -> int:
    for who in unknown:
        output.warn(f"{who}: a node of it cannot be loaded, and nobody knows what it needs; its user stays as it was")
    return FAILED if unknown else WELL
