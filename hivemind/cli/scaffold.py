"""`hm new` and `hm create_node`: the files are rendered first, and written only if nothing stands in the way."""

from __future__ import annotations

import keyword
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import orjson

from ..constants import Constants
from ..errors import ConfigurationError, InvalidName
from ..topics import check_python_name

RESERVED = {
    "hive": {"config", "default", "hivemind", "nodes", "root", "static", "templates", "tests", "var"},
    "node": {"hived", "hivemind", "nodes", "redis", "root"},
}
NODES_FILE = Path("nodes") / "__init__.py"
_EMPTY_FOLDERS = ("static/.gitkeep", "static/templates/.gitkeep", "templates/.gitkeep")
_TEMPLATES = files(__package__) / "templates"


@dataclass(frozen=True, slots=True)
class Plan:
    """Files to be written together under ``folder``, which must not be there yet (or be empty)."""

    folder: Path
    files: Mapping[str, str]

    def write(self) -> list[Path]:
        """Write all of it or nothing; ConfigurationError if something is there already. Returns the files."""
        self.check()
        draft = self.folder.parent / f".{self.folder.name}-{os.getpid()}"
        try:
            for name, text in self.files.items():
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                (draft / name).write_text(text, encoding="utf-8")
            if self.folder.exists():
                self.folder.rmdir()
            draft.rename(self.folder)
        except OSError as error:
            raise ConfigurationError(f"{self.folder} cannot be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return [self.folder / name for name in self.files]

    def check(self) -> None:
        """Raise ConfigurationError if ``folder`` is there already; what exists is never overwritten."""
        taken = self.folder.is_symlink() or (self.folder.exists() and not _is_empty_folder(self.folder))
        if taken:
            raise ConfigurationError(f"{self.folder} already exists: nothing was written")


def plan_hive(name: str, parent: Path) -> Plan:
    """The files of a new hive ``name`` in ``parent``. Raises InvalidName."""
    _check(name, "hive")
    words = {"name": name, "controller": f"{_camel(name)}Controller", "settings": render_settings(name)}
    rendered = dict(_rendered("hive", words))
    rendered[".gitignore"] = rendered.pop("gitignore")
    return Plan(parent / name, rendered | dict.fromkeys(_EMPTY_FOLDERS, ""))


def plan_node(name: str, hive: Path, hive_name: str, base: str = "hivemind._Node") -> Plan:
    """The files of a new node ``name``, whose class derives from ``base`` (``package.Class``). Raises InvalidName."""
    node = node_name(name)
    if (hive / "nodes" / f"{node}.py").exists():
        raise ConfigurationError(f"{hive / 'nodes' / node}.py already exists: nothing was written")
    words = {"node": node, "cls": name[0].upper() + name[1:], "hive": hive_name}
    rendered = dict(_rendered("node", words | _base_words(base, words["cls"])))
    rendered[f"{node}.py"] = rendered.pop("node.py")
    return Plan(hive / "nodes" / node, rendered)


def node_name(name: str) -> str:
    """The name of the node, its folder, module and log, for what was typed: lower case. Raises InvalidName."""
    _check(name, "node")
    if keyword.iskeyword(name[0].upper() + name[1:]):
        raise InvalidName("node", name, f"its class would be {name.capitalize()}, a keyword of Python")
    return name.lower()


def enabling_line(node: str) -> str:
    """The line in ``nodes/__init__.py`` that makes ``node`` run."""
    return f"from .{node} import {node}"


def offer_node(hive: Path, node: str) -> Path:
    """Append the line that enables ``node``, commented out, unless it stands there in some form. Returns the file."""
    path = hive / NODES_FILE
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = {line.lstrip("# \t").rstrip() for line in text.splitlines()}
    if enabling_line(node) not in lines:
        glue = "" if not text or text.endswith("\n") else "\n"
        path.write_text(f"{text}{glue}# {enabling_line(node)}\n", encoding="utf-8")
    return path


def new_values(name: str) -> dict[str, Any]:
    """What a new hive sets otherwise than the defaults; ``""`` for LOG_LOCATION is the default, on any machine."""
    return {
        "HIVE_NAME": name,
        "HIVE_CONTROLLER": f"root:{_camel(name)}Controller",
        "LOG_LOCATION": "",
        "STATIC_DIRS": ["static"],
        "TEMPLATE_DIRS": ["static/templates"],
    }


def render_settings(name: str) -> str:
    """Every constant with its description and its value in a new hive, as Python."""
    values = new_values(name)
    parts = []
    for constant, field in Constants.model_fields.items():
        comment = (field.description or "").replace("<name>", name)
        value = values.get(constant, field.default)
        parts.append(f"# {comment}\n{constant}{_kind(value)} = {_literal(value)}")
    return "\n\n".join(parts)


def _kind(value: object) -> str:
    """The annotation that an empty value needs, so that what is written into it is checked."""
    return {"[]": ": list[str]", "{}": ": dict[str, dict[str, object]]"}.get(_literal(value), "")


def _literal(value: object) -> str:
    return repr(value) if isinstance(value, bool) else orjson.dumps(value).decode()


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _check(name: str, kind: str) -> None:
    check_python_name(name, kind)
    lower = name.lower()
    if lower in RESERVED[kind]:
        raise InvalidName(kind, name, f"{lower!r} has a meaning of its own here: choose another name")
    if lower in sys.stdlib_module_names:
        raise InvalidName(kind, name, f"it would hide Python's own module {lower!r}: choose another name")
    installed = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    if (spec := PathFinder.find_spec(lower, installed)) is not None and spec.origin:
        raise InvalidName(kind, name, f"it would hide the installed module {lower!r}: choose another name")


def _base_words(base: str, cls: str) -> dict[str, str]:
    module, _, name = base.rpartition(".")
    if not module or not all(part.isidentifier() and not keyword.iskeyword(part) for part in base.split(".")):
        raise InvalidName("base class", base, "write package.Class, such as hivemind.Node or nodes.base.Hero")
    if name == cls:
        return {"base_module": module, "base_import": f"{name} as Base{name}", "base": f"Base{name}"}
    return {"base_module": module, "base_import": name, "base": name}


def _rendered(folder: str, words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Path and text of every template in ``folder``."""
    open_folders = [("", _TEMPLATES / folder)]
    while open_folders:
        prefix, here = open_folders.pop()
        for entry in sorted(here.iterdir(), key=lambda e: e.name):
            if entry.is_dir():
                open_folders.append((f"{prefix}{entry.name}/", entry))
            elif entry.name.endswith(".tmpl"):
                text = Template(entry.read_text(encoding="utf-8")).substitute(words)
                yield prefix + entry.name.removesuffix(".tmpl"), text


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
