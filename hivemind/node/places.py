"""Where what an author wrote stands: for errors that are his, and not ours."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ConfigurationError, HivemindError, in_words

OURS = str(Path(__file__).parents[1])  #: where this library is: a fault of the user's is never there
_PYTHON = sysconfig.get_paths()["stdlib"]
Raised = tuple[type[BaseException], BaseException, TracebackType | None]


def place_of(function: Callable[..., Any]) -> str:
    """File and line of a function, as they stand before an error; "" if it has none."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}: " if code is not None else ""


def line_of(error: BaseException) -> str:
    """File and line of the author's that led to an error, as they stand before it; "" if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [one for one in frames if not one.filename.startswith((OURS, "<"))]
    return f"{theirs[-1].filename}:{theirs[-1].lineno}: " if theirs else ""


def reason_of(error: BaseException) -> str:
    """What went wrong, in a line: ours says it, of others it begins with the name of their class."""
    return str(error) if isinstance(error, HivemindError) else in_words(error)


def raised_by_author(error: BaseException) -> Raised | None:
    """What the author's code raised, with the frames that lead there from his code on; None if it was not he."""
    if isinstance(error, ConfigurationError):  # says itself which line it was
        return None
    raised = error.__cause__ if isinstance(error, HivemindError) and error.__cause__ is not None else error
    trace = raised.__traceback__
    while trace is not None and _is_between(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    if trace is None:
        return None if isinstance(error, HivemindError) else (type(raised), raised, raised.__traceback__)
    return type(raised), raised, trace


def _is_between(file: str) -> bool:
    """Whether it is no code of the author's, nor of what he installed."""
    return file.startswith((OURS, "<")) or (file.startswith(_PYTHON) and "-packages" not in file)
