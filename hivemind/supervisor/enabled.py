"""Which nodes are enabled: what ``nodes/__init__.py`` imports. That file is asked, never trusted.

``python -m hivemind.supervisor.enabled FILE`` runs it in a process of its own, in which imports of the
package's own modules are recorded instead of made, so that one broken node cannot hide the others. It prints
``{"imports": [{"module", "names", "line"}]}`` or ``{"error": {"file", "line", "reason"}}``.
"""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import NodeLoadError

ASK_TIMEOUT = 10.0  # seconds that nodes/__init__.py may take; it is a list of imports


@dataclass(frozen=True, slots=True)
class EnabledNode:
    """One node that is enabled: its ``module``, the ``file`` it should be in, the ``line`` that enables it."""

    name: str
    module: str
    file: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class RecordedImport:
    """One import in ``nodes/__init__.py``: ``module`` is absolute, ``names`` is what was taken from it."""

    module: str
    names: tuple[str, ...]
    line: int


def enabled_nodes(hive: Path, environ: Mapping[str, str]) -> list[EnabledNode]:
    """The nodes that ``hive`` enables, in the order of their imports; none if there is no ``nodes/__init__.py``.

    Raises NodeLoadError with file and line if that file fails or takes longer than ASK_TIMEOUT.
    """
    file = hive / "nodes" / "__init__.py"
    if not file.is_file():
        return []
    answer = _ask(file, environ)
    if "error" in answer:
        error = answer["error"]
        raise NodeLoadError("nodes", str(error["reason"]), error["file"], error["line"])
    records = [RecordedImport(each["module"], tuple(each["names"]), each["line"]) for each in answer["imports"]]
    return resolve(hive, records)


def existing_imports(hive: Path) -> dict[str, str]:
    """Node name -> the line that enables it, ``from .batman import batman``, for all that lies under ``nodes/``."""
    found: dict[str, str] = {}
    folder = hive / "nodes"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(("_", ".")):
            continue
        if path.is_file() and path.suffix == ".py":
            found[path.stem] = f"from . import {path.stem}"
        elif (path / f"{path.name}.py").is_file():
            found[path.name] = f"from .{path.name} import {path.name}"
    return found


def resolve(hive: Path, records: Sequence[RecordedImport]) -> list[EnabledNode]:
    """What each recorded import enables: the module itself, or those modules that were taken from a package."""
    nodes: dict[str, EnabledNode] = {}
    for record in records:
        for module, file in _modules(hive, record):
            name = module.rpartition(".")[2]
            nodes.setdefault(name, EnabledNode(name, module, str(file), record.line))
    return list(nodes.values())


def _modules(hive: Path, record: RecordedImport) -> list[tuple[str, Path]]:
    """Modules that one import reaches; what exists nowhere is kept, so that it can be reported."""
    base = hive.joinpath(*record.module.split("."))
    below = [_find(f"{record.module}.{name}", base / name) for name in record.names]
    modules = [each for each in below if each is not None]
    if modules:
        return modules
    if record.module == "nodes":
        return [(f"nodes.{name}", base / f"{name}.py") for name in record.names if name != "*"]
    return [_find(record.module, base) or (record.module, base.with_suffix(".py"))]


def _find(module: str, path: Path) -> tuple[str, Path] | None:
    """The module at ``path``: a file, or in a folder the one of its own name (as ``hm create_node`` makes it)."""
    candidates = (
        (module, path.parent / f"{path.name}.py"),
        (f"{module}.{path.name}", path / f"{path.name}.py"),
        (module, path / "__init__.py"),
    )
    return next((each for each in candidates if each[1].is_file()), None)


def _ask(file: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", __name__, str(file)]
    try:
        done = subprocess.run(
            command,
            cwd=file.parent.parent,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"it did not end within {ASK_TIMEOUT:g} s; keep it a list of imports"
        raise NodeLoadError("nodes", reason, file) from None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise NodeLoadError("nodes", f"it ended its process with {done.returncode}: {last}", file) from None
    return dict(answer)


class _Recorder:
    """Stands in for ``__import__`` while the file runs: the package's own modules are written down, not loaded."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.records: list[RecordedImport] = []
        self._import = builtins.__import__

    def __call__(
        self,
        name: str,
        namespace: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        in_package = namespace is not None and namespace.get("__name__") == self.package
        absolute = importlib.util.resolve_name("." * level + name, self.package) if level and in_package else name
        if not in_package or not self.is_own(absolute):
            return self._import(name, namespace, local, fromlist or (), level)
        self.record(absolute, tuple(fromlist or ()), sys._getframe(1).f_lineno)
        return _stub(absolute) if fromlist else sys.modules[self.package]

    def is_own(self, module: str) -> bool:
        return module == self.package or module.startswith(f"{self.package}.")

    def record(self, module: str, names: tuple[str, ...], line: int) -> None:
        if module != self.package or names:
            self.records.append(RecordedImport(module, names, line))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Catches what does not pass through ``__import__``: ``importlib.import_module`` of a node."""

    def __init__(self, recorder: _Recorder) -> None:
        self.recorder = recorder

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if not self.recorder.is_own(fullname):
            return None
        self.recorder.record(fullname, (), 0)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _stub(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def _stub(name: str) -> ModuleType:
    """A module that has every attribute one asks for."""
    module = ModuleType(name)
    module.__dict__["__path__"] = []
    module.__dict__["__all__"] = []
    module.__dict__["__getattr__"] = lambda attribute: _stub(f"{name}.{attribute}")
    return module


def record_imports(file: Path) -> list[RecordedImport]:
    """Run ``file``, a package's ``__init__.py``, and return which of its own modules it imports."""
    package = file.parent.name
    recorder = _Recorder(package)
    module = ModuleType(package)
    module.__file__, module.__path__, module.__package__ = str(file), [str(file.parent)], package
    sys.modules[package] = module
    sys.meta_path.insert(0, _Finder(recorder))
    builtins.__import__ = recorder  # type: ignore[assignment]  # its arguments have other names
    try:
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)
    finally:
        builtins.__import__ = recorder._import
    return recorder.records


def _fault(error: BaseException, file: Path) -> dict[str, object]:
    """File, line and reason of what went wrong, as near to ``file`` as can be said."""
    if isinstance(error, SyntaxError):
        return {"file": error.filename or str(file), "line": error.lineno or 1, "reason": f"SyntaxError: {error.msg}"}
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    reason = "".join(traceback.format_exception_only(error)).strip()
    return {"file": str(file), "line": lines[-1] if lines else None, "reason": reason}


def main(file: Path) -> None:
    """Print what ``file`` imports, as JSON, on the last line of standard output."""
    sys.path.insert(0, str(file.parent.parent))
    try:
        answer: dict[str, object] = {"imports": [asdict(record) for record in record_imports(file)]}
    except BaseException as error:  # noqa: BLE001 - whatever somebody else's file does, even sys.exit, is the answer
        answer = {"error": _fault(error, file)}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
