"""What a start or a reload leaves in ``var``."""

from __future__ import annotations

import orjson

from .engine import Engine
from .files import write_private
from .plan import Plan, save
from .render import render


def write(engine: Engine, plan: Plan) -> None:
    """Write supervisord's configuration, the environments and the plan. Raises ConfigurationError for awkward paths."""
    text = render(engine.paths, plan.programs, engine.settings.log_file)
    for program in plan.programs:
        if program.env:
            write_private(engine.paths.program_env(program.name), orjson.dumps(dict(program.env)))
        else:
            engine.paths.program_env(program.name).unlink(missing_ok=True)  # its keeper looks for it
    draft = engine.paths.conf.with_suffix(".new")
    write_private(draft, text.encode())
    draft.replace(engine.paths.conf)
    save(engine.paths, plan)
