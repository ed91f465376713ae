"""A settings file is plain Python: run it, and know on which line each constant was given its value."""

from __future__ import annotations

import ast
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from pydantic_core import ValidationError

from .errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What one file did: ``values`` are all upper-case names after it ran, ``given`` those that it touched.

    ``given`` maps a constant to the syntax of its last value, so that ``line`` can point into it.
    """

    path: Path
    values: Mapping[str, Any]
    given: Mapping[str, ast.AST]

    def line(self, constant: str, path: Sequence[str | int] = ()) -> int | None:
        """The line of ``constant``, or of what lies at ``path`` in it (dict keys, indexes), as deep as is known."""
        node = self.given.get(constant)
        if node is None:
            return None
        for step in path:
            inner = _inside(node, step)
            if inner is None:
                break
            node = inner
        return getattr(node, "lineno", None)


def run_file(path: Path, before: Mapping[str, Any]) -> SettingsFile:
    """Execute ``path`` with the constants of ``before`` already defined.

    Whatever goes wrong in it (it cannot be read, a syntax error, an exception, an exit) is a
    ConfigurationError that names the file and the line.
    """
    tree, code = _compile(path)
    namespace: dict[str, Any] = {**before, "__file__": str(path), "__name__": path.stem}
    try:
        exec(code, namespace)  # a settings file is a program of the hive's owner
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{path}:{_line_of(error, path)}: {_in_words(error)}") from error
    values = {name: value for name, value in namespace.items() if is_constant(name)}
    given = dict(_assignments(tree.body))
    changed = {n for n, v in values.items() if n in given or (n in before and v is not before[n])}
    return SettingsFile(path, values, {name: given.get(name, tree) for name in changed})


def is_constant(name: str) -> bool:
    """Whether ``name`` is written like a setting: upper case, not beginning with ``_``."""
    return name.isupper() and not name.startswith("_")


def _compile(path: Path) -> tuple[ast.Module, CodeType]:
    try:
        source = path.read_bytes()
        tree = ast.parse(source, filename=str(path))
        return tree, compile(tree, str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise ConfigurationError(f"{path}: the settings cannot be read: {error.strerror or error}") from error
    except SyntaxError as error:
        raise ConfigurationError(f"{path}:{error.lineno or 1}: {type(error).__name__}: {error.msg}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}:1: this is no Python source: {error}") from error


def _assignments(body: Sequence[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Every constant that the statements give a value to, or change in place, in the order of the file."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield from ((name, statement.value) for name in _names(target))
        elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
            yield from ((name, statement.value or statement) for name in _names(statement.target))
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            yield from ((name, statement.value) for name in _names(statement.value.func))
        else:
            yield from _assignments(list(ast.iter_child_nodes(statement)))


def _names(target: ast.AST) -> Iterator[str]:
    """The constants behind ``X``, ``X[...]``, ``X.y`` and ``X, Y``."""
    if isinstance(target, ast.Name) and is_constant(target.id):
        yield target.id
    elif isinstance(target, ast.Subscript | ast.Attribute | ast.Starred):
        yield from _names(target.value)
    elif isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from _names(element)


def _inside(node: ast.AST, step: str | int) -> ast.AST | None:
    """The syntax of ``step`` within a dict, a list or a call with keywords; None if it is not spelled out there."""
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return next((v for k, v in pairs if isinstance(k, ast.Constant) and k.value == step), None)
    if isinstance(node, ast.List | ast.Tuple) and isinstance(step, int):
        return node.elts[step] if step < len(node.elts) else None
    if isinstance(node, ast.Call):
        return next((k.value for k in node.keywords if k.arg == step), None)
    return None


def _line_of(error: BaseException, path: Path) -> int:
    """The line of ``path`` on which ``error`` arose: the deepest of its frames that is in that file."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno for f in reversed(frames) if f.filename == str(path) and f.lineno), 1)


def _in_words(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "a settings file must not end the program"
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{error.title}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}"
