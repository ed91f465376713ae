"""Commands that look after a hive: config."""

from __future__ import annotations

import click

from . import output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of {constant, value, source}.")
@click.pass_context
def config(ctx: click.Context, *, as_json: bool) -> None:
    """Every setting: its value and where it came from.

    Secrets are shown as ***.

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


def _python(value: object) -> str:
    return value if isinstance(value, str) and value else repr(value)
