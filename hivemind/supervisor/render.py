"""From programs to the text of ``supervisord.conf``: pure.

Every value is escaped for the three readers that it passes: the INI parser (`` ;`` and `` #`` begin comments),
supervisord's own ``%(name)s`` expansion, and, in commands, ``shlex``. Environment variables are not in here:
supervisord cannot quote them, and others could read them; the keeper takes them from a file.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..errors import ConfigurationError
from ..node.loaded import RELEASE
from ..node.relay import Relay
from .lives import LONGEST
from .paths import HivePaths
from .stood import HIVED
from .topology import Program, stop_wait

LISTENER = HIVED
EVENTS = "PROCESS_STATE,SUPERVISOR_STATE_CHANGE,TICK_5"
START_SECONDS = 2  # a program that ends sooner failed to start
START_RETRIES = "5"  # one that waits in its keeper is up for supervisord: what fails as often cannot even be forked
REDIS_LONGEST = 5.0  # seconds: everybody waits for it
QUIET_LOG = "256KB"
AUTORESTART = {"always": "true", "on-failure": "unexpected", "never": "false"}  # at once: it is the keeper that waits
_PLAIN = re.compile(r"[A-Za-z0-9@%_+=:,./-]")
LogFile = Callable[[str, int], Path | None]


def no_log(_node: str, _number: int) -> None:
    """Nobody knows where it logs."""


def render(paths: HivePaths, programs: Sequence[Program], log_file: LogFile = no_log) -> str:
    """The whole configuration; programs in the given order. ``log_file`` says where a node with a number logs.

    Raises ConfigurationError for a path with a line break.
    """
    sections = [_server(paths), _supervisord(paths), _listener(paths)]
    sections += [_program(paths, program, log_file) for program in programs]
    return "; hived wrote this and will write it again: change config/hive.py instead\n\n" + "\n".join(sections)


def section(name: str, values: Mapping[str, str]) -> str:
    """One section; ``values`` are escaped already."""
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in values.items())


def plain(value: object) -> str:
    """``value`` for a setting that is not a command: ``%`` doubled, and nothing in it that an INI file cannot hold:
    then it raises ConfigurationError.
    """
    text = str(value)
    if re.search(r"[\r\n\0]", text) or re.search(r"(^|\s)[;#]", text):
        raise ConfigurationError(f"{text!r}: a path of a hive may hold no line break, and no ; or # after a space")
    return text.replace("%", "%%")


def command_line(arguments: Sequence[str]) -> str:
    """A command of exactly these ``arguments``: every special character has a backslash before it. Raises
    ConfigurationError for a line break.
    """
    for argument in arguments:
        if re.search(r"[\r\n\0]", argument):
            raise ConfigurationError(f"{argument!r}: a command's argument may hold no line break")
    return " ".join(_argument(argument) for argument in arguments)


def _argument(argument: str) -> str:
    escaped = "".join(char if _PLAIN.match(char) else f"\\{char}" for char in argument)
    return escaped.replace("%", "%%") or '""'


def keeper_command(paths: HivePaths, program: Program, log_file: LogFile = no_log) -> list[str]:
    """The keeper that runs ``program``: it kills a survivor one second before supervisord would kill the keeper."""
    pidfile = program.pidfile or str(paths.program_pid(program.name))
    command = _ours("keeper", "--pidfile", pidfile, "--digest", program.version)
    command += ["--grace", str(stop_wait(program.stop_timeout) - 1)]
    if program.env.keys() - {RELEASE}:  # for that alone the keeper looks by itself: supervisord has no other command
        command += ["--env", str(paths.program_env(program.name))]
    return [*command, *_lives(paths, program, log_file), "--", *program.command]


def successor_command(paths: HivePaths, program: Program) -> list[str]:
    """The keeper of a process that is to take over from ``program``'s. It counts no lives: it is one try."""
    pidfile = str(Relay.at(paths.program_pid(program.name)).next_pidfile)
    command = _ours("keeper", "--pidfile", pidfile, "--digest", program.version)
    if program.env:
        command += ["--env", str(paths.program_env(program.name))]
    return [*command, "--", *program.command, "--successor"]


def _lives(paths: HivePaths, program: Program, log_file: LogFile) -> list[str]:
    """What the keeper needs to let a program wait that ends early again and again."""
    longest = REDIS_LONGEST if program.kind == "redis" else LONGEST
    found = ["--lives", str(paths.program_lives(program.name)), "--longest", str(longest)]
    found += ["--supervisord-log", str(paths.supervisord_log), "--printed", str(paths.program_log(program.name))]
    if program.kind != "redis" and (log := log_file(program.node, program.number)) is not None:
        found += ["--log", str(log)]
    watched = [file for file in program.members.values() if file]
    return [*found, "--watched", os.pathsep.join(watched)] if watched else found


def _ours(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", f"hivemind.supervisor.{module}", *arguments]


def _log(paths: HivePaths, name: str) -> str:
    """Relative to ``var``, where supervisord runs: it expands ``%`` twice in this one setting."""
    return str(paths.program_log(name).relative_to(paths.var))


def _server(paths: HivePaths) -> str:
    return section("unix_http_server", {"file": plain(paths.socket), "chmod": "0700"})


def _supervisord(paths: HivePaths) -> str:
    return (
        section(
            "supervisord",
            {
                "logfile": plain(paths.supervisord_log),
                "logfile_maxbytes": "1MB",
                "logfile_backups": "1",
                "loglevel": "info",
                "pidfile": plain(paths.pidfile),
                "childlogdir": plain(paths.log),
                "nodaemon": "true",
                "silent": "true",
                "nocleanup": "true",
            },
        )
        + "\n"
        + section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        )
    )


def _listener(paths: HivePaths) -> str:
    return section(
        f"eventlistener:{LISTENER}",
        {
            "command": command_line(_ours("daemon", "--hive", str(paths.hive))),
            "events": EVENTS,
            "buffer_size": "1000",
            "directory": plain(paths.hive),
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "1000000",
            "stopwaitsecs": "5",
            "stdout_logfile": "NONE",
            "stderr_logfile": _log(paths, LISTENER),
            "stderr_logfile_maxbytes": QUIET_LOG,
            "stderr_logfile_backups": "1",
        },
    )


def _program(paths: HivePaths, program: Program, log_file: LogFile) -> str:
    return section(
        f"program:{program.name}",
        {
            "command": command_line(keeper_command(paths, program, log_file)),
            "directory": plain(paths.hive),
            "priority": str(program.priority),
            "autostart": "true",
            "autorestart": AUTORESTART[program.restart],
            "exitcodes": "0",
            "startsecs": str(START_SECONDS if program.restart == "always" else 0),
            "startretries": START_RETRIES,
            "stopsignal": "TERM",
            "stopwaitsecs": str(stop_wait(program.stop_timeout)),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": _log(paths, program.name),
            "stdout_logfile_maxbytes": QUIET_LOG,
            "stdout_logfile_backups": "1",
        },
    )
