"""What a command costs before it does anything is what it imports: no more than it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .hive_kit import Hive

CODE = """
import sys
from importlib import import_module
sys.argv = sys.argv[1:]
try:
    import_module(f"hivemind.cli.{sys.argv[0]}").main()
finally:
    print("", *sys.modules, sep="\\n")
"""
HEAVY = {"asyncio", "hivemind.settings", "jinja2", "orjson", "pydantic", "redis", "rich", "starlette", "xmlrpc"}
#: to look takes a connection; to send, to receive, to change a hive and to run a node takes all of these
NOT_TO_LOOK = {"hivemind.bus.bus", "hivemind.node.node", "hivemind.supervisor.apply", "hivemind.supervisor.control"}


def loaded(*words: str, where: Path, **environ: str) -> set[str]:
    """The modules that are loaded when a command has ended."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words],
        cwd=where, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = {*done.stdout.splitlines()}
    assert "hivemind.cli.groups" in found, done.stderr
    return found


@pytest.mark.parametrize("words", ["hm", "hm -h", "hm tail -h", "hm status -h", "hm redis move -h", "hived export -h"])
def test_help_loads_nothing_that_works(words: str, tmp_path: Path) -> None:
    assert not loaded(*words.split(), where=tmp_path) & HEAVY


def test_the_help_of_a_command_loads_no_other_command(tmp_path: Path) -> None:
    found = {one for one in loaded("hm", "tail", "-h", where=tmp_path) if one.startswith("hivemind.cli.")}
    assert found == {f"hivemind.cli.{one}" for one in ("completing", "groups", "hm", "output", "seconds", "talk")}


def test_names_are_completed_without_loading_what_works(tmp_path: Path) -> None:
    found = loaded("hm", where=tmp_path, _HM_COMPLETE="bash_complete", COMP_WORDS="hm st", COMP_CWORD="1")
    assert "plain,status" in found
    assert not found & HEAVY


@pytest.mark.parametrize("words", ["hm status", "hm nodes", "hived status", "hm topics", "hm lag"])
def test_who_only_looks_loads_nothing_that_sends_runs_or_changes(words: str, gotham: Hive) -> None:
    found = loaded(*words.split(), where=gotham.folder)
    assert "hivemind.bus.commands" in found
    assert not found & {*NOT_TO_LOOK, "jinja2", "rich", "starlette", "uvloop"}


@pytest.mark.parametrize(("before", "is_frozen"), [("json", True), ("hivemind.node.node", False)])
def test_nothing_is_collected_at_the_end_unless_a_node_may_have_left_something(
    before: str, is_frozen: bool, tmp_path: Path
) -> None:
    code = f"""
import atexit, gc, sys, {before}
from hivemind.cli.hm import main
atexit.register(lambda: print("frozen", gc.get_freeze_count()))
sys.argv = ["hm", "-h"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (int(done.stdout.rpartition("frozen ")[2]) > 0) is is_frozen
