"""`hm`: the command line of a hive.

To add a command: write a click function in the file of its family (its docstring is its help, with an
``Examples:`` block), and one line in SECTIONS. Heavy imports go inside the function, so that `hm -h` stays fast.
"""

from __future__ import annotations

import click

from .. import __version__
from .groups import VERSION, SectionGroup

SECTIONS = {
    "Start": {
        "new": "start:new",
        "create_node": "start:create_node",
        "dev": "dev:dev",
        "run": "run:run",
        "root": "run:root",
        "start": "control:start",
        "stop": "control:stop",
        "restart": "control:restart",
        "roll": "roll:roll",
        "scale": "control:scale",
        "completion": "completion:completion",
    },
    "Talk": {
        "tail": "talk:tail",
        "rate": "rate:rate",
        "pub": "talk:pub",
        "request": "talk:request",
        "record": "record:record",
        "play": "record:play",
    },
    "Watch": {
        "status": "status:status",
        "top": "top:top",
        "nodes": "watch:nodes",
        "topics": "topics:topics",
        "graph": "graph:graph",
        "docs": "docs:docs",
        "lag": "lag:lag",
        "why": "why:why",
        "logs": "logs:logs",
    },
    "Repair": {
        "config": "repair:config",
        "doctor": "doctor:doctor",
        "token": "token:token",
        "dead": "dead:dead",
        "forget": "forget:forget",
        "drill": "drill:drill",
        "redis": "redis_server:redis",
    },
}


@click.group(cls=SectionGroup, sections=SECTIONS)
@click.option("--hive", metavar="PATH", help="The hive's folder; else HIVEMIND_HIVE, or the hive one is in.")
@click.version_option(__version__, message=VERSION)
def hm(hive: str | None) -> None:
    """Networks of small processes: set up a hive, run its nodes, watch and repair them.

    `hm COMMAND -h` tells more, with examples.
    """


def main() -> None:
    """What the console script `hm` runs."""
    hm(prog_name="hm")


if __name__ == "__main__":
    main()
