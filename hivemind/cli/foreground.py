"""What a hive in the foreground looks like in the terminal."""

from __future__ import annotations

import contextlib
import zlib

from ..supervisor.engine import Engine
from ..supervisor.foreground import Foreground, Job
from ..supervisor.log_folder import claim
from ..supervisor.topology import Problem, Selection
from . import output
from .context import redis_address
from .groups import WELL

COLOURS = ("cyan", "green", "magenta", "blue", "yellow")
LOUD = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class Terminal:
    """Shows one line an entry: the program's name in a colour of its own, then the text. Nobody has to read it."""

    def entry(self, program: str, width: int, level: str, text: str) -> None:
        """Show one line of a program's log, with its level where that is loud; DEBUG lines are for the files only."""
        if level == "DEBUG":
            return
        name = program.ljust(width)
        colour = COLOURS[zlib.crc32(program.encode()) % len(COLOURS)]
        shown = f"{level} {text}" if level in LOUD else text
        with contextlib.suppress(OSError):  # the reader went away: the hive stays
            for line in shown.split("\n"):
                output.labelled(name, colour, line, LOUD.get(level, ""))

    def say(self, text: str) -> None:
        """Show a remark of ours."""
        with contextlib.suppress(OSError):
            output.note(text)

    def warn(self, text: str) -> None:
        """Show what is not as it should be, but hinders nothing."""
        with contextlib.suppress(OSError):
            output.warn(text)

    def problem(self, problem: Problem) -> None:
        """Show why a node does not run."""
        self.warn(f"{problem}; the others run")


def watch(engine: Engine, selection: Selection | None = None, job: Job | None = None) -> int:
    """Run the hive of ``engine`` in the foreground until it has stopped, and return the exit code."""
    terminal, settings = Terminal(), engine.settings
    terminal.say(f"hive {settings.name} on {redis_address(settings)}; Ctrl-C stops it")
    if mixed := claim(settings):
        terminal.warn(mixed)
    if not Foreground(engine, terminal, selection or Selection(), job).run():
        output.say(f"hive {settings.name} already runs; `hived stop` stops it, `hived status` shows it")
        return WELL
    terminal.say(f"hive {settings.name} has stopped")
    return WELL
