"""`hm docs`: the hive that runs, as an AsyncAPI document."""

from __future__ import annotations

import click

from . import output


@click.command()
@click.pass_context
def docs(ctx: click.Context) -> None:
    """Print what the hive that runs sends, receives and answers, as an AsyncAPI 3.0 document in JSON.

    Topics and requests, who sends and who receives, and what payloads are, as JSON Schema: by the annotations of
    handlers, where they have any. The root shows the same at /docs.

    Examples:
      hm docs > hive.json
      hm docs | jq '.channels | keys'
    """
    from ..bus.endpoint import Endpoint
    from ..picture.asyncapi import document
    from ..supervisor.engine import redis_url
    from .context import announce, context_hive, settings_or_last
    from .reading import read_instances, read_kept, read_topics
    from .watch import nobody

    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    instances = read_instances(settings)
    if not instances:
        output.note(nobody(settings))
    redis = Endpoint.parse(redis_url(settings), settings.var).redacted
    output.as_json(document(settings.name, redis, instances, [*read_topics(settings), *read_kept(settings)]))
