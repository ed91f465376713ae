"""The shape of the house: what CONTRIBUTING.md promises about files, functions, imports and names."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import hivemind

HERE = Path(__file__).resolve().parent.parent
PACKAGE = HERE / "hivemind"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts)
LARGER = {"Spool"}  # one lock, and what it guards
REFERENCE = ["command", "wire", "promises", "debugging", "dependencies"]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_a_file_can_be_held_in_the_head() -> None:
    assert not [name(path) for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > 400]


def test_a_function_is_one_thought() -> None:
    functions = ((path, one) for path in SOURCES for one in nodes(path) if isinstance(one, Function))
    assert not [f"{name(path)}: {one.name}" for path, one in functions if lines(one) > 50]


def test_a_class_is_no_god() -> None:
    long = [f"{name(path)}: {kind.name}" for path, kind in classes() if lines(kind) > 250 and kind.name not in LARGER]
    assert not long


def test_a_constructor_takes_six_things_at_most() -> None:
    greedy = [
        f"{name(path)}: {kind.name}"
        for path, kind in classes()
        for one in kind.body
        if isinstance(one, Function) and one.name == "__init__" and len(one.args.args + one.args.kwonlyargs) > 7
    ]
    assert not greedy


def test_a_file_says_what_it_is_for() -> None:
    assert not [name(path) for path in SOURCES if not ast.get_docstring(tree(path))], "modules without a docstring"


def test_nobody_inside_imports_the_package_root() -> None:
    modules = {found.name for found in pkgutil.iter_modules([str(PACKAGE)])}
    assert not [name(path) for path in SOURCES if imports_the_root(path, modules)]


def imports_the_root(path: Path, modules: set[str]) -> bool:
    depth = len(path.relative_to(PACKAGE).parts)
    for one in nodes(path):
        if isinstance(one, ast.Import) and any(alias.name == "hivemind" for alias in one.names):
            return True
        if isinstance(one, ast.ImportFrom):
            to_root = (one.level == depth and not one.module) or (one.level == 0 and one.module == "hivemind")
            if to_root and {alias.name for alias in one.names} - modules - {"__version__"}:
                return True
    return False


def test_what_is_exported_is_there_and_named() -> None:
    names = hivemind.__all__
    assert len(names) == len(set(names))
    assert [name for name in names if getattr(hivemind, name, None) is None] == []
    assert set(names) <= set(dir(hivemind))


def test_importing_a_node_loads_neither_the_web_nor_the_command_line() -> None:
    heavy = {"starlette", "uvicorn", "jinja2", "click", "rich", "supervisor", "watchfiles"}
    code = f"import sys; from hivemind import Node; print(*({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == []


@pytest.mark.parametrize("page", ["install", "tutorial", "words", "model", "configuration", *REFERENCE])
def test_every_feature_has_its_page(page: str) -> None:
    found = list((HERE / "docs").glob(f"{page}*.md"))
    assert found, f"docs/{page}….md is missing"
    assert found[0].read_text(encoding="utf-8").startswith("# ")


def test_every_module_can_be_imported_by_itself() -> None:
    for found in pkgutil.walk_packages(hivemind.__path__, "hivemind."):
        if not found.name.endswith("__main__"):
            try:
                importlib.import_module(found.name)
            except ImportError as error:
                if "pip install 'hivemind-net[" not in str(error):  # what needs an extra names it
                    raise


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree(path)))


def classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    return ((path, one) for path in SOURCES for one in nodes(path) if isinstance(one, ast.ClassDef))


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def lines(one: Function | ast.ClassDef) -> int:
    return (one.end_lineno or one.lineno) - one.lineno + 1


@pytest.mark.parametrize("room", ["bus", "data", "drills", "node"])
def test_a_room_says_which_file_is_for_what(room: str) -> None:
    package = importlib.import_module(f"hivemind.{room}")
    named = re.findall(r"``(\w+)``", package.__doc__ or "")
    modules = [one.name for one in pkgutil.iter_modules(package.__path__) if not one.name.startswith("__")]
    assert sorted(set(named) - {"redis", "hiredis"}) == sorted(modules)
