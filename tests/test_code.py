"""Which files a node's code is: found without running any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hivemind.supervisor.code import code_files, code_hash

FILES = {
    "nodes/__init__.py": "from .batman import batman\n",
    "nodes/batman/batman.py": "from . import cape\nfrom gear.belt import B\nimport os, notes\nfrom nodes import robin",
    "nodes/batman/__init__.py": "",
    "nodes/batman/cape.py": "raise SystemExit\n",
    "nodes/robin.py": "",
    "gear/__init__.py": "",
    "gear/belt.py": "def late():\n    from .hook import Hook\n",
    "gear/hook.py": "from gear.belt import Belt\n",
    "gear/unused.py": "",
    "notes.py": "def (",
    "os.txt": "",
}
MINE = {"nodes/batman/batman.py", "nodes/batman/cape.py", "nodes/robin.py", "gear/__init__.py", "gear/belt.py"}
MINE |= {"gear/hook.py", "notes.py", "nodes/batman/__init__.py"}


@pytest.fixture
def hive(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def batman(hive: Path) -> str:
    return code_hash(hive, str(hive / "nodes/batman/batman.py"))


def test_the_code_of_a_node_is_its_file_and_all_of_the_hive_that_it_imports(hive: Path) -> None:
    found = code_files(hive, hive / "nodes/batman/batman.py")
    assert {str(each.relative_to(hive)) for each in found} == MINE


@pytest.mark.parametrize("name", sorted(MINE))
def test_a_change_of_any_of_its_files_changes_the_hash(hive: Path, name: str) -> None:
    before = batman(hive)
    assert batman(hive) == before
    (hive / name).write_text("import sys\n")
    assert batman(hive) != before


@pytest.mark.parametrize("name", sorted(FILES.keys() - MINE))
def test_a_change_of_any_other_file_does_not(hive: Path, name: str) -> None:
    before = batman(hive)
    (hive / name).write_text("changed = 1\n")
    assert batman(hive) == before


def test_a_file_that_is_added_counts_when_it_is_imported(hive: Path) -> None:
    before = batman(hive)
    (hive / "gear/belt").mkdir()
    (hive / "gear/belt/__init__.py").write_text("")
    assert batman(hive) != before


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\0", b"(" * 100_000, b"from ............ import far"])
def test_what_is_no_python_counts_as_it_is(hive: Path, content: bytes) -> None:
    (hive / "nodes/batman/batman.py").write_bytes(content)
    assert len(batman(hive)) == 16


def test_what_has_no_file_of_its_own_has_no_hash(hive: Path) -> None:
    assert code_hash(hive, "") == ""
