"""Which nodes are enabled: ``nodes/__init__.py`` is asked, never trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hivemind.errors import NodeLoadError
from hivemind.supervisor.enabled import enabled_nodes, existing_imports

NODE = "from hivemind import Node\n"


def hive(tmp_path: Path, init: str, **files: str) -> Path:
    folder = tmp_path / "nodes"
    folder.mkdir()
    (folder / "__init__.py").write_text(init)
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return tmp_path


def enabled(path: Path) -> list[tuple[str, str]]:
    return [(node.name, node.module) for node in enabled_nodes(path, os.environ)]


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("from .batman import batman", "nodes.batman.batman"),
        ("from . import batman", "nodes.batman.batman"),
        ("from .batman.batman import Batman", "nodes.batman.batman"),
        ("import nodes.batman.batman", "nodes.batman.batman"),
        ("from nodes.batman import batman as hero", "nodes.batman.batman"),
        ("import importlib; importlib.import_module('.batman.batman', __package__)", "nodes.batman.batman"),
    ],
)
def test_every_way_to_import_a_node_enables_it(tmp_path: Path, line: str, module: str) -> None:
    assert ("batman", module) in enabled(hive(tmp_path, line, batman__batman=NODE))


def test_a_node_may_be_one_file(tmp_path: Path) -> None:
    assert enabled(hive(tmp_path, "from .robin import Robin", robin=NODE)) == [("robin", "nodes.robin")]


def test_one_package_may_hold_two_nodes(tmp_path: Path) -> None:
    path = hive(tmp_path, "from .fleet import alpha, beta", fleet__alpha=NODE, fleet__beta=NODE)
    assert enabled(path) == [("alpha", "nodes.fleet.alpha"), ("beta", "nodes.fleet.beta")]


def test_a_broken_node_hides_no_other(tmp_path: Path) -> None:
    path = hive(tmp_path, "from .bad import bad\nfrom .good import good", bad__bad="def (", good__good=NODE)
    assert [name for name, _ in enabled(path)] == ["bad", "good"]


def test_a_node_that_does_not_exist_is_named_with_its_line(tmp_path: Path) -> None:
    (node,) = enabled_nodes(hive(tmp_path, "\n\nfrom .ghost import ghost"), os.environ)
    assert (node.name, node.line, Path(node.file).exists()) == ("ghost", 3, False)


def test_the_file_may_ask_the_environment(tmp_path: Path) -> None:
    path = hive(tmp_path, "import os\nif os.environ.get('NIGHT'):\n    from .batman import batman", batman__batman=NODE)
    assert enabled_nodes(path, os.environ) == []
    assert len(enabled_nodes(path, {**os.environ, "NIGHT": "1"})) == 1


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("import os\nfrom .batman import (", 2, "SyntaxError"),
        ("import os\n\nimport no_such_module", 3, "no_such_module"),
        ("raise SystemExit(3)", 1, "SystemExit"),
    ],
)
def test_a_fault_in_the_file_itself_is_reported_with_its_line(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    with pytest.raises(NodeLoadError, match=reason) as caught:
        enabled_nodes(hive(tmp_path, text), os.environ)
    assert caught.value.line == line
    assert str(caught.value.file).endswith("nodes/__init__.py")


def test_a_file_that_ends_its_process_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NodeLoadError, match="ended its process with 7"):
        enabled_nodes(hive(tmp_path, "import os; os._exit(7)"), os.environ)


def test_what_the_file_prints_does_no_harm(tmp_path: Path) -> None:
    assert [name for name, _ in enabled(hive(tmp_path, "print('{')\nfrom .a import a", a=NODE))] == ["a"]


def test_a_hive_without_nodes_enables_none(tmp_path: Path) -> None:
    assert enabled_nodes(tmp_path, os.environ) == []


def test_existing_nodes_come_with_the_line_that_enables_them(tmp_path: Path) -> None:
    path = hive(tmp_path, "", batman__batman=NODE, robin=NODE, _helper=NODE)
    assert existing_imports(path) == {
        "batman": "from .batman import batman",
        "robin": "from . import robin",
    }
