"""`hm token`: makes what somebody shows to the root's page, and the key that signs it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from . import output

DAY = 86_400


@click.command()
@click.option("--role", type=click.Choice(["viewer", "operator"]), default="viewer", help="What they may do [viewer].")
@click.option("--days", type=click.FloatRange(0, 3650, min_open=True), default=30.0, help="How long it holds [30].")
@click.option("--name", default="", help="Who they are, for the root's log; else your own user name.")
@click.option("--new-key", type=click.Path(path_type=Path), metavar="FILE", help="Write a new key; make no token.")
@click.pass_context
def token(ctx: click.Context, role: str, days: float, name: str, new_key: Path | None) -> None:
    """Make a token for the root's page: a viewer looks, an operator also changes. Needs HIVE_KEY.

    It is shown once, and kept nowhere. A browser gives it to the login page, a program sends it with each request:
    Authorization: Bearer. It cannot be taken back but by changing the key, which ends all of them.

    Examples:
      hm token --new-key ../hive.key
      HIVEMIND_HIVE_KEY_FILE=../hive.key hm token --role operator --days 7 --name alice
    """
    if new_key is not None:
        _write_key(new_key)
        return
    import getpass
    import time

    from ..root.tokens import Role, Token, Tokens
    from .context import context_settings

    settings = context_settings(ctx)
    tokens = Tokens(settings.constants.HIVE_KEY, settings.name)
    name, until = name or getpass.getuser(), time.time() + days * DAY
    if len(name) > 100 or not name.isprintable():
        raise click.ClickException("a name has at most 100 characters, and they can be printed")
    output.note(f"{role} of {settings.name} until {time.strftime('%Y-%m-%d %H:%M', time.localtime(until))}: {name}")
    output.say(tokens.make(Token(name, Role(role), until)))


def _write_key(path: Path) -> None:
    """Write a new key where nothing is yet, for its owner's eyes only."""
    from ..root.tokens import new_key

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}; nothing was changed") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(new_key() + "\n")
    output.note(f"{path} has a new key: set HIVEMIND_HIVE_KEY_FILE={path.absolute()} where hived is started")
