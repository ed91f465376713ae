"""The kind of command group that `hm` and `hived` are: commands under headings, each loaded when it is used."""

from __future__ import annotations

import errno
import gc
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import click

from ..errors import HivemindError, InvalidName
from . import output

VERSION = f"hivemind %(version)s (Python {'.'.join(map(str, sys.version_info[:3]))})"
HELP = {"help_option_names": ["-h", "--help"]}
MANY = 10  #: commands that are not listed any more for one that does not exist
SELDOM = 50_000  #: new objects until garbage is looked for: to import makes so many, and none of them garbage
#: who has loaded one of these may have run somebody's code, which may have left a file to be written out at the end
RUNS_CODE = frozenset({"hivemind.node.node", "hivemind.root.controller", "hivemind.client.client"})
WELL, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


def _remember_hive(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.find_root().params["hive"] = value


def _at_home(command: click.Command) -> click.Command:
    """``command`` (and what is under it) with the option ``--hive``, and its examples kept as they are written."""
    if not any(parameter.name == "hive" for parameter in command.params):
        option = click.Option(["--hive"], hidden=True, expose_value=False, callback=_remember_hive)
        command.params.append(option)
    if command.help and "\b" not in command.help:  # click's mark for a paragraph that keeps its lines
        command.help = inspect.cleandoc(command.help).replace("\nExamples:\n", "\n\b\nExamples:\n")
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _at_home(inner)
    return command


class NamingGroup(click.Group):
    """A group that says what was probably meant by a command that it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` begin with. A name that is none is wrong use, and told what was probably meant."""
        name = args[0]
        if not (name.startswith("-") or ctx.resilient_parsing or self.get_command(ctx, name)):
            from ..constants import did_you_mean
            from ..english import are

            known = self.list_commands(ctx)
            hint = did_you_mean(name, known)
            there = f"; there {are(known)} {', '.join(known)}" if len(known) < MANY and not hint else hint
            ctx.fail(f"there is no command {name!r}{there}")
        return super().resolve_command(ctx, args)


class SectionGroup(NamingGroup):
    """A group whose ``sections`` map heading -> command -> "module:function" in this package.

    A command is any click command; it may return its exit code. Errors end it like this: HivemindError prints
    ``error: ...`` and exits 1, a name that cannot be or wrong use exits 2, Ctrl-C exits 130, and a reader that
    went away (`| head -1`) exits 0. Every command also takes ``--hive``, as the group itself does.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **{"context_settings": HELP, "invoke_without_command": True, **kwargs})
        self.sections = sections or {}
        self._places = {name: place for names in self.sections.values() for name, place in names.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the table."""
        return [*self._places, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command of that name; ``create-node`` is ``create_node``."""
        place = self._places.get(cmd_name.replace("-", "_"))
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, function = place.partition(":")
        command: click.Command = getattr(importlib.import_module(f".{module}", __package__), function)
        return _at_home(command)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, or without one show the help."""
        try:
            code: object = WELL
            if ctx.args or ctx._protected_args:
                code = super().invoke(ctx)
            else:
                output.say(ctx.get_help())
            output.finish()
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            output.abandon()
            return WELL
        return code

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with their one-line helps, under the headings of the table."""
        for heading, names in self.sections.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            lines = [(name, command.get_short_help_str(200)) for name, command in found if command is not None]
            if lines:
                with formatter.section(heading):
                    formatter.write_dl(lines)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its code; with ``standalone_mode=False`` errors are raised instead."""
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        code = _exit_code(run)
        if not RUNS_CODE & sys.modules.keys():
            gc.freeze()  # nothing is looked for in all that was imported, once more, before it ends
        sys.exit(code)


def _exit_code(run: Callable[[], object]) -> int:
    gc.set_threshold(SELDOM)
    output.prepare()
    try:
        code = run()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            output.usage(error.ctx.get_usage(), error.ctx.command_path)
        output.error(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except HivemindError as error:
        output.error(str(error))
        return WRONG_USE if isinstance(error, InvalidName) else FAILED
    return code if isinstance(code, int) else WELL
