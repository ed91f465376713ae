"""`hm record`: what passes by, and what is kept, into a file of JSON lines that `hm play` sends again."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import orjson

from ..message import Envelope
from ..settings import Settings
from .tailing import Wanted, follow

_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")  # in JSON both can stand between words only


def record(settings: Settings, wanted: Wanted, path: Path) -> str:
    """Write a new file until Ctrl-C, or enough; return a summary. Raises RedisDenied, ClickException of the file."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise click.ClickException(f"{path} is there already: give another name, or remove it") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None
    try:
        return f"{path}: {follow(settings, wanted, line_of, file)}"
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}; what was recorded before is there") from None
    finally:
        os.close(file)
        with suppress(OSError):
            if path.stat().st_size == 0:
                path.unlink()


def line_of(at: float | None, topic: str, envelope: Envelope, _: Any, source: bytes | Envelope) -> bytes:
    """One line of a recording: when the message came, its topic, and its envelope, as it was written."""
    written = orjson.Fragment(source.translate(_ON_ONE_LINE)) if isinstance(source, bytes) else envelope
    return orjson.dumps({"time": time.time() if at is None else at, "topic": topic, "envelope": written}) + b"\n"
