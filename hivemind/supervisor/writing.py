"""What a start or a reload leaves in ``var``."""

from __future__ import annotations

import orjson

from .engine import Engine
from .plan import Plan, save
from .render import render


def write(engine: Engine, plan: Plan) -> None:
    """Write supervisord's configuration, the environments and the plan: all of it, or nothing where the disk is full.
    Raises ConfigurationError for awkward paths, OSError.
    """
    paths = engine.paths
    envs = {paths.program_env(each.name): orjson.dumps(dict(each.env)) for each in plan.programs if each.env}
    text = render(paths, plan.programs, engine.settings.log_file)
    save(paths, plan, {**envs, paths.conf: text.encode()})
    for program in plan.programs:
        if not program.env:
            paths.program_env(program.name).unlink(missing_ok=True)  # its keeper looks for it
