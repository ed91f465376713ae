"""``python -m hivemind.probe alive|ready [FILE]``: whether a node is well, for the engine that runs it.

*alive*: its event loop turns; a node that waits, for Redis or for others, is alive. *ready*: it consumes. The node
itself writes into FILE, once a second, from its event loop, if the environment variable HIVEMIND_PROBE names that file;
the same variable tells the probe. Exit code 0: yes, 1: no, and why in a line, 2: wrong use.

An engine asks each node every few seconds: so nothing is imported here that takes its time, not even ``dataclasses``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

VARIABLE = "HIVEMIND_PROBE"  #: environment variable that names the file
QUESTIONS = ("alive", "ready")


class Sign(NamedTuple):
    """What a node last said of itself: ``at`` is of the monotonic clock, which all processes of a machine share, and
    ``limit`` for how many seconds its loop may stand still.
    """

    state: str
    is_consuming: bool
    at: float
    limit: float

    def __str__(self) -> str:
        return f"{self.state} {'yes' if self.is_consuming else 'no'} {self.at:.3f} {self.limit:.3f}\n"

    @classmethod
    def parse(cls, text: str) -> Sign | None:
        """Read what ``str`` wrote; None if it is anything else."""
        try:
            state, consuming, at, limit = text.split()
            return cls(state, consuming == "yes", float(at), float(limit))
        except ValueError:
            return None


def judge(question: str, sign: Sign | None, now: float) -> tuple[bool, str]:
    """Whether a node that gave ``sign`` is what ``question`` asks for, and a word about it."""
    if sign is None:
        return False, "no sign of life: its loop has not begun to turn"
    age = now - sign.at
    if not abs(age) <= sign.limit:  # one from the future is from before the machine started
        return False, f"its loop has stood still for {abs(age):.0f} s"
    if question == "ready" and not sign.is_consuming:
        away = sign.state == "running"
        return False, f"{sign.state}, but Redis is away" if away else sign.state
    return True, sign.state


def read(path: Path) -> Sign | None:
    """What the node said last; None if it said nothing, or the file is spoilt."""
    try:
        return Sign.parse(path.read_text("ascii"))
    except (OSError, UnicodeDecodeError):
        return None


def main(arguments: Sequence[str]) -> int:
    """Answer one question; return the exit code."""
    question, *files = arguments or ("",)
    file = files[0] if files else os.environ.get(VARIABLE, "")
    if question not in QUESTIONS or not file or len(files) > 1:
        sys.stderr.write(
            f"usage: python -m hivemind.probe alive|ready [FILE]; without FILE {VARIABLE} has to name it\n"
        )
        return 2
    is_so, why = judge(question, read(Path(file)), time.monotonic())
    sys.stdout.write(f"{why}\n")
    return 0 if is_so else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
