"""A line in hived's log of what somebody did with `hived` itself, which is another process."""

from __future__ import annotations

import getpass
import logging
import os
import time
from collections.abc import Iterable

from ..log_files import RotatingFile
from ..log_lines import Said, form_of
from ..settings import Settings, logged_in

BY = "by"  #: the option of a request that says who asks


def note(settings: Settings, text: str) -> None:
    """Write ``text``, and who asked for it, into hived's log. Never raises: what cannot be written is lost."""
    if logging.getLevelNamesMapping()[settings.constants.LOG_LEVEL] > logging.INFO:
        return
    path = settings.log_file("hived")
    file = RotatingFile(path, 0, 0)
    form = form_of(settings.constants.LOG_FORMAT, settings.name, logged_in(path))
    line = form.line(Said(time.time(), "INFO", "hived", text))
    file.write([f"{line}\n".encode("utf-8", "backslashreplace")])
    file.close()


def who() -> str:
    """Who asks, as far as is known: the user, and the process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # one without a name
        user = "somebody"
    return f"{user} (process {os.getpid()})"


def told(what: Iterable[tuple[str, str]]) -> str:
    """What became of each program, in a line."""
    return "; ".join(f"{name}: {text}" for name, text in what) or "nothing was touched"
