"""Which files of the hive a node's code is, and a hash over them: what changed since it was started, is seen by that.

Nothing is imported: the files are read, and what they import from the hive is followed. An import that is made up while
the program runs, by ``importlib`` or a string, is not seen.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

LENGTH = 16  # hexadecimal digits of a hash


def code_files(hive: Path, file: Path) -> tuple[Path, ...]:
    """``file``, and every file of ``hive`` that it imports, directly or not, sorted; those that exist.

    ``nodes/__init__.py`` is none of them: nobody who imports a node runs it.
    """
    found: set[Path] = set()
    waiting = [file, *(each / "__init__.py" for each in file.parents if hive in each.parents)]
    while waiting:
        path = waiting.pop()
        if path not in found and path.is_file() and path != hive / "nodes" / "__init__.py":
            found.add(path)
            waiting += _imported(hive, path)
    return tuple(sorted(found))


def code_hash(hive: Path, file: str) -> str:
    """A hash over what the code in ``file`` is; "" for what is no file of its own, such as an installed module."""
    if not file:
        return ""
    digest = hashlib.sha256()
    for path in code_files(hive, Path(file)):
        digest.update(f"{path}\0".encode())
        digest.update(hashlib.sha256(_content(path)).digest())
    return digest.hexdigest()[:LENGTH]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _imported(hive: Path, path: Path) -> Iterator[Path]:
    """The files of ``hive`` that ``path`` names in its imports, with the packages that they are in."""
    for level, module, names in _imports(_content(path)):
        for base in _bases(hive, path, level):
            parts = module.split(".") if module else []
            for end in range(1, len(parts)):
                yield base.joinpath(*parts[:end], "__init__.py")
            where = base.joinpath(*parts)
            yield from _module(where)
            for name in names:
                yield from _module(where / name)


def _bases(hive: Path, path: Path, level: int) -> tuple[Path, ...]:
    """The folders in which an import of that level is looked for: a script finds what lies beside it, too."""
    if level:
        return (path.parents[level - 1],) if level <= len(path.parents) else ()
    return tuple(dict.fromkeys((hive, path.parent)))


def _module(where: Path) -> tuple[Path, ...]:
    return where.with_name(f"{where.name}.py"), where / "__init__.py"


@lru_cache(maxsize=256)
def _imports(content: bytes) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """Each import as (level, module, names); none of what is not Python."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(0, each.name, ()) for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", tuple(each.name for each in node.names)))
    return tuple(found)
