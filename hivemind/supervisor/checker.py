"""One process that has loaded what all nodes need, and forks a child for each that is to be checked.

``python -m hivemind.supervisor.checker``, in the hive's folder, reads from its standard input the ``targets`` ("": the
settings), how many are checked ``at_once``, and after how many seconds one of them is late (``timeout``). It prints for
each a line of JSON: its ``target``, and what ``checking`` says of it; or ``ended`` and the reason, if importing it
ended the process; or ``late``; or ``unchecked``, where the machine has no room for the child. A child imports one node
and is gone, with all that the import has changed, printed or broken; what was imported before is what the node's own
process imports.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import orjson

from ..collector import held_off

with held_off():
    from ..errors import HivemindError
    from ..last_settings import settings_or_applied
    from ..node.checking import Verdict, check, check_settings
    from ..settings import find_hive, load_settings
    from .heard import Heard

MOST = 1 << 20  # bytes that are kept of what a child says, the last ones


class _Pipe:
    """What a child writes. It is read while the child lives, so that the child never waits for it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.content = b""

    def drain(self) -> None:
        """Take up what was written so far."""
        with suppress(BlockingIOError):
            while part := os.read(self.reader, 65536):
                self.content = (self.content + part)[-MOST:]


@dataclass(frozen=True, slots=True)
class _Child:
    """A process that imports ``target``, and is late after ``deadline``: what it says of it, and what it prints."""

    target: str
    deadline: float
    said: _Pipe
    printed: _Pipe

    def outcome(self, status: int) -> dict[str, Any]:
        """What became of it, now that it has ended with ``status``."""
        for pipe in (self.said, self.printed):
            pipe.drain()
            os.close(pipe.reader)
        if self.said.content and status == 0:
            return {"target": self.target, **orjson.loads(self.said.content)}
        if status == -signal.SIGKILL and time.monotonic() >= self.deadline:
            return _late(self.target)
        last = (self.printed.content.decode(errors="replace").strip().splitlines() or [""])[-1]
        reason = f"importing it ends the process with {status}: {last}"
        return {"target": self.target, "ok": False, "ended": True, "reason": reason}


class Checks:
    """Checks ``targets``, so many ``at_once``; one that takes longer than ``timeout`` seconds is killed."""

    def __init__(self, targets: Iterable[str], at_once: int, timeout: float) -> None:
        self._waiting, self._at_once, self._timeout = deque(targets), at_once, timeout
        self._children: dict[int, _Child] = {}
        self._heard = Heard((signal.SIGCHLD,))

    def run(self) -> Iterator[dict[str, Any]]:
        """What became of each, in the order in which they are done."""
        while self._waiting or self._children:
            while self._waiting and len(self._children) < self._at_once:
                yield from self._begin(self._waiting.popleft())
            self._wait()
            yield from self._ended()

    def _begin(self, target: str) -> Iterator[dict[str, Any]]:
        child = _Child(target, time.monotonic() + self._timeout, _Pipe(), _Pipe())
        pid = self._fork()
        if pid == 0:
            _import(child)
        os.close(child.said.writer)
        os.close(child.printed.writer)
        if pid is None:
            yield {"target": target, "unchecked": True}
        else:
            self._children[pid] = child

    def _fork(self) -> int | None:
        """As os.fork; None where the machine has no room for one more process."""
        try:
            return os.fork()
        except OSError:
            return None

    def _wait(self) -> None:
        """Return when a child has ended, said something, or is late; then it is killed."""
        pipes = [pipe for child in self._children.values() for pipe in (child.said, child.printed)]
        due = min((child.deadline for child in self._children.values()), default=0.0)
        self._heard.wait(due - time.monotonic(), [pipe.reader for pipe in pipes])
        for pipe in pipes:
            pipe.drain()
        for pid, child in self._children.items():
            if time.monotonic() >= child.deadline:
                os.kill(pid, signal.SIGKILL)  # it is ours, and not waited for yet: the pid is nobody else's

    def _ended(self) -> Iterator[dict[str, Any]]:
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                yield self._children.pop(pid).outcome(os.waitstatus_to_exitcode(status))


def _late(target: str) -> dict[str, Any]:
    return {"target": target, "late": True}


def _import(child: _Child) -> NoReturn:
    """Be the child: import, say what became of it, and end without any farewell that the import has asked for."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, file in enumerate((nothing, nothing, child.printed.writer)):
            os.dup2(file, number)
        sys.argv[1:] = [child.target, "--check"] if child.target else ["--check"]
        with os.fdopen(child.said.writer, "wb") as said:
            said.write(orjson.dumps(_verdict(child.target)))
        status = 0
    except BaseException:  # noqa: BLE001 - whatever somebody else's file does, this process ends here
        traceback.print_exc()
    finally:
        os._exit(status)


def _verdict(target: str) -> Verdict:
    try:
        if target:
            settings, _ = settings_or_applied(os.environ)
        else:
            settings = load_settings(find_hive(Path.cwd(), None, os.environ))
    except HivemindError as error:
        return Verdict(False, reason=str(error))
    return check(target, settings) if target else check_settings(settings)


def main() -> None:
    """Check what standard input names."""
    gc.freeze()  # so that the children do not copy what they share
    asked = orjson.loads(sys.stdin.buffer.read())
    for outcome in Checks(asked["targets"], asked["at_once"], asked["timeout"]).run():
        sys.stdout.write(f"{orjson.dumps(outcome).decode()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
