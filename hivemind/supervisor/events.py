r"""supervisord's event protocol: what it tells its listener on standard input.

One event at a time: we say ``READY``, it sends a header line and a body, we say ``RESULT 2\nOK``. End of file
means that supervisord is gone.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

READY, DONE = b"READY\n", b"RESULT 2\nOK"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: ``PROCESS_STATE_FATAL`` of ``program``, for example; or ``TICK_5`` of nothing."""

    name: str
    program: str
    is_expected: bool = False  # of PROCESS_STATE_EXITED: whether it ended with 0


def fields(text: str) -> dict[str, str]:
    """Read ``key:value key:value``."""
    return dict(pair.split(":", 1) for pair in text.split() if ":" in pair)


async def events() -> AsyncIterator[Event]:
    """What happens in supervisord, until it is gone. Each event is acknowledged before it is handled."""
    reader = await _standard_input()
    while True:
        _answer(READY)
        header = fields((await reader.readline()).decode(errors="replace"))
        if "len" not in header:
            return
        body = await _exactly(reader, int(header["len"]))
        if body is None:
            return
        _answer(DONE)
        said = fields(body.decode(errors="replace").partition("\n")[0])
        yield Event(header["eventname"], said.get("processname", ""), said.get("expected") == "1")


async def _exactly(reader: asyncio.StreamReader, size: int) -> bytes | None:
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError:
        return None


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _answer(text: bytes) -> None:
    try:
        os.write(1, text)
    except BrokenPipeError:
        return  # the end of standard input says the same, and is acted upon
