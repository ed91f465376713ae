"""A roll that is cut off, because the process that did it was killed: what it had to do is written down while it goes
on, so that the next hived can say what has become of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

import orjson

from ..english import duration, listed
from ..whole import put
from .paths import HivePaths

RECENT = 3600.0  #: seconds for which what was undone is worth a word


@dataclass(frozen=True, slots=True)
class Rolling:
    """A roll that goes on: by which ``command``, the ``names`` of its programs, and those whose turn is ``over``."""

    command: str
    names: tuple[str, ...]
    over: tuple[str, ...] = ()


@contextmanager
def noted(paths: HivePaths, command: str, names: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """While this is open it is written down that ``names`` are rolled; call what it gives with each that is through."""
    paths.undone.unlink(missing_ok=True)
    _write(paths, Rolling(command, tuple(names)))
    try:
        yield lambda name: went_over(paths, name)
    finally:
        paths.rolling.unlink(missing_ok=True)


def went_over(paths: HivePaths, name: str) -> None:
    """The turn of that program is over. Never raises."""
    if (found := cut_off(paths)) is not None:
        _write(paths, replace(found, over=(*found.over, name)))


def _write(paths: HivePaths, rolling: Rolling) -> None:
    with suppress(OSError):  # on a full disk nobody will know
        put(paths.rolling, orjson.dumps(asdict(rolling)))


def cut_off(paths: HivePaths) -> Rolling | None:
    """The roll that was cut off, if nobody rolls and one was."""
    try:
        found = orjson.loads(paths.rolling.read_bytes())
        names, over = (tuple(str(each) for each in found[key]) for key in ("names", "over"))
        return Rolling(str(found["command"]), names, over)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def settled(paths: HivePaths, rolling: Rolling, again: Sequence[str]) -> str:
    """It was looked after: what to say of it. ``again`` are the programs that are rolled again; what else had not had
    its turn goes on as it was, which ``lately`` tells. Never raises.
    """
    undone = [name for name in rolling.names if name not in (*rolling.over, *again)]
    text = f"`{rolling.command}` was cut off, because its process was killed"
    told = [f"{listed(rolling.over)} went over"] if rolling.over else []
    if going := [name for name in rolling.names if name in again]:
        told.append(f"{listed(going)} {'is' if len(going) == 1 else 'are'} rolled now")
    if undone:
        goes = "goes on as it was" if len(undone) == 1 else "go on as they were"
        told.append(f"{listed(undone)} {goes}: `hived reload` takes up what has changed, `hm roll` rolls in any case")
        with suppress(OSError):
            put(paths.undone, orjson.dumps({"text": f"{text}: {told[-1]}", "at": time.time()}))
    with suppress(OSError):
        paths.rolling.unlink(missing_ok=True)
    return f"{text}: {'; '.join(told) or 'all is settled'}"


def lately(paths: HivePaths) -> str:
    """What a roll that was cut off a short while ago has left undone, for people."""
    try:
        found = orjson.loads(paths.undone.read_bytes())
        text, ago = str(found["text"]), time.time() - float(found["at"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return f"{duration(max(0.0, ago))} ago {text}" if abs(ago) < RECENT else ""
