"""Whether a node can be loaded, asked without loading it here: each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..settings import Settings
from .files import within
from .processes import NodePlan
from .topology import Problem

CHECK_TIMEOUT = 20.0  # seconds; who needs longer is started unchecked

Checker = Callable[[NodePlan], Problem | None]


def check_all(nodes: Sequence[NodePlan], check: Checker) -> list[Problem]:
    """The problems of those ``nodes`` that cannot be loaded; a few are checked at a time."""
    with ThreadPoolExecutor(max_workers=max(2, min(8, os.cpu_count() or 2))) as pool:
        return [problem for problem in pool.map(check, nodes) if problem is not None]


def node_checker(hive: Path, environ: Mapping[str, str]) -> Checker:
    """A checker that first reads the node's file, which shows most faults at once, then lets a process import it."""

    def check(node: NodePlan) -> Problem | None:
        return unreadable(hive, node) or unloadable(hive, node, environ)

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


def unloadable(hive: Path, node: NodePlan, environ: Mapping[str, str]) -> Problem | None:
    """The problem of a node that fails when ``python -m hivemind.node TARGET --check`` imports it."""
    answer = _asked([node.target], hive, {**environ, **node.tuning.env})
    if answer is None or answer.get("ok"):
        return None
    blamed = node.file if answer.get("ended") else answer.get("file")
    file = within(hive, Path(str(blamed))) if blamed else None
    return Problem(node.name, str(answer.get("reason")), file, answer.get("line"))


def check_settings(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise ConfigurationError, with file and line, where MIDDLEWARE names what cannot be imported."""
    if not settings.constants.MIDDLEWARE:
        return
    hive = {"HIVEMIND_HIVE": str(settings.hive)} if settings.hive else {}
    answer = _asked([], settings.hive or Path.cwd(), {**environ, **hive})
    if answer is not None and not answer.get("ok"):
        reason = str(answer.get("reason"))
        where = "" if "MIDDLEWARE" in reason else f"{settings.sources['MIDDLEWARE']}: MIDDLEWARE: "
        raise ConfigurationError(f"{where}{reason}")


def _asked(targets: Sequence[str], folder: Path, environ: Mapping[str, str]) -> dict[str, Any] | None:
    """What ``python -m hivemind.node --check`` answers; None if it takes too long for that."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hivemind.node", *targets, "--check"],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [""]
        reason = f"importing it ends the process with {done.returncode}: {last[0]}"
        return {"ok": False, "reason": reason, "ended": True}
