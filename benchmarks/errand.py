"""What a sender and a worker do, and write down, while something breaks: the same for all that are compared.

The sender has a hundred numbers a second to send, one after the other; when it was held up it sends what became due
meanwhile. The worker takes one at a time. Each has a diary, a line for everything: what, number, when it began, when it
was so, in seconds of the clock that all processes of a machine share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = "HM_ERRAND"  #: the environment variable that names the folder of one errand
RATE = 100.0  #: numbers that become due in a second
HELLO = 0  #: a number that is sent again and again until it comes through: then the errand begins
PAUSE = 0.005  #: seconds that a sender waits when nothing is due
ACCEPTED, REFUSED, BEGAN, DONE = "accepted", "refused", "began", "done"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a diary."""

    what: str
    number: int
    began: float
    at: float


class Errand:
    """One errand, in ``folder``; ``who`` is "sender" or "worker"."""

    def __init__(self, folder: Path, who: str) -> None:
        self.folder, self.path = folder, folder / f"{who}.diary"
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._last = max((line.number for line in read(self.path)), default=0)  # a sender that was begun again goes on

    @classmethod
    def here(cls, who: str) -> Errand:
        """As the environment says."""
        return cls(Path(os.environ[FOLDER]), who)

    def note(self, what: str, number: int, began: float | None = None) -> None:
        """Write down what is so now."""
        now = time.monotonic()
        os.write(self._file, f"{what} {number} {now if began is None else began:.6f} {now:.6f}\n".encode())

    def due(self) -> Iterator[int]:
        """The numbers that are to be sent now."""
        if self._is("over"):
            return
        if not self._is("start"):
            yield HELLO
            time.sleep(0.2)
            return
        while self._last < (time.monotonic() - float((self.folder / "start").read_text())) * RATE:
            self._last += 1
            yield self._last

    @property
    def is_held(self) -> bool:
        """Whether a worker is to stay with the number that it has."""
        return self._is("hold")

    def _is(self, name: str) -> bool:
        return (self.folder / name).exists()


def read(diary: Path) -> list[Line]:
    """All whole lines of a diary."""
    if not diary.exists():
        return []
    rows = [row.split() for row in diary.read_text().split("\n")[:-1]]
    return [Line(what, int(number), float(began), float(at)) for what, number, began, at in rows]
