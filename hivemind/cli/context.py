"""Which hive a command is about."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..bus.embedded import Embedded
from ..errors import ConfigurationError, HiveNotFound
from ..settings import Settings, find_hive, load_settings, redact
from . import output


def context_hive(ctx: click.Context) -> Path | None:
    """The folder of the hive that a command is about: ``--hive``, ``HIVEMIND_HIVE``, upwards, one level down, None."""
    return find_hive(Path.cwd(), ctx.find_root().params.get("hive"), os.environ)


def context_settings(ctx: click.Context) -> Settings:
    """The settings of the hive that a command is about; outside any hive those of the hive `default`."""
    return load_settings(context_hive(ctx), os.environ)


def hive_settings(ctx: click.Context) -> tuple[Path, Settings]:
    """As context_settings, for commands that need a folder: HiveNotFound outside a hive."""
    hive = hive_folder(ctx)
    return hive, load_settings(hive, os.environ)


def hive_folder(ctx: click.Context) -> Path:
    """As context_hive, but HiveNotFound outside a hive."""
    hive = context_hive(ctx)
    if hive is None:
        raise HiveNotFound("Not a valid hive! Cannot find config/hive.py here or above: cd into a hive, or use --hive")
    return hive


def outside(settings: Settings) -> str:
    """The end of a message about what is not there: where one is in no hive, that, and what to do."""
    return "" if settings.hive else "; you are in no hive (no config/hive.py here or above): cd into one, or use --hive"


def settings_or_last(hive: Path | None) -> Settings:
    """The settings of ``hive``; if they are broken, with a warning, those with which it was last started.

    For commands that look at what runs, or end it: no mistake in a file may lock anybody out of that.
    """
    from ..last_settings import last_settings

    try:
        return load_settings(hive, os.environ)
    except ConfigurationError as error:
        last = last_settings(hive) if hive is not None else None
        if last is None:
            raise
        output.warn(f"{redact(str(error))}; going by the settings with which the hive was last started")
        return last


def announce(settings: Settings) -> None:
    """Say on standard error which hive on which Redis is shown; every command that shows a network does so first."""
    output.note(f"hive {settings.name} on {redis_address(settings)}")


def redis_address(settings: Settings) -> str:
    """The URL of the hive's Redis, without secrets; nothing is started for it."""
    return redact(settings.redis_url) or Embedded.of(settings).url
