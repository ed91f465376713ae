"""`hived export`: the same hive on another engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import output
from .groups import FAILED, WELL

if TYPE_CHECKING:
    from ..settings import Settings
    from ..supervisor.export.files import File
    from ..supervisor.export.workloads import Hive

ENGINES = ("kubernetes", "compose", "systemd")


@click.command()
@click.argument("engine", type=click.Choice(ENGINES))
@click.option("--out", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path), help="Write files into it.")
@click.option("--replace", is_flag=True, help="Replace files that are there and say something else.")
@click.option("--image", metavar="NAME", help="What the containers' image is called; else the hive's name.")
@click.pass_context
def export(ctx: click.Context, engine: str, out: Path | None, *, replace: bool, image: str | None) -> int:
    """Say how to run this hive without hived: under Kubernetes, docker compose, or systemd alone.

    Without --out it is printed. With it the Dockerfile of the image is written, too. Nothing secret is written: the
    texts say where Redis's URL, and whatever NODES has in env that sounds like a secret, is taken from.

    Examples:
      hived export kubernetes | less
      hived export kubernetes --image registry.example.org/gotham:7 --out deploy
      hived export compose --out .
      hived export systemd --out units && sudo cp units/* /etc/systemd/system
    """
    from ..supervisor.engine import engine_for
    from ..supervisor.export.files import write
    from ..supervisor.export.reading import read
    from .context import hive_settings

    if image is not None and engine == "systemd":
        raise click.UsageError("--image: systemd runs the hive in its folder, without an image")
    if replace and out is None:
        raise click.UsageError("--replace: only with --out is anything written")
    _, settings = hive_settings(ctx)
    hive, problems = read(engine_for(settings))
    files = _files(engine, hive, image, out)
    for problem in problems:
        output.warn(f"{problem}; the others are exported")
    _remarks(hive, settings, engine)
    if out is None:
        _show(files)
    else:
        for name, what in write(out, files, replace=replace).items():
            output.say(f"{what}: {out / name}")
    return FAILED if problems else WELL


def _files(engine: str, hive: Hive, image: str | None, out: Path | None) -> list[File]:
    from ..supervisor.export.compose import compose
    from ..supervisor.export.image import default_image, image_files
    from ..supervisor.export.kubernetes import kubernetes

    if engine == "systemd":
        return _units(hive)
    image = image or default_image(hive)
    folder = (out or hive.folder).absolute()
    inside = os.path.relpath(folder, hive.folder)
    made = image_files(hive, image, (hive.folder / "requirements.txt").is_file(), inside)
    if engine == "kubernetes":
        return [*kubernetes(hive, image), *made]
    dockerfile = os.path.relpath(folder / made[0].name, hive.folder)
    return [*compose(hive, image, os.path.relpath(hive.folder, folder), dockerfile), *made]


def _units(hive: Hive) -> list[File]:
    from dataclasses import replace

    from ..supervisor.engine import embedded_redis
    from ..supervisor.export.systemd import systemd

    temporary = Path("/tmp")  # whatever it is for who types this: what systemd starts has this one
    redis = embedded_redis(replace(hive.settings, temporary=temporary))
    command, url = (redis.command, redis.url) if redis is not None else ((), "")
    return systemd(hive, sys.executable, _owner(hive.folder), command, url)


def _owner(folder: Path) -> str:
    """Whose a folder is, by name or, where that user has none, by number."""
    try:
        return folder.owner()
    except KeyError:
        return str(folder.stat().st_uid)


def _remarks(hive: Hive, settings: Settings, engine: str) -> None:
    """What somebody has to see to, and what is not as under hived."""
    from ..settings import redact

    source = settings.sources["REDIS_URL"]
    if engine != "systemd" and redact(settings.redis_url) != settings.redis_url and source.startswith("config"):
        output.warn(f"{source}: a password is in REDIS_URL, so it would be in the image, too: take it out of that file")
    if engine == "kubernetes" and hive.has_own_redis:
        output.note(
            "this hive's Redis is its own: have one that the cluster reaches; `hm redis backup` takes along what it has"
        )
    if engine == "compose":
        output.note("the page is not served in a container: `docker compose exec NODE hm status` shows the hive")
    hidden = [f"{name} of {each.name}" for each in hive.workloads for name in each.hidden]
    if hidden:
        output.note(f"secret, so only referred to: {', '.join(hidden)}")


def _show(files: Sequence[File]) -> None:
    """Print what an engine is given; several files each under its name."""
    main, beside = [each for each in files if each.is_main], [each.name for each in files if not each.is_main]
    for file in main:
        heading = ["", f"# ---- {file.name}", ""] if len(main) > 1 else []
        output.write_lines([*heading, *file.text.splitlines()])
    if beside:
        output.note(f"--out FOLDER writes this, and {' and '.join(beside)}")
