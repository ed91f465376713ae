"""From what a user names to a node, and what is said when that does not work."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from hivemind.constants import Constants
from hivemind.errors import NodeLoadError
from hivemind.node.declarations import ServiceDeclaration, SubscriptionDeclaration
from hivemind.node.loading import load_target
from hivemind.settings import Settings, load_settings

OUTSIDE = Settings(Constants(), {}, None)
ONE = "from hivemind import Node\nclass One(Node): pass\n"


@pytest.fixture(autouse=True)
def clean_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test imports is forgotten afterwards, and relative names are looked up in its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def hive(tmp_path: Path) -> Settings:
    folder = tmp_path / "gotham"
    write(folder / "config" / "hive.py", 'HIVE_NAME = "gotham"\nNODES = {"far": {"target": "elsewhere:Two"}}\n')
    write(folder / "nodes" / "__init__.py", "from .broken import broken\n")
    write(folder / "nodes" / "broken" / "broken.py", "import nothing_of_that_name\n")
    write(folder / "nodes" / "signal" / "signal.py", "from helpers import KIND\n" + ONE)
    write(folder / "nodes" / "flat.py", ONE)
    write(folder / "helpers.py", "KIND = 1\n")
    write(folder / "elsewhere.py", ONE + "class Two(Node): pass\n")
    return load_settings(folder, {})


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


@pytest.mark.parametrize(
    ("target", "name"), [("one.py", "one"), ("one", "one"), ("two.py:Second", "second"), ("two:First", "first")]
)
def test_files_and_modules_are_found(tmp_path: Path, target: str, name: str) -> None:
    write(tmp_path / "one.py", ONE)
    write(tmp_path / "two.py", "from hivemind import Node\nclass First(Node): pass\nclass Second(Node): pass\n")
    loaded = load_target(target, OUTSIDE)
    assert (loaded.name, loaded.build().name) == (name, name)


@pytest.mark.parametrize(("target", "name"), [("signal", "signal"), ("flat", "flat"), ("far", "far")])
def test_a_hives_nodes_are_called_as_their_folder_although_another_is_broken(
    hive: Settings, target: str, name: str
) -> None:
    loaded = load_target(target, hive)
    assert (loaded.name, loaded.build().name) == (name, name)


def test_a_decorated_module_is_named_after_its_file(tmp_path: Path) -> None:
    write(tmp_path / "greeter.py", "from hivemind import service\n@service('a')\ndef greet(): pass\n")
    assert load_target("greeter.py", OUTSIDE).build().name == "greeter"


def test_all_that_is_declared_of_plain_functions_holds(tmp_path: Path) -> None:
    write(
        tmp_path / "shop.py",
        """
        from hivemind import service, subscription

        @service("orders", every=5.0, durable=True)
        def sell(service): ...

        @subscription("orders", workers=2, durable=True, since="all", retries=1)
        def pack(order): ...
        """,
    )
    node = load_target("shop.py", OUTSIDE).build()
    node._hm.bind()
    (sells,), (packs,) = node.bound_services, node.bound_durables
    assert sells.declaration == ServiceDeclaration("orders", 5.0, durable=True)
    assert packs.declaration == SubscriptionDeclaration("orders", 2, durable=True, since="all", retries=1)


@pytest.mark.parametrize(
    ("code", "line", "reason"),
    [
        ("x = (\n", 1, "SyntaxError"),
        ("\nimport nothing_of_that_name\n", 2, "No module named 'nothing_of_that_name'"),
        ("\n\n1 / 0\n", 3, "ZeroDivisionError"),
        ("raise SystemExit(3)\n", 1, "SystemExit"),
        ("from hivemind import service\n\n@service('bad topic!')\ndef f(): pass\n", 3, "cannot be the name of a topic"),
        ("x = 1\n", None, "neither a Node class nor a function"),
        (ONE + "class Two(Node): pass\n", None, "several: One, Two"),
        (ONE + "from hivemind import service\n@service('a')\ndef greet(): pass\n", None, "several: One, greet"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(
    tmp_path: Path, code: str, line: int | None, reason: str
) -> None:
    path = write(tmp_path / "bad.py", code)
    with pytest.raises(NodeLoadError, match=reason) as caught:
        load_target("bad.py", OUTSIDE)
    assert (Path(str(caught.value.file)), caught.value.line) == (path, line)
    assert str(caught.value).startswith(f"{path}:")  # once, also if it was named as it is here


def test_a_class_of_a_hives_node_is_named_behind_the_node(hive: Settings) -> None:
    assert hive.hive is not None
    write(hive.hive / "nodes" / "prices.py", ONE)
    assert load_target("prices:One", hive).name == "one"
    with pytest.raises(NodeLoadError, match="has no node class 'Nope'; it has One"):
        load_target("prices:Nope", hive)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nowhere.py", "there is no file"),
        ("nowhere", "there is no node, module or file called 'nowhere'"),
        ("one.py:Two", "no node class 'Two'; it has One"),
    ],
)
def test_what_is_not_there_is_said_by_name(tmp_path: Path, target: str, reason: str) -> None:
    write(tmp_path / "one.py", ONE)
    with pytest.raises(NodeLoadError, match=reason):
        load_target(target, OUTSIDE)


def test_a_broken_node_of_a_hive_is_blamed_with_its_own_line(hive: Settings) -> None:
    with pytest.raises(NodeLoadError) as caught:
        load_target("broken", hive)
    assert str(caught.value.file).endswith("nodes/broken/broken.py")
    assert caught.value.line == 1
