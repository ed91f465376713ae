"""Commands that look after a hive: config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import output

if TYPE_CHECKING:
    from ..settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of {constant, value, source}.")
@click.pass_context
def config(ctx: click.Context, *, as_json: bool) -> None:
    """Every setting: its value and where it came from. Exits 1 if what a setting names is not there.

    Secrets are shown as ***. It looks whether all nodes in NODES exist, and whether MIDDLEWARE can be imported.

    Examples:
      hm config
      HIVEMIND_LOG_LEVEL=DEBUG hm config --json
    """
    from .context import context_settings

    settings = context_settings(ctx)
    output.note(
        f"hive {settings.name} in {settings.hive}" if settings.hive else f"hive {settings.name}, outside any hive"
    )
    rows = [(name, value, settings.sources[name]) for name, value in settings.shown().items()]
    if as_json:
        output.as_json([{"constant": name, "value": value, "source": source} for name, value, source in rows])
    else:
        output.table(("constant", "value", "from"), [(name, _python(value), source) for name, value, source in rows])
    _check(settings)


def _check(settings: Settings) -> None:
    """Raise ConfigurationError where a setting names what is not there."""
    import os

    from ..picture.declared import enabled
    from ..supervisor.check import check_settings
    from ..supervisor.enabled import existing_imports
    from ..supervisor.topology import node_plans

    if settings.hive is not None:
        node_plans(settings, list(enabled(settings).values()), existing_imports(settings.hive))
    check_settings(settings, os.environ)


def _python(value: object) -> str:
    return value if isinstance(value, str) and value else repr(value)
