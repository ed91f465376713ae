"""Standard input and output beside an event loop: threads read and write, and the loop goes on.

They end with the process, even while they wait: whoever is on the other side may stand still.
"""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from ..errors import HivemindError

CHUNK = 65536  #: bytes read at once
AHEAD = 4  #: chunks read before they are wanted
LONGEST = 8 * 1024 * 1024  #: bytes of one line; a message, however it is written, takes less


class Writer:
    """Writes bytes to a file descriptor, by default standard output, in order."""

    def __init__(self, file: int | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        sys.stdout.flush()
        self._file = sys.stdout.fileno() if file is None else file
        threading.Thread(target=self._run, name="output", daemon=True).start()

    async def write(self, data: bytes) -> None:
        """Return when ``data`` is written. Raises OSError, such as BrokenPipeError when nobody reads any more."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((data, done))
        await done

    def _run(self) -> None:
        while True:
            data, done = self._queue.get()
            error = _write(self._file, data)
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_settle, done, error)


async def lines_of(file: int) -> AsyncIterator[bytes]:
    """The lines of a file descriptor, without their ends, as they come. Raises OSError, and HivemindError where a line
    is longer than LONGEST: that is no file of lines.
    """
    reading = _Reading(file)
    try:
        rest = b""
        while chunk := await reading.next():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.removesuffix(b"\r")
            if len(rest) > LONGEST:
                raise HivemindError(
                    f"a line of more than {LONGEST // 2**20} MiB: that is no file of messages, one a line"
                )
        if rest:
            yield rest
    finally:
        reading.end()


class _Reading:
    """A thread that reads a file descriptor, a few chunks ahead of who takes them."""

    def __init__(self, file: int) -> None:
        self._file, self._loop = file, asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self._room, self._is_over = threading.Semaphore(AHEAD), False
        threading.Thread(target=self._run, name="standard input", daemon=True).start()

    async def next(self) -> bytes:
        """What came next; b"" at the end. Raises OSError."""
        chunk = await self._chunks.get()
        self._room.release()
        if isinstance(chunk, OSError):
            raise chunk
        return chunk

    def end(self) -> None:
        """Read no more."""
        self._is_over = True
        self._room.release()

    def _run(self) -> None:
        chunk: bytes | OSError = b" "
        while chunk and not isinstance(chunk, OSError):
            self._room.acquire()
            if self._is_over:
                return
            try:
                chunk = os.read(self._file, CHUNK)
            except OSError as error:
                chunk = error
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set ``stop`` on Ctrl-C and SIGTERM: for commands that go on until then. (On Windows Ctrl-C just ends them.)"""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)


def _write(file: int, data: bytes) -> OSError | None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError as error:
        return error
    return None


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
