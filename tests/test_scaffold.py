"""What `hm new` and `hm create_node` write: the tutorial's layout, and code that linters and people accept."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hivemind
from hivemind.cli.scaffold import (
    enabling_line,
    new_values,
    node_name,
    offer_node,
    plan_hive,
    plan_node,
    render_settings,
)
from hivemind.errors import ConfigurationError, InvalidName
from hivemind.settings import Constants, load_settings

LAYOUT = {
    ".gitignore",
    "__init__.py",
    "config/__init__.py",
    "config/hive.py",
    "nodes/__init__.py",
    "root/__init__.py",
    "static/.gitkeep",
    "static/templates/.gitkeep",
    "templates/.gitkeep",
    "tests/test_hive.py",
}


@pytest.fixture
def gotham(tmp_path: Path) -> Path:
    """A new hive, with a node, enabled."""
    plan_hive("gotham", tmp_path).write()
    hive = tmp_path / "gotham"
    plan_node("BatSignal", hive, "gotham").write()
    path = offer_node(hive, "batsignal")
    path.write_text(path.read_text().replace("# from .", "from ."))
    return hive


def test_a_hive_has_the_layout_of_the_tutorial(tmp_path: Path) -> None:
    plan = plan_hive("gotham", tmp_path)
    assert set(plan.files) == LAYOUT
    plan.write()
    assert {str(p.relative_to(tmp_path / "gotham")) for p in (tmp_path / "gotham").rglob("*") if p.is_file()} == LAYOUT
    assert [path.name for path in tmp_path.iterdir()] == ["gotham"]


def test_every_setting_is_written_with_its_default_and_its_description(tmp_path: Path) -> None:
    plan_hive("gotham", tmp_path).write()
    settings = load_settings(tmp_path / "gotham", {})
    text = render_settings("gotham")
    expected = Constants().model_dump() | new_values("gotham")
    expected["LOG_LOCATION"] = load_settings(None, {"HIVEMIND_HIVE_NAME": "gotham"}).constants.LOG_LOCATION
    for name in ("STATIC_DIRS", "TEMPLATE_DIRS"):
        expected[name] = [tmp_path / "gotham" / folder for folder in expected[name]]
    assert settings.constants.model_dump() == expected
    for name, field in Constants.model_fields.items():
        comment = (field.description or "nothing").replace("<name>", "gotham")
        assert f"# {comment}\n{name}" in text
    assert all(source != "default" for name, source in settings.sources.items() if name != "LOG_LOCATION")


@pytest.mark.parametrize(
    ("hive", "controller"), [("gotham", "GothamController"), ("wayne_manor", "WayneManorController")]
)
def test_the_root_is_a_class_of_the_hives_own(tmp_path: Path, hive: str, controller: str) -> None:
    plan_hive(hive, tmp_path).write()
    assert f"class {controller}(RootController):" in (tmp_path / hive / "root" / "__init__.py").read_text()
    assert load_settings(tmp_path / hive, {}).shown()["HIVE_CONTROLLER"] == f"root:{controller}"


def test_a_node_has_folder_module_and_name_in_lower_case_and_its_class_in_upper(tmp_path: Path) -> None:
    plan = plan_node("batSignal", tmp_path, "gotham")
    assert plan.folder == tmp_path / "nodes" / "batsignal"
    assert set(plan.files) == {"__init__.py", "batsignal.py"}
    source = plan.files["batsignal.py"]
    found = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert [node.name for node in found] == ["BatSignal"]
    assert [f.name for f in found[0].body if isinstance(f, ast.FunctionDef)] == ["services", "subscriptions"]
    assert 'BatSignal.exec_(name="batsignal", logging="verbose")' in source
    assert "from hivemind import _Node" in source


@pytest.mark.parametrize(
    ("base", "imports", "cls"),
    [
        ("nodes.base.Hero", "from nodes.base import Hero", "class Robin(Hero):"),
        ("heroes.Robin", "from heroes import Robin as BaseRobin", "class Robin(BaseRobin):"),
    ],
)
def test_a_node_may_derive_from_another_class(tmp_path: Path, base: str, imports: str, cls: str) -> None:
    source = plan_node("robin", tmp_path, "gotham", base).files["robin.py"]
    assert imports in source
    assert cls in source


@pytest.mark.parametrize("base", ["Hero", "nodes..Hero", "nodes.class.Hero", "a b.Hero", ""])
def test_a_base_class_that_cannot_be_is_refused(tmp_path: Path, base: str) -> None:
    with pytest.raises(InvalidName, match=r"write package\.Class"):
        plan_node("robin", tmp_path, "gotham", base)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("my hive", "letters, digits"),
        ("../x", "letters, digits"),
        ("", "letters, digits"),
        ("x" * 65, "63"),
        ("my-hive", "use _ instead of -"),
        ("class", "keyword"),
        ("Json", "Python's own module 'json'"),
        ("hivemind", "a meaning of its own"),
        ("nodes", "a meaning of its own"),
        ("root", "a meaning of its own"),
        ("pydantic", "installed module"),
    ],
)
def test_names_that_cannot_be_are_refused_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason):
        plan_hive(name, tmp_path)
    with pytest.raises(InvalidName, match=reason):
        plan_node(name, tmp_path, "gotham")


@pytest.mark.parametrize("name", ["none", "hived", "redis"])
def test_some_names_are_refused_for_nodes_only(name: str) -> None:
    with pytest.raises(InvalidName):
        node_name(name)


def test_what_exists_is_never_overwritten(gotham: Path) -> None:
    before = {path: path.read_bytes() for path in gotham.rglob("*") if path.is_file()}
    with pytest.raises(ConfigurationError, match="already exists"):
        plan_hive("gotham", gotham.parent).write()
    with pytest.raises(ConfigurationError, match="already exists"):
        plan_node("BATSIGNAL", gotham, "gotham").write()
    (gotham / "nodes" / "robin.py").touch()
    with pytest.raises(ConfigurationError, match=r"robin\.py already exists"):
        plan_node("Robin", gotham, "gotham")
    assert {path: path.read_bytes() for path in before} == before


def test_an_empty_folder_may_become_a_hive(tmp_path: Path) -> None:
    (tmp_path / "gotham").mkdir()
    plan_hive("gotham", tmp_path).write()
    assert (tmp_path / "gotham" / "config" / "hive.py").is_file()


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="gotham cannot be written: Not a directory"):
        plan_hive("gotham", tmp_path / "file").write()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("before", ["", "# mine", "import os\n"])
def test_the_enabling_line_is_appended_once_commented_out(tmp_path: Path, before: str) -> None:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "__init__.py").write_text(before)
    offer_node(tmp_path, "batsignal")
    lines = offer_node(tmp_path, "batsignal").read_text().splitlines()
    assert lines == [*before.splitlines(), f"# {enabling_line('batsignal')}"]


def test_an_enabled_node_is_not_offered_again(gotham: Path) -> None:
    before = (gotham / "nodes" / "__init__.py").read_text()
    assert offer_node(gotham, "batsignal").read_text() == before


def test_the_test_of_a_new_hive_passes(gotham: Path) -> None:
    run(gotham, "pytest", "-q", "-p", "no:cacheprovider", "tests")


@pytest.mark.parametrize("options", [(), ("--select", "E,F,I,B,UP,D100,D101,D103,ANN", "--line-length", "120")])
def test_generated_code_passes_ruff(gotham: Path, options: tuple[str, ...]) -> None:
    run(gotham, "ruff", "check", "--isolated", "--no-cache", *options, ".")
    run(gotham, "ruff", "format", "--isolated", "--no-cache", "--check", "--line-length", "120", ".")


def test_generated_code_passes_mypy_strict(gotham: Path, tmp_path: Path) -> None:
    run(gotham, "mypy", "--strict", "--follow-imports", "silent", "--cache-dir", str(tmp_path / "cache"), ".")


def run(hive: Path, module: str, *args: str) -> None:
    pytest.importorskip(module)
    root = str(Path(hivemind.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=hive,
        env=os.environ | {"PYTHONPATH": root, "MYPYPATH": root},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
