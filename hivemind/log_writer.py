"""The thread that writes the log, and the two places besides files that lines go to or come from."""

from __future__ import annotations

import contextvars
import io
import logging
import os
import select
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from .burst import MORE
from .log_context import named
from .log_lines import Form, Said, TextForm

QUEUE_LIMIT = 16 * 1024 * 1024  # characters that may wait to be written; records beyond are dropped and counted
TEXT_LIMIT = 1024 * 1024  # characters of one record; the rest is cut off
PATIENCE = 2.0  # seconds that flushing or closing waits for a disk or terminal that does not take what we write
IDLE = 5.0  # seconds between looks at a file that only others write to
BATCH = 500  # records written at once

_RECORD_COST = 128  # characters that a record counts for besides its text
_TEXT = logging.Formatter("%(message)s")


class Sink(Protocol):
    """Where lines end up. Only the writer's thread calls it (in a forked child, whoever logs)."""

    error: OSError | None

    def write(self, lines: Sequence[bytes]) -> int:
        """Write whole lines; returns how many were lost, and ``error`` says why. Never raises."""

    def tidy(self) -> None:
        """Called now and then when there is nothing to write."""

    def close(self) -> None:
        """Lose what is written from now on."""


class LogWriter(logging.Handler):
    """The handler on the root logger: takes records on any thread, writes them on its own.

    What does not fit the queue, or is refused by a sink, is counted in ``dropped`` and told in the log as soon as
    that takes lines again. A forked child has no such thread: there each record is written by whoever logs it.
    """

    def __init__(self, sinks: Sequence[Sink], form: Form | None = None) -> None:
        super().__init__()
        self._sinks, self.form = sinks, form or TextForm()
        self._queue: SimpleQueue[Said | threading.Event | None] = SimpleQueue()
        self._queued = self._written = 0  # characters; the first changes under the handler's lock, the other does not
        self._refused = self._lost = self._told = 0  # lines: queue full; not written; told in the log
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many lines were not written."""
        return self._refused + self._lost

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record; never waits, never raises."""
        about = named() if self.form.is_structured else ("", "", "")
        entry = Said(record.created, record.levelname, record.name, *_text(record), *about, getattr(record, MORE, ()))
        if not self._thread:
            self._write([entry])
        elif self._queued - self._written > QUEUE_LIMIT:
            self._refused += 1
        else:
            self._queued += _cost(entry)
            self._queue.put(entry)

    def flush(self) -> None:
        """Wait until all that was logged before is written, for at most PATIENCE."""
        if self._thread and self._thread is not threading.current_thread():
            done = threading.Event()
            self._queue.put(done)
            done.wait(PATIENCE)

    def close(self) -> None:
        """Write what is queued and end the thread; later records are written by whoever logs them."""
        if self._thread:
            self._queue.put(None)
            self._thread.join(PATIENCE)
            if not self._thread.is_alive():  # else it hangs in a write, and whoever wrote now would hang as well
                self._thread = None
        super().close()

    def after_fork(self) -> None:
        """In a forked child: forget the queue and the thread, which are the parent's."""
        self._queue = SimpleQueue()
        self._thread = None
        self._refused = self._lost = self._told = 0

    def _run(self) -> None:
        going = True
        while going:
            batch = self._take()
            entries = [item for item in batch if isinstance(item, Said)]
            self._write(entries)
            self._written += sum(map(_cost, entries))
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()
            going = None not in batch

    def _take(self) -> list[Said | threading.Event | None]:
        batch: list[Said | threading.Event | None] = []
        try:
            batch.append(self._queue.get(timeout=IDLE))
            while len(batch) < BATCH and batch[-1] is not None:
                batch.append(self._queue.get_nowait())
        except Empty:
            pass
        return batch

    def _write(self, entries: list[Said]) -> None:
        try:
            untold = self.dropped - self._told
            lines = [self._line(entry) for entry in ([self._report(untold), *entries] if untold else entries)]
            if not lines:
                for sink in self._sinks:
                    sink.tidy()
                return
            lost = max((sink.write(lines) for sink in self._sinks), default=0)
            if lost < len(lines):
                self._told += untold
            self._lost += min(lost, len(entries))
        except Exception:  # noqa: BLE001 - whatever it is: the log must end neither the program nor itself
            self._lost += len(entries)

    def _report(self, untold: int) -> Said:
        reasons = [str(sink.error) for sink in self._sinks if sink.error] if self._lost else []
        text = f"{untold} log lines were lost: {', '.join(reasons) or 'too many at once'}"
        return Said(time.time(), "WARNING", "hivemind.log", text)

    def _line(self, entry: Said) -> bytes:
        return f"{self.form.line(entry)}\n".encode("utf-8", "backslashreplace")


class Terminal:
    """Standard error as a sink.

    It goes around Python's own buffer: a thread that hangs in a write would keep the buffer's lock for ever.
    """

    def __init__(self) -> None:
        self.error: OSError | None = None

    def write(self, lines: Sequence[bytes]) -> int:
        """See Sink."""
        data = b"".join(lines)
        try:
            while data:
                data = data[self._write_some(data) :]
        except OSError as error:
            self.error = error
        return data.count(b"\n")

    def tidy(self) -> None:
        """A terminal needs none."""

    def close(self) -> None:
        """It is not ours to close."""

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(2, data)
        except BlockingIOError:  # somebody made the terminal non-blocking
            if not select.select([], [2], [], PATIENCE)[1]:
                raise
            return 0


#: whose code runs, where several nodes share a process: what is printed is logged in that name
speaker: contextvars.ContextVar[str] = contextvars.ContextVar("speaker", default="")


class LineStream(io.TextIOBase):
    """What sys.stdout and sys.stderr are in a process that owns its streams: each line becomes a record.

    Records go straight to the writer, not through the loggers: a handler that prints to sys.stderr would else never
    come to an end, and a high log level would swallow what was printed. ``buffer`` leads to the file itself.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, name: str, level: int, fd: int, writer: LogWriter) -> None:
        self._name, self._level, self._fd, self._writer = name, level, fd, writer
        self._local = threading.local()  # each thread has its own unfinished line
        self.buffer = io.FileIO(fd, "w", closefd=False)

    def write(self, text: str) -> int:
        """Log the lines that ``text`` completes."""
        *lines, rest = (self._unfinished() + text).split("\n")
        for line in lines:
            self._log(line)
        self._local.text = rest
        if len(rest) > TEXT_LIMIT:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Log the unfinished line of this thread, if any."""
        rest = self._unfinished()
        self._local.text = ""
        if rest:
            self._log(rest)

    def close(self) -> None:
        """Only flushes: a process keeps its streams until it ends."""
        self.flush()

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The file descriptor that leads to the same file."""
        return self._fd

    def _unfinished(self) -> str:
        return getattr(self._local, "text", "")

    def _log(self, line: str) -> None:
        self._writer.handle(logging.LogRecord(speaker.get() or self._name, self._level, "", 0, line, None, None))


def _text(record: logging.LogRecord) -> tuple[str, str]:
    """What a record says, and its traceback."""
    try:
        whole = _TEXT.format(record)
        text = record.message
    except Exception as error:  # noqa: BLE001 - a wrong logging call must not end its caller
        whole = text = f"{record.pathname}:{record.lineno}: this record cannot be formatted: {error!r}"
    length = min(len(text), TEXT_LIMIT)
    if len(whole) > TEXT_LIMIT:
        whole = f"{whole[:TEXT_LIMIT]} … and {len(whole) - TEXT_LIMIT} characters more"
        length = len(whole) if length == TEXT_LIMIT else length
    return whole[:length], whole[length:].lstrip("\n")


def _cost(entry: Said) -> int:
    return len(entry.text) + len(entry.traceback) + _RECORD_COST
