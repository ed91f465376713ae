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
    """The settings of ``hive``; with a warning those with which it was last started, if these are broken, or it runs
    under another name or on another Redis.

    For commands that look at what runs, or end it: no mistake in a file may lock anybody out of that.
    """
    from ..last_settings import last_settings

    try:
        return as_it_runs(load_settings(hive, os.environ))
    except ConfigurationError as error:
        last = last_settings(hive) if hive is not None else None
        if last is None:
            raise
        output.warn(f"{redact(str(error))}; going by the settings with which the hive was last started")
        return last


def as_it_runs(settings: Settings) -> Settings:
    """``settings``; while the hive runs under another name, or on another Redis, than its files say by now, with a
    warning, those that it runs with.
    """
    from ..identity import PidFile
    from ..last_settings import last_settings
    from ..supervisor.paths import HivePaths

    if settings.hive is None or os.name == "nt" or PidFile(HivePaths.of(settings).supervisord).living() is None:
        return settings
    last = last_settings(settings.hive)
    if last is None:
        return settings
    found = {"HIVE_NAME": (settings.name, last.name), "REDIS_URL": (settings.redis_url, last.redis_url)}
    changed = [name for name, (now, then) in found.items() if now != then and _is_of_a_file(settings, name)]
    if not changed:
        return settings
    told = " and ".join(f"{name} ({settings.sources[name]})" for name in changed)
    are = "is" if len(changed) == 1 else "are"
    output.warn(f"{told} {are} not applied: this is the hive as it runs; `hived stop` and `hived start` apply it")
    return last


def _is_of_a_file(settings: Settings, name: str) -> bool:
    """Whether it was not asked for in this shell."""
    return not settings.sources[name].startswith("environment")


def announce(settings: Settings) -> None:
    """Say on standard error which hive on which Redis is shown; every command that shows a network does so first."""
    output.note(f"hive {settings.name} on {redis_address(settings)}")


def redis_address(settings: Settings) -> str:
    """The URL of the hive's Redis, without secrets; nothing is started for it."""
    return redact(settings.redis_url) or Embedded.of(settings).url
