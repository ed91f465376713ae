"""Whether nodes can be loaded, asked without loading them here: in a process of its own each, see ``checker``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..errors import ConfigurationError
from ..settings import HIVE, Settings
from .files import within
from .processes import NodePlan
from .topology import Problem

CHECK_TIMEOUT = 20.0  # seconds; who needs longer is started unchecked, but takes over from nobody
AT_ONCE = max(2, min(8, os.cpu_count() or 2))


class Checker(Protocol):
    """Looks which nodes can be loaded."""

    def __call__(self, nodes: Sequence[NodePlan], *, in_time: bool = False) -> list[Problem]:
        """The problems of those that cannot, or, if ``in_time``, not within CHECK_TIMEOUT."""


def node_checker(hive: Path, environ: Mapping[str, str]) -> Checker:
    """A checker that first reads the nodes' files, which shows most faults at once, then lets processes import them."""

    def check(nodes: Sequence[NodePlan], *, in_time: bool = False) -> list[Problem]:
        problems = {node.name: problem for node in nodes if (problem := unreadable(hive, node)) is not None}
        readable = [node for node in nodes if node.name not in problems]
        problems |= unloadable(hive, readable, environ, in_time=in_time)
        return [problems[node.name] for node in nodes if node.name in problems]

    return check


def unreadable(hive: Path, node: NodePlan) -> Problem | None:
    """The problem of a node whose file is missing or is not Python."""
    return unreadable_file(hive, node.name, node.file) if node.file else None


def unreadable_file(hive: Path, node: str, file: str) -> Problem | None:
    """As unreadable, for those who know only the file."""
    path = Path(file)
    shown = within(hive, path)
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except FileNotFoundError:
        return Problem(node, f"{node} is enabled, but this file does not exist", shown)
    except SyntaxError as error:
        return Problem(node, f"SyntaxError: {error.msg}", shown, error.lineno or 1)
    except (OSError, ValueError) as error:
        return Problem(node, f"{type(error).__name__}: {error}", shown)
    return None


def unloadable(
    hive: Path, nodes: Sequence[NodePlan], environ: Mapping[str, str], *, in_time: bool = False
) -> dict[str, Problem]:
    """The problems, by node, of those that fail when they are imported, or ``in_time`` have not been after
    CHECK_TIMEOUT; one process asks those with one environment.
    """
    problems: dict[str, Problem] = {}
    together: dict[tuple[tuple[str, str], ...], list[NodePlan]] = {}
    for node in nodes:
        together.setdefault(tuple(sorted(node.tuning.env.items())), []).append(node)
    for env, asked in together.items():
        answers = _asked([node.target for node in asked], hive, {**environ, **dict(env)})
        for node in asked:
            answer = answers.get(node.target, {})
            if not answer.get("ok", True):
                problems[node.name] = _problem(hive, node, answer)
            elif in_time and answer.get("late"):
                problems[node.name] = _too_late(hive, node)
    return problems


def _too_late(hive: Path, node: NodePlan) -> Problem:
    reason = f"importing it had not ended after {CHECK_TIMEOUT:g} s"
    way = f"if it needs that long, `hm restart {node.name}` ends what runs and starts it unchecked"
    return Problem(node.name, f"{reason}; {way}", within(hive, Path(node.file)) if node.file else None)


def _problem(hive: Path, node: NodePlan, answer: Mapping[str, Any]) -> Problem:
    blamed = node.file if answer.get("ended") else answer.get("file")
    file = within(hive, Path(str(blamed))) if blamed else None
    return Problem(node.name, str(answer.get("reason")), file, answer.get("line"))


def declared(nodes: Sequence[NodePlan], folder: Path, environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What each node declares, by name, as ``Verdict.declared`` has it; those that cannot be loaded are left out."""
    found: dict[str, dict[str, Any]] = {}
    together: dict[tuple[tuple[str, str], ...], list[NodePlan]] = {}
    for node in nodes:
        together.setdefault(tuple(sorted(node.tuning.env.items())), []).append(node)
    for env, asked in together.items():
        answers = _asked([node.target for node in asked], folder, {**environ, **dict(env)})
        told = {node.name: answers.get(node.target, {}) for node in asked}
        found |= {name: answer["declared"] for name, answer in told.items() if answer.get("ok")}
    return found


def check_settings(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise ConfigurationError, with file and line, where MIDDLEWARE names what cannot be imported."""
    if not settings.constants.MIDDLEWARE:
        return
    hive = {HIVE: str(settings.hive)} if settings.hive else {}
    answer = _asked([""], settings.hive or Path.cwd(), {**environ, **hive}).get("", {})
    if not answer.get("ok", True):
        reason = str(answer.get("reason"))
        where = "" if "MIDDLEWARE" in reason else f"{settings.sources['MIDDLEWARE']}: MIDDLEWARE: "
        raise ConfigurationError(f"{where}{reason}")


def _asked(targets: Sequence[str], folder: Path, environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What ``checker`` says of each target; nothing where it does not answer."""
    targets = list(dict.fromkeys(targets))
    request = {"targets": targets, "at_once": AT_ONCE, "timeout": CHECK_TIMEOUT}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hivemind.supervisor.checker"],
            cwd=folder,
            env=dict(environ),
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=CHECK_TIMEOUT * (2 + len(targets) / AT_ONCE),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    found = {answer["target"]: answer for answer in answers}
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
        reason = f"importing it ends the process with {done.returncode}: {last}"
        found = {target: {"ok": False, "ended": True, "reason": reason} for target in targets} | found
    return found
