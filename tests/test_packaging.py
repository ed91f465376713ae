"""What people install: the wheel with its server, and what `make` says where it cannot work."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent.parent
TOOLS = ["sh", "make", "cat", "dirname", "grep", "head", "rm", "sed", "tail", "touch", "uname"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by way of the sdist as `make wheel` does."""
    source = checkout(tmp_path_factory.mktemp("source"))
    run([sys.executable, "-m", "build", "--outdir", "dist", "."], source)
    assert len(list((source / "dist").glob("hivemind_net-*.tar.gz"))) == 1
    return next((source / "dist").glob("hivemind_net-*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an otherwise empty environment into which the wheel and its server were installed."""
    folder = tmp_path_factory.mktemp("installed")
    run([sys.executable, "-m", "venv", "--without-pip", "venv"], folder)
    pip = [sys.executable, "-m", "pip", "--python", "venv/bin/python"]
    run([*pip, "install", "-q", "--no-compile", "--only-binary", ":all:", f"{wheel}[server]"], folder)
    return folder / "venv" / "bin"


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    found = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("hivemind/")}
    assert found == {str(path.relative_to(HERE)) for path in files(HERE / "hivemind")}


def test_the_installed_programs_know_their_version(installed: Path, tmp_path: Path) -> None:
    found = run([installed / "hm", "--version"], tmp_path, home=tmp_path)
    assert re.search(r"\b0\.\d+\.\d+\b", found)


@pytest.fixture
def home(installed: Path) -> Iterator[Path]:
    """An empty home folder, of a usual length, in which nothing runs any more afterwards."""
    with tempfile.TemporaryDirectory(prefix="hm-") as folder:
        home = Path(folder)
        yield home
        run([installed / "hm", "redis", "stop"], home, home=home)


def test_the_first_node_of_the_readme_runs_where_nothing_but_the_wheel_is(installed: Path, home: Path) -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    first = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert first is not None
    assert len(first.group(1).splitlines()) <= 15
    (home / "first.py").write_text(first.group(1))
    node = subprocess.Popen([installed / "hm", "run", "first.py"], cwd=home, env=environ(home))
    try:
        heard = run([installed / "hm", "tail", "*", "--count", "1", "--json"], home, home=home)
        assert '"payload"' in heard
        node.send_signal(signal.SIGTERM)
        assert node.wait(15) == 0
    finally:
        node.kill()
        node.wait()


def test_a_python_too_old_gets_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    source = checkout(tmp_path / "source")
    old = '#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac\n'
    failed = make(source, tools(tmp_path / "bin", old))
    assert failed.splitlines()[0] == (
        "Hivemind needs Python 3.11 or newer, and the newest here is Python 3.9.2: "
        "install Python 3.11 or newer so that it is on PATH, then run make again."
    )
    assert not (source / ".venv").exists()


def test_a_missing_wheel_is_named_with_what_to_do(tmp_path: Path) -> None:
    source = checkout(tmp_path / "source")
    bin_ = tools(tmp_path / "bin", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    failed = make(source, bin_, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert "There is no ready-made wheel of setuptools for Python 3." in failed
    assert "Traceback" not in failed


def checkout(folder: Path) -> Path:
    """A copy of what git has, as far as building needs it."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(HERE / "hivemind", folder / "hivemind", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE / ".ci", folder / ".ci")
    for pattern in ("setup.py", "pyproject.toml", "Makefile", "LICENSE", "*.md"):
        for path in HERE.glob(pattern):
            shutil.copy(path, folder)
    return folder


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def tools(folder: Path, python3: str) -> Path:
    """A PATH on which there is next to nothing but this ``python3``."""
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    (folder / "python3").write_text(python3)
    (folder / "python3").chmod(0o755)
    return folder


def make(source: Path, path: Path, **more: str) -> str:
    """What `make run` says on standard error when it fails."""
    env = {"PATH": str(path), "HOME": str(source), **more}
    done = subprocess.run(["make", "run"], cwd=source, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    return done.stderr


def environ(home: Path) -> dict[str, str]:
    """Of a user whose home is empty, and on whose PATH there is no Redis."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HIVE", "XDG_", "PYTHON", "COV"))}
    return {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": str(home)}


def run(command: list[str | Path], cwd: Path, *, home: Path | None = None) -> str:
    env = environ(home) if home else None
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
