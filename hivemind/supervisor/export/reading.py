"""What there is to export: the nodes that the hive enables and that can be loaded, as often as it wants them."""

from __future__ import annotations

from ..desired import read_scale
from ..enabled import existing_imports
from ..engine import Engine
from ..plan import known_enabled
from ..topology import Problem, node_plans
from .workloads import Hive, hive_of


def read(engine: Engine) -> tuple[Hive, list[Problem]]:
    """The hive, without its broken nodes, and what is wrong with these.

    What `hm dev` chose and what `hm stop` stopped makes no difference. Raises ConfigurationError when the settings
    contradict the hive, and SupervisorError for what the system refuses.
    """
    paths = engine.paths
    with paths.writing():
        paths.make()
        enabled, problems = known_enabled(paths, engine.environ)
        nodes = node_plans(engine.settings, enabled, existing_imports(paths.hive))
        broken = engine.check(nodes)
    names = {problem.node for problem in broken}
    sound = [node for node in nodes if node.name not in names]
    return hive_of(engine.settings, sound, read_scale(paths)), [*problems, *broken]
