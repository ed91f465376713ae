"""From what a user names to a node: a hive's node, ``package.module``, ``file.py``, each with ``:Class`` or without."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeGuard

from ..errors import ConfigurationError, InvalidName, NodeLoadError
from ..settings import Settings
from ..topics import check_name
from .base import BaseNode
from .declarations import declarations_of
from .loaded import RELEASE
from .node import Node
from .places import OURS
from .resources import is_resource

NODES = "nodes"  #: the folder of a hive in which its nodes are, and the package that they are imported from


@dataclass(frozen=True, slots=True)
class LoadedNode:
    """A node that can be built: its name, and the class or the functions that it is made of."""

    name: str
    build: Callable[[], BaseNode]


class ModuleNode(Node):
    """A node made of the decorated plain functions of one module."""

    functions: tuple[Callable[..., Any], ...] = ()

    def _hm_functions(self) -> dict[str, Callable[..., Any]]:
        return {each.__name__: each for each in self.functions}


def load_target(target: str, settings: Settings) -> LoadedNode:
    """Import what ``target`` names. Raises NodeLoadError, with file and line where the fault has one."""
    if settings.hive is not None:
        make_importable(settings.hive)
    source, _, class_name = target.partition(":")
    hive_node = _in_hive(source, settings)
    if hive_node is not None and class_name:
        if isinstance(hive_node, str):
            return load_target(f"{hive_node.partition(':')[0]}:{class_name}", settings)
        return node_in(_import(target, hive_node), target, "", class_name)
    if hive_node is not None:
        if isinstance(hive_node, str):
            loaded = load_target(hive_node, settings)
            return LoadedNode(source, lambda: _named(loaded.build(), source))
        return node_in(_import(target, hive_node), target, source, "")
    if source.endswith(".py") or "/" in source:
        return node_in(_import_file(target, Path(source)), target, "", class_name)
    if settings.hive is None and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return node_in(_import(target, _Module(source)), target, "", class_name)


@dataclass(frozen=True, slots=True)
class _Module:
    name: str


def _in_hive(name: str, settings: Settings) -> _Module | str | None:
    """The module of a hive's node, or the target that NODES gives for it."""
    if settings.hive is None:
        return None
    tuning = settings.constants.NODES.get(name)
    if tuning is not None and tuning.target:
        return tuning.target
    folder = code_of(settings.hive) / NODES
    if (folder / name / f"{name}.py").is_file():
        return _Module(f"{NODES}.{name}.{name}")
    return _Module(f"{NODES}.{name}") if (folder / f"{name}.py").is_file() else None


def make_importable(hive: Path) -> None:
    """Let a node import what is in its hive, without running ``nodes/__init__.py``: that imports all the others."""
    code = code_of(hive)
    for folder in dict.fromkeys((str(hive), str(code))):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    if NODES not in sys.modules:
        package = ModuleType(NODES)
        package.__path__ = [str(code / NODES)]
        sys.modules[NODES] = package


def code_of(hive: Path) -> Path:
    """Where the code of the hive's nodes is: in the hive, or in the release that this process was sent back to."""
    release = os.environ.get(RELEASE, "")
    return Path(release) if release and Path(release, NODES).is_dir() else hive


def _import(target: str, module: _Module) -> ModuleType:
    try:
        return importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name and (module.name == error.name or module.name.startswith(f"{error.name}.")):
            raise NodeLoadError(target, f"there is no node, module or file called {module.name!r}") from error
        raise load_fault(target, error) from error
    except (Exception, SystemExit) as error:
        raise load_fault(target, error) from error


def _import_file(target: str, path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise NodeLoadError(target, f"there is no file {path}")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"_hivemind_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise NodeLoadError(target, "is no Python file", path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise load_fault(target, error) from error
    return module


def built(target: str, node: LoadedNode) -> BaseNode:
    """Build it. Raises NodeLoadError for whatever its code raises, but a ConfigurationError as it is."""
    try:
        return node.build()
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise load_fault(target, error) from error


def load_fault(target: str, error: BaseException) -> NodeLoadError:
    """What went wrong while ``target`` was imported or built, and the line of the user's that is to blame."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return NodeLoadError(target, f"SyntaxError: {error.msg}", error.filename, error.lineno)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [
        one for one in frames if "importlib" not in one.filename and not one.filename.startswith((OURS, "<string>"))
    ]
    last = theirs[-1] if theirs else None
    return NodeLoadError(target, reason, last.filename if last else None, last.lineno if last else None)


def node_in(module: ModuleType, target: str, name: str = "", class_name: str = "") -> LoadedNode:
    """The node in an imported module. Raises NodeLoadError unless it is exactly one."""
    file = getattr(module, "__file__", None)
    if class_name:
        kind = getattr(module, class_name, None)
        if not (inspect.isclass(kind) and issubclass(kind, BaseNode)):
            raise NodeLoadError(target, f"has no node class {class_name!r}; {_offer(module)}", file)
        return LoadedNode(name or _checked(target, kind.__name__.lower(), file), _builder(kind, name))
    classes, functions = _classes(module), _functions(module)
    if len(classes) > 1 or (classes and functions):
        found = ", ".join([*(kind.__name__ for kind in classes), *(function.__name__ for function in functions)])
        raise NodeLoadError(
            target, f"one module is one node, but here are several: {found}; name one: {target}:Class", file
        )
    if classes:
        return LoadedNode(name or _checked(target, classes[0].__name__.lower(), file), _builder(classes[0], name))
    if not functions:
        raise NodeLoadError(
            target, "has neither a Node class nor a function with @service, @subscription or @responder", file
        )
    chosen = name or _checked(target, module.__name__.rpartition(".")[2], file)
    middleware = getattr(module, "middleware", ())
    own: dict[str, Any] = {
        "functions": functions,
        "middleware": middleware if isinstance(middleware, list | tuple) else (),
    }
    if _is_ours(hook := vars(module).get("on_gap"), module):
        own["on_gap"] = staticmethod(hook)
    kind = type("ModuleNode", (ModuleNode,), {**own, "__module__": module.__name__})
    return LoadedNode(chosen, lambda: kind(chosen))


def _builder(kind: type[BaseNode], name: str) -> Callable[[], BaseNode]:
    return lambda: _named(kind(), name) if name else kind()


def _named(node: BaseNode, name: str) -> BaseNode:
    node._hm.rename(name)
    return node


def _checked(target: str, name: str, file: str | None) -> str:
    try:
        return check_name(name.lstrip("_"))
    except InvalidName as error:
        raise NodeLoadError(target, str(error), file) from error


def _classes(module: ModuleType) -> list[type[BaseNode]]:
    return [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, BaseNode) and kind.__module__ == module.__name__
    ]


def _functions(module: ModuleType) -> tuple[Callable[..., Any], ...]:
    return tuple(
        value
        for value in vars(module).values()
        if _is_ours(value, module) and (declarations_of(value) or is_resource(value))
    )


def _is_ours(value: object, module: ModuleType) -> TypeGuard[FunctionType]:
    """Whether it is a function that was written in this module."""
    return inspect.isfunction(value) and value.__module__ == module.__name__


def _offer(module: ModuleType) -> str:
    names = ", ".join(kind.__name__ for kind in _classes(module))
    return f"it has {names}" if names else "it has none"
