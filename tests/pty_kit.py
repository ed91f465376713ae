"""Commands at a terminal: what they print there, and what is typed to them."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .cli_kit import Place
from .waiting import eventually

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")


def plain(written: str) -> str:
    """What is to be read of what was written to a terminal."""
    return _CONTROL.sub("", written)


class Terminal:
    """A process at a terminal of its own; ``raw`` is all that it has written there."""

    def __init__(self, here: Place, *arguments: str, rows: int = 40, columns: int = 120, **environ: str) -> None:
        self._main, other = os.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(other)
        more = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONIOENCODING": "utf-8", **environ}
        command, self._other = here._hm(arguments, more), other
        self.process = subprocess.Popen(
            command, cwd=here.folder, env=here._environ(more), stdin=other, stdout=other, stderr=other
        )
        self.raw = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """What it has written, without what moves the cursor or colours."""
        return plain(self.raw)

    @property
    def screen(self) -> str:
        """The last picture that it has drawn, of a program that draws from the upper left corner."""
        return plain(self.raw.rpartition("\x1b[H")[2])

    @property
    def now(self) -> list[Any]:
        """How the terminal is set."""
        return termios.tcgetattr(self._other)

    def type(self, keys: str) -> None:
        os.write(self._main, keys.encode())

    def says(self, text: str, within: float = 20.0) -> None:
        """Wait until it has written this."""

        def said() -> bool:
            assert text in self.text, f"{text!r} is not in:\n{self.text[-3000:]}"
            return True

        eventually(said, within)

    def shows(self, text: str, within: float = 20.0) -> None:
        """Wait until its picture has this."""

        def said() -> bool:
            assert text in self.screen, f"{text!r} is not in:\n{self.screen}"
            return True

        eventually(said, within)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self._other)
        self._reader.join(10)
        os.close(self._main)

    def _read(self) -> None:
        with suppress(OSError):
            while True:
                try:
                    self.raw += os.read(self._main, 65536).decode(errors="replace")
                except OSError as error:
                    if error.errno == errno.EIO:
                        return
                    raise


@contextmanager
def at_terminal(here: Place, *arguments: str, **more: Any) -> Iterator[Terminal]:
    """`hm ARGUMENTS` at a terminal, ended afterwards."""
    made = Terminal(here, *arguments, **more)
    try:
        yield made
    finally:
        made.close()
