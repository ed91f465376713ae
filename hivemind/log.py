"""The log of a process: records go through a bounded queue to one thread that writes them.

::

    logging call ─► queue ─► thread "log" ─► RotatingFile  (and the terminal)
     (any thread)    full: dropped and counted

So a full disk, a stopped terminal or a slow file system never holds up the event loop. This is the only state in
the package that belongs to the whole process.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .errors import ConfigurationError
from .log_context import AtHand, at_hand
from .log_files import RotatingFile
from .log_lines import Form, JsonForm
from .log_writer import LineStream, LogWriter, Sink, Terminal
from .message import Envelope
from .whole import FULL


def setup(
    *,
    level: str,
    file: Path | None,
    max_bytes: int,
    backups: int,
    terminal: bool,
    own_streams: bool,
    form: Form | None = None,
) -> Callable[[], None]:
    """Send all records of this process from ``level`` on to ``file`` and, if ``terminal``, to standard error.

    The file exists when this returns; it is rotated at ``max_bytes`` (0: never) and keeps ``backups`` old ones.
    ``own_streams`` is for a process that a daemon started: standard input becomes empty, file descriptors 1 and 2
    become the log file (also after each rotation), and each printed line becomes a record of the logger "stdout"
    or "stderr"; ``terminal`` then means nothing. ``form`` is that of a line, else text. Calling it again replaces the
    former set-up.

    Returns a function that writes what is queued (for at most 2 s) and undoes all but the file descriptors; it may
    be called twice. Raises ConfigurationError if the file cannot be made; a full disk is no error: lines are lost,
    and counted, until there is room again.
    """
    if own_streams and not file:
        raise ValueError("own_streams needs a file")
    if _active:
        _active.stop()
    sinks: list[Sink] = []
    if file and own_streams:
        _prepare_streams()
        sinks.append(_open(RotatingFile(file, max_bytes, backups, follow=_point_streams)))
    elif file:
        sinks.append(_open(RotatingFile(file, max_bytes, backups)))
    if terminal and not own_streams:
        sinks.append(Terminal())
    return _Log(sinks, form, level, own_streams).stop


def dropped() -> int:
    """How many lines this process could not log since ``setup``: the queue was full, or the file refused them."""
    return _active.writer.dropped if _active else 0


def known_as(instance: str) -> None:
    """From now on lines with a place for it say that ``instance`` wrote them: which copy it is, is found out late."""
    if _active and isinstance(_active.writer.form, JsonForm):
        _active.writer.form.instance = instance


def note_for() -> Callable[[AtHand], object] | None:
    """``note`` for whoever has very many messages: what to call with each, as it lies in an inbox; None where lines
    have no place for it.
    """
    return at_hand.set if _active and _active.writer.form.is_structured else None


def note(topic: str, source: bytes | Envelope | None = None) -> None:
    """From now on lines that are logged in this context are about ``topic``, and the message in ``source``."""
    if _active and _active.writer.form.is_structured:
        at_hand.set((topic, None, source))


class _Log:
    # What setup changed in this process, and how it was before.

    def __init__(self, sinks: Sequence[Sink], form: Form | None, level: str, own_streams: bool) -> None:
        global _active  # noqa: PLW0603 - the log belongs to the process
        root = logging.getLogger()
        self.writer, self._sinks = LogWriter(sinks, form), sinks
        self._level, self._raising = root.level, logging.raiseExceptions
        self._streams = sys.stdout, sys.stderr
        self._replaced = [handler for handler in root.handlers if type(handler) is logging.StreamHandler]
        for handler in self._replaced:
            root.removeHandler(handler)
        root.addHandler(self.writer)
        root.setLevel(level)
        if own_streams:
            logging.raiseExceptions = False
            sys.stdout = LineStream("stdout", logging.INFO, 1, self.writer)
            sys.stderr = LineStream("stderr", logging.WARNING, 2, self.writer)
        _active = self

    def stop(self) -> None:
        global _active  # noqa: PLW0603 - see above
        if _active is not self:
            return
        _active = None
        if isinstance(sys.stdout, LineStream):
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = self._streams
        root = logging.getLogger()
        root.removeHandler(self.writer)
        for handler in self._replaced:
            root.addHandler(handler)
        root.setLevel(self._level)
        logging.raiseExceptions = self._raising
        self.writer.close()
        for sink in self._sinks:
            sink.close()


_active: _Log | None = None


def _open(file: RotatingFile) -> RotatingFile:
    try:
        file.open()
    except OSError as error:
        if error.errno not in FULL:
            raise ConfigurationError(
                f"the log file {file.path} cannot be written: {error.strerror}; set LOG_LOCATION in config/hive.py "
                "(or HIVEMIND_LOG_LOCATION in the environment) to a folder that can"
            ) from error
        if file.follow:  # nowhere, then: not to a pipe that fills up, or breaks with its daemon
            with Path(os.devnull).open("r+b", 0) as null:
                file.follow(null.fileno())
    return file


def _prepare_streams() -> None:
    # After this, 0 is empty, and 1 and 2 are open (a daemon may have closed them), so that no file gets their number.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        null = os.dup(null)
    os.dup2(null, 0)
    os.close(null)


def _point_streams(fd: int) -> None:
    os.dup2(fd, 1)
    os.dup2(fd, 2)


def _after_fork() -> None:
    if _active:
        _active.writer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
