"""What a hive in the foreground looks like in the terminal."""

from __future__ import annotations

import contextlib
import time
import zlib

from ..log_lines import JsonForm, Said
from ..supervisor.engine import Engine
from ..supervisor.follow import Entry
from ..supervisor.foreground import Foreground, Job
from ..supervisor.last_words import TRACEBACK
from ..supervisor.log_folder import claim
from ..supervisor.topology import Problem, Selection
from . import output
from .context import redis_address
from .groups import WELL

COLOURS = ("cyan", "green", "magenta", "blue", "yellow")
LOUD = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class Terminal:
    """Shows one line an entry: the program's name in a colour of its own, then the text. Nobody has to read it."""

    def entry(self, entry: Entry, width: int) -> None:
        """Show one entry of a log, with its level where that is loud; DEBUG lines are for the files only."""
        level = entry.line.level
        if level == "DEBUG":
            return
        name = entry.program.ljust(width)
        colour = COLOURS[zlib.crc32(entry.program.encode()) % len(COLOURS)]
        shown = f"{level} {entry.text}" if level in LOUD else entry.text
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


class JsonTerminal(Terminal):
    """Shows the entries as LOG_FORMAT = "json" has them in the files, for whoever collects standard output."""

    def __init__(self, hive: str) -> None:
        self._hive = hive

    def entry(self, entry: Entry, width: int) -> None:
        """Show one entry as an object in a line; what a program printed before its log was open is one, too."""
        del width
        line = entry.line
        text, begins, trace = line.text.partition(f"\n{TRACEBACK}")
        said = Said(
            line.time or time.time(),
            line.level or "INFO",
            line.name or entry.program,
            text,
            f"{TRACEBACK}{trace}" if begins else "",
            line.topic,
            line.message,
        )
        with contextlib.suppress(OSError):
            output.write_lines([JsonForm(self._hive, line.instance or entry.program).line(said)])


def watch(engine: Engine, selection: Selection | None = None, job: Job | None = None, *, as_json: bool = False) -> int:
    """Run the hive of ``engine`` in the foreground until it has stopped, and return the exit code."""
    settings = engine.settings
    terminal = JsonTerminal(settings.name) if as_json else Terminal()
    terminal.say(f"hive {settings.name} on {redis_address(settings)}; Ctrl-C stops it")
    if mixed := claim(settings):
        terminal.warn(mixed)
    if not Foreground(engine, terminal, selection or Selection(), job).run():
        output.say(f"hive {settings.name} already runs; `hived stop` stops it, `hived status` shows it")
        return WELL
    terminal.say(f"hive {settings.name} has stopped")
    return WELL
