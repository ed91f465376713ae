"""Documentation as a program: the blocks of a page are run one after the other, as a reader would.

A comment before a block says what kind it is, where its language does not::

    <!-- test: file NAME -->                    the block is what a reader saves as NAME (`append`: adds to NAME)
    <!-- test: background until "TEXT" -->      the command stays; TEXT has to appear (`in the checkout`: runs there)
    <!-- test: fails with 1 -->                 the command has to end with this exit code
    <!-- test: printed -->                      the block is what the last background command prints now
    <!-- test: theirs -->                       another library's program: it has to be Python, and is not run
    <!-- test: skip because REASON -->          not run; there are few of these, and a test lists them
    <!-- test: run COMMAND -->                  no block: sets the scene, unseen by the reader
    <!-- test: stop -->                         no block: Ctrl-C in every terminal that still runs something

Without one, `sh` is run by bash (a `cd` holds for the next block, too), `text` after a command is what that printed
(`…` stands for anything), `python` is checked as a node if it declares one and run as a program if not.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from . import warm_kit
from .waiting import eventually

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
HIDDEN = ("run", "stop")
NOT_RUN = frozenset({"", "mermaid"})  # pictures; diagrams are compared with what makes them
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)
_PIECE = re.compile(rf"<!-- test: (?P<order>[^\n]*?) -->|{_FENCE.pattern}", re.DOTALL | re.MULTILINE)
_BACKGROUND = re.compile(r'background until "(?P<until>.*)"(?P<checkout> in the checkout)?')
_NODE = re.compile(r"^@(service|subscription|responder)\(|^class \w+\(_?Node\)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block, or a hidden step, of a page."""

    page: Path
    line: int
    order: str
    language: str = ""
    text: str = ""

    @property
    def skipped(self) -> str:
        """Why it is not run; "" if it is."""
        return self.order.removeprefix("skip because ") if self.order.startswith("skip because ") else ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order, each with the comment before it."""
    text, order = page.read_text(encoding="utf-8"), ""
    for piece in _PIECE.finditer(text):
        line = text.count("\n", 0, piece.start()) + 1
        if piece["order"] is None:
            indent = len(piece["indent"])
            body = "".join(row[indent:] for row in piece["text"].splitlines(keepends=True))
            yield Block(page, line, order, piece["language"], body)
            order = ""
        elif piece["order"].split()[0] in HIDDEN:
            yield Block(page, line, piece["order"])
        else:
            order = piece["order"]


class Terminal:
    """A command that stays, in a session of its own, as in another terminal."""

    def __init__(self, command: str, folder: Path, env: dict[str, str], log: Path) -> None:
        self.command, self._log = command, log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until it has printed ``text``."""

        def printed() -> bool:
            if text in self.output:
                return True
            assert self._process.poll() is None, f"{self.command} ended with {self._process.returncode}:\n{self.output}"
            return False

        try:
            eventually(printed, within=45)
        except AssertionError as error:
            raise AssertionError(f"{self.command} did not print {text!r}: {error}\n{self.output}") from None

    def interrupt(self) -> None:
        """Ctrl-C, and wait for the end; only wait, where it ends by itself: it may be about to."""
        if self._process.poll() is None:
            if "--count" not in self.command:
                os.killpg(self._process.pid, signal.SIGINT)
            code = self._process.wait(20)
            is_make = self.command.startswith("make")  # which reports that it was interrupted
            assert code in (0, 130) or is_make, f"{self.command} ended with {code}:\n{self.output}"

    def kill(self) -> None:
        """End it without ceremony."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)


class Reader:
    """Somebody who follows one page in an empty home folder, and does what it says.

    ``is_warm``: `hm` and `hived`, where they do not stay, need not import what another process has (``warm_kit``).
    """

    def __init__(self, *, is_warm: bool = False) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="hm-"))  # short: unix sockets lie below it
        self.folder, self._told = self.home, self.home / ".cwd"
        self.said = ""
        self._terminals: list[Terminal] = []
        programs = self.home / ".bin"
        programs.mkdir()
        if shutil.which("redis-cli") is None:
            (programs / "redis-cli").write_text(
                f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec python -m tests.redis_cli "$@"\n'
            )
            (programs / "redis-cli").chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HIVE", "XDG_", "PYTEST"))}
        self._env = {
            **kept,
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "PATH": f"{programs}:{Path(sys.executable).parent}:{kept.get('PATH', os.defpath)}",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        self._at_once = self._env
        if is_warm:
            self._at_once = {**self._env, "PATH": f"{warm_kit.scripts(self.home / '.warm')}:{self._env['PATH']}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for terminal in self._terminals:
            terminal.kill()
        while found := list(self._left()):
            for process in found:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(found, timeout=5)
        shutil.rmtree(self.home, ignore_errors=True)

    def _left(self) -> Iterator[psutil.Process]:
        """What still runs in this home folder."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if str(self.home) in " ".join(process.cmdline()) or process.environ().get("HOME") == str(self.home):
                    yield process

    def follow(self, block: Block) -> None:
        """Do what one block says. Raises AssertionError, with what was printed, if it does not work."""
        try:
            self._follow(block)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f"{block}: {error}") from None

    def _follow(self, block: Block) -> None:
        verb, _, rest = block.order.partition(" ")
        if verb == "run":
            self._run(rest)
        elif verb == "stop":
            self._stop()
        elif verb in ("file", "append"):
            self._save(self.folder / rest, block.text, "a" if verb == "append" else "w")
        elif verb == "background":
            self._begin(block)
        elif verb == "printed":
            eventually(lambda: self._has_printed(block.text), within=10)
        elif verb == "theirs":
            compile(block.text, str(block), "exec")
        elif verb == "fails":
            self._run(block.text, int(rest.removeprefix("with ")))
        elif not block.skipped:
            assert not verb, f"what is {block.order!r}?"
            self._by_language(block)

    def _by_language(self, block: Block) -> None:
        if block.language == "sh":
            self._run(block.text)
        elif block.language == "text":
            self._compare(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            self._python(block)
        else:
            assert block.language in NOT_RUN, f"a block of {block.language} needs a comment that says what it is"

    def _run(self, script: str, expected: int = 0) -> None:
        text = f"cd {shlex.quote(str(self.folder))}\ntrap 'pwd > {self._told}' EXIT\nset -e\n{script}"
        done = subprocess.run(
            ["bash", "-c", text],
            env=self._at_once,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        self.said = done.stdout
        assert done.returncode == expected, f"exit code {done.returncode} of\n{script}\n{done.stdout}"
        self.folder = Path(self._told.read_text().strip())

    def _begin(self, block: Block) -> None:
        found = _BACKGROUND.fullmatch(block.order)
        assert found, f"what is {block.order!r}?"
        folder = CHECKOUT if found["checkout"] else self.folder
        log = self.home / f".terminal{len(self._terminals)}"
        self._terminals.append(Terminal(block.text.strip(), folder, self._env, log))
        self._terminals[-1].wait_for(found["until"])
        self.said = self._terminals[-1].output

    def _has_printed(self, text: str) -> bool:
        self.said = self._terminals[-1].output
        self._compare(text)
        return True

    def _stop(self) -> None:
        for terminal in reversed(self._terminals):
            terminal.interrupt()
        self._terminals.clear()

    def _save(self, path: Path, text: str, mode: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
        if path.suffix == ".py":
            compile(path.read_text(encoding="utf-8"), str(path), "exec")

    def _compare(self, expected: str) -> None:
        lines = iter(self.said.splitlines())
        for wanted in filter(str.strip, expected.splitlines()):
            parts = [r"\s+".join(map(re.escape, part.split())) for part in wanted.split("…")]
            pattern = re.compile(r"\s*" + r"\s*.*\s*".join(parts) + r"\s*")
            assert any(pattern.fullmatch(line) for line in lines), f"no line like\n{wanted}\nin\n{self.said}"

    def _python(self, block: Block) -> None:
        path = self.home / f"block_{block.line}.py"
        path.write_text(block.text, encoding="utf-8")
        self._run(f"python -m hivemind.node {path} --check" if _NODE.search(block.text) else f"python {path}")
