"""`hm roll`: ask every hived of the hive to let its instances go over to what their files and settings are now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import output
from .control import NODES, and_, answered
from .groups import FAILED, WELL

if TYPE_CHECKING:
    from ..supervisor.control import Answer


@click.command()
@NODES
@click.option(
    "--max-unavailable",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Stop and start N at a time, without successors: for nodes of which no two copies may live side by side.",
)
@click.pass_context
def roll(ctx: click.Context, nodes: tuple[str, ...], max_unavailable: int | None) -> int:
    """Let nodes go over to their code and settings as they are now, one instance after the other, and lose nothing.

    Each instance gets a successor. When that is ready, the old one handles what it has and ends, and the successor goes
    on with the very next message. A successor that does not get ready leaves the old one as it is; one that is not well
    after it took over goes back to the last version with which all was well. Either ends the roll: what has not had its
    turn is not touched.

    NODE is a node, one instance such as batman.1, @tag, or @all.

    Examples:
      hm roll batman
      hm roll @all
      hm roll @heroes --max-unavailable 2
    """
    from ..supervisor.actions import Request, Verb
    from ..supervisor.rollout import AT_ONCE

    options = {} if max_unavailable is None else {AT_ONCE: str(max_unavailable)}
    shown = _Shown()
    acting = answered(ctx, Request(Verb.ROLL, nodes, options=options), tell=shown.hear)
    output.end_progress()
    return shown.end(acting)


class _Shown:
    """One line for each instance that is through, and, for a person who waits, what is being done."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], bool] = {}
        self._hosts: set[str] = set()
        self._meant: dict[str, int] = {}  # of each host, how many instances

    def hear(self, answer: Answer) -> None:
        """Print what is new in an answer."""
        if answer.programs:
            self._hosts.add(answer.hived.host)
            self._meant[answer.hived.host] = len(answer.programs)
        width = max(map(len, answer.programs), default=0) + 1
        for one in answer.results:
            key = answer.hived.host, one.program
            if key not in self._said:
                self._said[key] = one.ok
                output.end_progress()
                where = f"{answer.hived.host}  " if len(self._hosts) > 1 else ""
                output.say(f"{where}{f'{one.program}:':<{width}} {one.text}", "" if one.ok else "red")
        if answer.doing and not answer.done:
            meant = sum(self._meant.values())
            output.progress(answer.doing, len(self._said) / meant if meant > 1 else None)

    def end(self, acting: list[Answer]) -> int:
        """Say what is left to say; return the exit code."""
        if not acting:
            return FAILED
        for answer in acting:
            late = [name for name in answer.programs if (answer.hived.host, name) not in self._said]
            if not answer.done:
                output.error(
                    f"hived on {answer.hived.host} says nothing any more; `hived status` there shows {and_(late)}"
                )
            if answer.waiting:
                output.note(f"there are changes for {and_(answer.waiting)}: `hived reload` applies them")
        return WELL if all(self._said.values()) and all(answer.done for answer in acting) else FAILED
